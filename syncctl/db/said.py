"""What the rows say of some keys at this moment: flags, tombstones and suspensions."""

from collections.abc import Collection, Iterable

from sqlalchemy import Column, ColumnElement, Connection, exists, literal, null, select, union_all

from syncctl.core.heed import Said, Wish
from syncctl.core.model import Algorithm, PodKey
from syncctl.core.suspensions import NO_SUSPENSIONS
from syncctl.db.rows import batches
from syncctl.db.suspensions import is_any, read_in_force
from syncctl.db.tables import algorithm_status, allowed_stops, clients, deleted_clients
from syncctl.db.times import clock_of


def read_said(connection: Connection, keys: Collection[PodKey]) -> dict[PodKey, Said]:
    """Return what is said of these keys: one query a batch of clients, and another where anything is suspended."""
    said: dict[PodKey, Said] = {}
    for batch in batches(sorted({key.client_id for key in keys})):
        wishes, allowed, is_suspended = _wishes(connection, batch)
        suspensions = read_in_force(connection, clock_of(connection)) if is_suspended else NO_SUSPENSIONS
        said |= {
            key: Said(
                wishes.get(key.client_id, _VANISHED)[key.algorithm], suspensions.of(key), key.client_id in allowed
            )
            for key in keys
            if key.client_id in batch
        }
    return said


def _may_pass(client_id: Column[int]) -> ColumnElement[bool]:
    return exists().where(allowed_stops.c.client_id == client_id)


_VANISHED = dict.fromkeys(Algorithm, Wish.VANISHED)


def _wishes(
    connection: Connection, client_ids: Iterable[int]
) -> tuple[dict[int, dict[Algorithm, Wish]], set[int], bool]:
    """Return what the rows say of each client's algorithms, whose stops may pass, and whether anything is suspended."""
    flags = [algorithm_status.c[algorithm.value] for algorithm in Algorithm]
    living = (
        select(clients.c.id, algorithm_status.c.id, *flags, literal(False), _may_pass(clients.c.id), is_any())
        .outerjoin_from(clients, algorithm_status)
        .where(clients.c.id.in_(client_ids))
    )
    dead = select(
        deleted_clients.c.client_id,
        null(),
        *(null() for _ in flags),
        literal(True),
        _may_pass(deleted_clients.c.client_id),
        is_any(),
    ).where(deleted_clients.c.client_id.in_(client_ids))
    wishes: dict[int, dict[Algorithm, Wish]] = {}
    allowed, is_suspended = set(), False
    for client_id, status_id, *on, is_dead, may_pass, suspended in connection.execute(union_all(living, dead)):
        if may_pass:
            allowed.add(client_id)
        is_suspended = is_suspended or suspended
        if is_dead:
            # A row put back by hand lives again, whatever its tombstone says.
            wishes.setdefault(client_id, dict.fromkeys(Algorithm, Wish.DELETED))
        elif status_id is None:
            wishes[client_id] = _VANISHED
        else:
            wishes[client_id] = {
                algorithm: Wish.WANTED if flag else Wish.OFF for algorithm, flag in zip(Algorithm, on, strict=True)
            }
    return wishes, allowed, is_suspended
