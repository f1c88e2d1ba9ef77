"""Which replacements were begun and are not seen through: their old pod was told to go, their new one is to come."""

from collections.abc import Iterable, Mapping

from sqlalchemy import ColumnElement, Connection, insert, select

from syncctl.core.memory import Begun
from syncctl.core.model import Algorithm, PodKey
from syncctl.db.rows import delete_of_keys
from syncctl.db.tables import begun_replacements


def read_begun(connection: Connection, *conditions: ColumnElement[bool]) -> dict[PodKey, Begun]:
    """Return the begun replacements that the conditions select."""
    table = begun_replacements
    rows = connection.execute(select(table).where(*conditions))
    return {
        PodKey(row.client_id, Algorithm(row.algorithm)): Begun(
            row.begun_at, row.stopped, row.cause, frozenset(row.uids.split())
        )
        for row in rows
    }


def store_begun(connection: Connection, begun: Mapping[PodKey, Begun]) -> None:
    """Store replacements that are about to begin; one that is known already begins again."""
    delete_of_keys(connection, begun_replacements, begun)
    rows = [
        {
            "client_id": key.client_id,
            "algorithm": key.algorithm.value,
            "begun_at": each.at,
            "stopped": each.stopped,
            "cause": each.cause,
            "uids": " ".join(sorted(each.uids)),
        }
        for key, each in begun.items()
    ]
    if rows:
        connection.execute(insert(begun_replacements), rows)


def forget_begun(connection: Connection, keys: Iterable[PodKey]) -> None:
    """Remove those that are seen through, or were not begun after all; no other is touched."""
    delete_of_keys(connection, begun_replacements, keys)
