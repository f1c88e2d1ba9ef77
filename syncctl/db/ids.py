"""Ids that no client may get again: pods are named by them, and a restore sets sequences back.

Every function works in the transaction of the connection that it is given and never commits.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, Table, column, exists, func, insert, literal, select, table, update
from sqlalchemy.exc import ProgrammingError

from syncctl.core.model import Client
from syncctl.db.faults import sqlstate
from syncctl.db.tables import adopted_algorithm_status, algorithm_status, clients, deleted_clients

_DENIED = "42501"
FARTHEST = 1_000_000
"""Ids that a restore may have taken back: a pod whose label somebody has changed carries any number."""

_USED_IDS = {
    clients: (clients.c.id, deleted_clients.c.client_id, adopted_algorithm_status.c.client_id),
    algorithm_status: (algorithm_status.c.id, deleted_clients.c.algorithm_status_id, adopted_algorithm_status.c.id),
}
_SQLITE_SEQUENCE = table("sqlite_sequence", column("name"), column("seq"))


class IdUsedBefore(Exception):
    """A new client got an id of one that was deleted."""


def refuse_used_ids(connection: Connection, client: Client) -> None:
    """Raise IdUsedBefore for an id that a deleted client had: its pod may still run, and would pass for the new one's.

    Rows that were restored without their sequences, as by pg_dump --data-only, let Postgres hand it out again.
    """
    status_id = client.algorithms.id if client.algorithms else 0
    deleted = (deleted_clients.c.client_id == client.id) | (deleted_clients.c.algorithm_status_id == status_id)
    adopted = (adopted_algorithm_status.c.id == status_id) | (adopted_algorithm_status.c.client_id == client.id)
    if connection.execute(select(exists().where(deleted) | exists().where(adopted))).scalar_one():
        raise IdUsedBefore


def pass_known_ids(connection: Connection) -> None:
    """Let ids go on after the highest of living and deleted clients.

    Rows inserted with an id of their own leave Postgres' sequences behind, and so does a restore without them.
    """
    for of in _USED_IDS:
        _pass_id(connection, of, _highest_known(connection, of))


def pass_ids_of_pods(connection: Connection, client_ids: Iterable[int], status_ids: Iterable[int]) -> bool:
    """Let no new client get an id of these, which pods carry: sequences that a restore has set back go on after them.

    An id further than FARTHEST beyond all that are known was not lost by a restore, and must not use up all others.
    False when the database does not let this user change a sequence.
    """
    try:
        with connection.begin_nested():
            for of, ids in ((clients, client_ids), (algorithm_status, status_ids)):
                if found := set(ids):
                    known = _highest_known(connection, of)
                    _pass_id(connection, of, max((each for each in found if each <= known + FARTHEST), default=0))
    except ProgrammingError as error:
        if sqlstate(error) != _DENIED:
            raise
        return False
    return True


def _highest_known(connection: Connection, of: Table) -> int:
    """Return the highest id of a table that a living or a deleted client has or had."""
    highest = [select(func.max(each)).scalar_subquery() for each in _USED_IDS[of]]
    return max((each for each in connection.execute(select(*highest)).one() if each is not None), default=0)


def _pass_id(connection: Connection, of: Table, highest: int) -> None:
    """Let the next id of a table be above this one. A sequence that is there already stays as it is."""
    if connection.dialect.name == "sqlite":
        # Its row is there from the table's first id on.
        known = exists().where(_SQLITE_SEQUENCE.c.name == of.name)
        row = select(literal(of.name), literal(0)).where(~known)
        connection.execute(insert(_SQLITE_SEQUENCE).from_select(["name", "seq"], row))
        lower = (_SQLITE_SEQUENCE.c.name == of.name) & (_SQLITE_SEQUENCE.c.seq < highest)
        connection.execute(update(_SQLITE_SEQUENCE).where(lower).values(seq=highest))
        return
    sequence = func.pg_get_serial_sequence(of.name, "id")
    behind = func.coalesce(func.pg_sequence_last_value(sequence), 0) < highest
    # Never back: its last value does not tell whether somebody has set where it is to begin.
    connection.execute(select(func.setval(sequence, func.greatest(highest, func.nextval(sequence)))).where(behind))
