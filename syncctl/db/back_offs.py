"""How long pods that keep ending have to wait for their next replacement."""

from collections.abc import Mapping

from msgspec.structs import asdict
from sqlalchemy import Connection, insert, select

from syncctl.core.memory import BackOff
from syncctl.core.model import Algorithm, PodKey
from syncctl.db.rows import delete_of_keys
from syncctl.db.tables import back_offs


def read_back_offs(connection: Connection) -> dict[PodKey, BackOff]:
    """Return the back-off of each key that has one."""
    return {
        PodKey(row.client_id, Algorithm(row.algorithm)): BackOff(row.failures, row.until, row.made_of, row.pod)
        for row in connection.execute(select(back_offs))
    }


def store_back_offs(connection: Connection, changed: Mapping[PodKey, BackOff | None]) -> None:
    """Store the changed back-offs; None removes one."""
    delete_of_keys(connection, back_offs, changed)
    rows = [
        {"client_id": key.client_id, "algorithm": key.algorithm.value, **asdict(each)}
        for key, each in changed.items()
        if each is not None
    ]
    if rows:
        connection.execute(insert(back_offs), rows)
