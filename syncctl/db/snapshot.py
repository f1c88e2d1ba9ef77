"""Read the whole fleet at one moment: complete, or an error. Pods whose client is missing here get deleted."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    delete,
    false,
    func,
    literal,
    not_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.exc import DBAPIError

from syncctl.core.errors import DatabaseError
from syncctl.core.model import Client, Tombstone
from syncctl.core.shard import WHOLE, Shard
from syncctl.core.snapshot import Snapshot
from syncctl.core.suspensions import NO_SUSPENSIONS
from syncctl.db.back_offs import read_back_offs
from syncctl.db.begun import read_begun
from syncctl.db.engine import reading, writing
from syncctl.db.faults import sqlstate
from syncctl.db.fleet import SETTINGS, settings_of
from syncctl.db.home import home_of
from syncctl.db.latch import is_anything, read_allowances, read_latches
from syncctl.db.rows import batches, client_of, of_shard, select_clients
from syncctl.db.stops import read_allowed_stops
from syncctl.db.suspensions import is_any, read_in_force
from syncctl.db.tables import (
    adopted_algorithm_status,
    algorithm_status,
    allowed_stops,
    begun_replacements,
    clients,
    deleted_clients,
    fleet,
    guard_allowances,
    guard_latches,
)
from syncctl.db.times import database_time

_ATTEMPTS = 5
_LOST_A_RACE = ("40001", "40P01")
# Lets Postgres raise instead of leaving out rows that a policy hides from this user.
_UNFILTERED = {"row_security": "off"}


def read_snapshot(
    engine: Engine,
    *,
    consume_restarts: bool,
    shard: Shard = WHOLE,
    accept: Callable[[Snapshot], object] = lambda _snapshot: None,
) -> Snapshot:
    """Read clients, tombstones, the fleet's uuid and home in one transaction; of a shard, only its own clients.

    A client with need_restart comes with the next restart_generation and without the flag. With `consume_restarts` that
    is also written, in the same transaction: the restart then belongs to this snapshot and to no other, and a pass that
    dies has lost nothing. Tombstones of clients that live again are removed with it. Without, nothing is written.
    `accept` is shown the snapshot before that is final, and may raise to leave everything as it was.
    Raises DatabaseError when anything about the answer is odd, and all that `reading` raises.
    """
    if not consume_restarts:
        with reading(engine, _UNFILTERED) as connection:
            snapshot = _read(connection, shard)
            accept(snapshot)
            return snapshot
    for _ in range(_ATTEMPTS - 1):
        try:
            return _consume(engine, shard, accept)
        except DatabaseError as error:
            if not _lost_a_race(error):
                raise
    return _consume(engine, shard, accept)


def _consume(engine: Engine, shard: Shard, accept: Callable[[Snapshot], object]) -> Snapshot:
    with writing(engine, _UNFILTERED, at_one_moment=True) as connection:
        connection.execute(
            update(clients)
            .where(clients.c.need_restart == true(), *of_shard(clients.c.id, shard))
            .values(restart_generation=clients.c.restart_generation + 1, need_restart=false())
        )
        snapshot = _read(connection, shard, forget_revived=True)
        accept(snapshot)
        return snapshot


def _lost_a_race(error: DatabaseError) -> bool:
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and sqlstate(cause) in _LOST_A_RACE


def _read(connection: Connection, shard: Shard, *, forget_revived: bool = False) -> Snapshot:
    _refuse_standby(connection)
    row = _fleet(connection)
    mine = of_shard(clients.c.id, shard)
    found = tuple(client_of(row) for row in connection.execute(select_clients().where(*mine).order_by(clients.c.id)))
    counted = connection.execute(select(func.count()).select_from(clients).where(*mine)).scalar_one()
    _refuse_odd(found, counted)
    living = {client.id for client in found}
    ids = _read_ids(connection, shard)
    revived = ids.deleted.keys() & living
    if forget_revived:
        _forget_tombstones(connection, revived)
    return Snapshot(
        fleet=str(row.uuid),
        clients=tuple(_restarted(client) for client in found),
        # A row put back by hand lives again, whatever its tombstone says.
        deleted={client_id: each for client_id, each in ids.deleted.items() if client_id not in revived},
        now=row.now,
        back_offs=read_back_offs(connection),
        begun=read_begun(connection, *of_shard(begun_replacements.c.client_id, shard)),
        home=home_of(row.home, row.home_name),
        adopted=ids.adopted,
        elsewhere=ids.elsewhere,
        go_service=bool(row.go_service),
        latches=read_latches(connection, *of_shard(guard_latches.c.bucket, shard)) if row.is_guarded else {},
        allowances=(
            read_allowances(connection, *of_shard(guard_allowances.c.client_id, shard))
            if row.is_guarded
            else frozenset()
        ),
        allowed_stops=(
            read_allowed_stops(connection, *of_shard(allowed_stops.c.client_id, shard)) if row.is_guarded else {}
        ),
        settings=settings_of(row),
        suspensions=read_in_force(connection, row.now) if row.is_suspended else NO_SUSPENSIONS,
    )


@dataclass(frozen=True, slots=True)
class _Ids:
    """Whose ids of algorithm_status are that the rows of the pass's own clients do not tell; see Snapshot."""

    deleted: dict[int, Tombstone] = field(default_factory=dict)
    adopted: dict[int, int | None] = field(default_factory=dict)
    elsewhere: dict[int, int] = field(default_factory=dict)


def _read_ids(connection: Connection, shard: Shard) -> _Ids:
    """Read them in one statement, of the whole fleet: a name of a pod may lead to a client of any shard."""
    dead, adopted, status = deleted_clients.c, adopted_algorithm_status.c, algorithm_status.c
    queries = [
        select(literal("deleted"), dead.client_id, dead.algorithm_status_id, dead.client_name),
        select(literal("adopted"), adopted.client_id, adopted.id, literal("")),
    ]
    if shard != WHOLE:
        others = not_(*of_shard(status.client_id, shard))
        queries.append(select(literal("elsewhere"), status.client_id, status.id, literal("")).where(others))
    ids = _Ids()
    for what, client_id, status_id, name in connection.execute(union_all(*queries)):
        if what == "deleted":
            ids.deleted[client_id] = Tombstone(name, status_id)
        elif what == "adopted":
            ids.adopted[status_id] = client_id
        else:
            ids.elsewhere[status_id] = client_id
    return ids


def _forget_tombstones(connection: Connection, living: Iterable[int]) -> None:
    """Forget that these clients were deleted: should their rows vanish again, that is nobody's word."""
    for batch in batches(sorted(living)):
        connection.execute(delete(deleted_clients).where(deleted_clients.c.client_id.in_(batch)))


def _restarted(client: Client) -> Client:
    if not client.need_restart:
        return client
    return replace(client, need_restart=False, restart_generation=client.restart_generation + 1)


def _refuse_standby(connection: Connection) -> None:
    if connection.dialect.name == "postgresql" and connection.execute(select(func.pg_is_in_recovery())).scalar_one():
        raise DatabaseError(
            "the database is a standby: what it shows may be old", "let database_url name the primary server"
        )


def _fleet(connection: Connection) -> Row[Any]:
    """Return the fleet's row, and with it what is worth no statement of its own.

    That is the database's time as `now`, as `is_guarded` whether there is anything of the guard's to be read, and as
    `is_suspended` whether there may be anything that is to be left alone.
    """
    columns: tuple[ColumnElement[Any], ...] = (fleet.c.uuid, fleet.c.home, fleet.c.home_name, fleet.c.go_service)
    also = database_time().label("now"), is_anything().label("is_guarded"), is_any().label("is_suspended")
    rows: list[Row[Any]] = list(connection.execute(select(*columns, *SETTINGS, *also)))
    if len(rows) != 1 or not rows[0].uuid:
        raise DatabaseError(
            f"the table fleet has {len(rows)} rows instead of one with a uuid, so nobody knows whose pods these are",
            "restore it from a backup, or from the label syncctl.io/fleet of the pods",
        )
    return rows[0]


def _refuse_odd(found: tuple[Client, ...], counted: int) -> None:
    doubled = sorted(client_id for client_id, times in Counter(client.id for client in found).items() if times > 1)
    if doubled:
        raise DatabaseError(
            f"the database holds client {', '.join(map(str, doubled))} more than once",
            "a unique constraint of clients or algorithm_status has been dropped; remove the rows in excess",
        )
    if len(found) != counted:
        raise DatabaseError(f"the database answered with {len(found)} clients and then counted {counted}")
