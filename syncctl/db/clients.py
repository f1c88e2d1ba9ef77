"""Clients and their algorithms: write them, find them, list them.

Every function works in the transaction of the connection that it is given and never commits. Input is taken as valid:
core has judged it. Each change of a client or its algorithms moves updated_at to `now`, an aware time.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from msgspec.structs import asdict
from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    table,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError, ProgrammingError

from syncctl.core.errors import ClientExists, ClientNotFound
from syncctl.core.model import Algorithm, Client, ClientChanges, NewClient
from syncctl.core.names import NAME_PREFIX
from syncctl.core.validation import is_id
from syncctl.db.faults import sqlstate
from syncctl.db.rows import batches, client_of, select_clients
from syncctl.db.tables import adopted_algorithm_status, algorithm_status, clients, deleted_clients

_BATCH = 500
_COLUMNS = {"name": "client_name"}
_DENIED = "42501"
FARTHEST = 1_000_000
"""Ids that a restore may have taken back: a pod whose label somebody has changed carries any number."""

_USED_IDS = {
    clients: (clients.c.id, deleted_clients.c.client_id, adopted_algorithm_status.c.client_id),
    algorithm_status: (algorithm_status.c.id, deleted_clients.c.algorithm_status_id, adopted_algorithm_status.c.id),
}
_SQLITE_SEQUENCE = table("sqlite_sequence", column("name"), column("seq"))


def insert_client(connection: Connection, new: NewClient, now: datetime) -> Client:
    """Add a client and its algorithms, with ids that no other ever had. Raises ClientExists when the name is taken."""
    try:
        with connection.begin_nested():
            client = _insert(connection, new, now)
            _refuse_used_ids(connection, client)
            return client
    except IntegrityError as error:
        if not _violated(error).startswith("pk_"):
            raise
    except _IdUsedBefore:
        pass
    _pass_known_ids(connection)
    return _insert(connection, new, now)


def update_client(connection: Connection, client_id: int, changes: ClientChanges, now: datetime) -> Client:
    """Change what is not None in `changes`; with nothing to change, nothing is written.

    Raises ClientNotFound, or ClientExists when the new name is taken.
    """
    values = {_COLUMNS.get(name, name): value for name, value in asdict(changes).items() if value is not None}
    if values:
        with _name_taken(connection, changes.name or ""):
            connection.execute(update(clients).where(clients.c.id == client_id).values(**values, updated_at=now))
    return get_client(connection, client_id)


def delete_client(connection: Connection, client_id: int, now: datetime, by: str) -> Client:
    """Remove a client and its algorithms, leave its tombstone, and return it as it was. Raises ClientNotFound."""
    client = get_client(connection, client_id, lock=True)
    # A row put back by hand under an id that was deleted before leaves a tombstone to be replaced.
    connection.execute(delete(deleted_clients).where(deleted_clients.c.client_id == client_id))
    connection.execute(
        insert(deleted_clients).values(
            client_id=client_id,
            client_name=client.name,
            algorithm_status_id=client.algorithms.id if client.algorithms else None,
            deleted_at=now,
            deleted_by=by,
        )
    )
    connection.execute(delete(clients).where(clients.c.id == client_id))
    return client


def get_client(connection: Connection, client_id: int, *, lock: bool = False) -> Client:
    """Read the client with this id. Raises ClientNotFound.

    `lock` keeps others from changing it until the end of the transaction: for reading before writing.
    """
    return _read(connection, clients.c.id == client_id, str(client_id), lock=lock)


def find_client(connection: Connection, reference: str | int, *, lock: bool = False) -> Client:
    """Read the client that a person means by an id or a name; digits are an id first. Raises ClientNotFound.

    A number is an id and nothing else: a program that deletes client 7 does not mean one that is named "7". Of texts,
    only an id as we print it is one: "007" is a name, so that nobody deletes client 7 by it. "client/acme" is what
    `-o name` prints of the name acme, unless somebody is named so. `lock` as in get_client.
    """
    if isinstance(reference, int):
        return get_client(connection, reference, lock=lock)
    if is_id(reference):
        try:
            return get_client(connection, int(reference), lock=lock)
        except ClientNotFound:
            pass
    # Neither database takes these in a text, so no client has them in its name.
    if "\0" in reference or any("\ud800" <= character <= "\udfff" for character in reference):
        raise ClientNotFound(ascii(reference)[1:-1])
    for name in dict.fromkeys((reference, reference.removeprefix(NAME_PREFIX))):
        try:
            return _read(connection, clients.c.client_name == name, reference, lock=lock)
        except ClientNotFound as error:
            not_found = error
    raise not_found


def list_clients(
    connection: Connection,
    enabled: Algorithm | None = None,
    *,
    name: str | None = None,
    after: int = 0,
    limit: int | None = None,
) -> Iterator[Client]:
    """Yield all clients by id, or those with one algorithm switched on. Rows arrive while they are consumed.

    `name` finds the one that is named so; `after` and `limit` are for pages: that many with ids above that one.
    """
    query = select_clients().order_by(clients.c.id).execution_options(yield_per=_BATCH)
    if enabled is not None:
        query = query.where(algorithm_status.c[enabled.value] == true())
    if name is not None:
        query = query.where(clients.c.client_name == name)
    if after:
        query = query.where(clients.c.id > after)
    if limit is not None:
        query = query.limit(limit)
    for row in connection.execute(query):
        yield client_of(row)


def count_clients(connection: Connection) -> tuple[int, dict[Algorithm, int]]:
    """Return how many clients there are, and how many have each algorithm switched on."""
    switched_on = [func.count().filter(algorithm_status.c[algorithm.value] == true()) for algorithm in Algorithm]
    query = select(func.count(), *switched_on).select_from(clients.outerjoin(algorithm_status))
    total, *enabled = connection.execute(query).one()
    return total, dict(zip(Algorithm, enabled, strict=True))


def set_algorithms(connection: Connection, client_id: int, flags: Mapping[Algorithm, bool], now: datetime) -> Client:
    """Switch the algorithms in `flags` and leave the others. Makes the row in algorithm_status when it has vanished.

    Two who switch different algorithms of one client at once both get their way. Raises ClientNotFound.
    """
    # First, since it locks the client: of two who find the second row missing, one makes it and the other sees it.
    _touch(connection, client_id, now)
    values = {algorithm.value: flag for algorithm, flag in flags.items()}
    status = algorithm_status.c.client_id == client_id
    # With no flags given, the row is still looked for.
    changed = connection.execute(update(algorithm_status).where(status).values(values or {"client_id": client_id}))
    if changed.rowcount == 0:
        connection.execute(insert(algorithm_status).values(client_id=client_id, **values))
    return get_client(connection, client_id)


def request_restart(connection: Connection, client_id: int, now: datetime) -> Client:
    """Ask the next pass to replace the client's pods once. Raises ClientNotFound."""
    _touch(connection, client_id, now, need_restart=True)
    return get_client(connection, client_id)


def record_spawned(connection: Connection, client_ids: Iterable[int], now: datetime) -> None:
    """Write when pods of these clients were made. Clients that are gone are passed over; updated_at stays."""
    for batch in batches(sorted(set(client_ids)), _BATCH):
        connection.execute(update(clients).where(clients.c.id.in_(batch)).values(spawned_at=now))


def catch_up_spawned(connection: Connection, made: Mapping[int, datetime]) -> None:
    """Write when the newest pods of these clients were made, where that is later than what is there, or that is never.

    When nobody is behind, nothing is written and nothing locked.
    """
    # Looked at twice: a pass that has lost its lease may be recording what it made, and no time may move back.
    behind = _behind(connection, made, made, lock=False)
    behind = _behind(connection, behind, made, lock=True)
    # The cluster tells seconds, in each of which a pass makes hundreds of pods: that is a few statements for a fleet.
    of_a_second: defaultdict[datetime, list[int]] = defaultdict(list)
    for client_id in behind:
        of_a_second[made[client_id]].append(client_id)
    for second, client_ids in of_a_second.items():
        record_spawned(connection, client_ids, second)


def _behind(
    connection: Connection, client_ids: Iterable[int], made: Mapping[int, datetime], *, lock: bool
) -> list[int]:
    """Return those of the clients whose spawned_at is earlier than what was made. The year 1, for never, is."""
    found: list[int] = []
    for batch in batches(sorted(set(client_ids)), _BATCH):
        query = select(clients.c.id, clients.c.spawned_at).where(clients.c.id.in_(batch)).order_by(clients.c.id)
        rows = connection.execute(query.with_for_update() if lock else query)
        found += [client_id for client_id, at in rows if at is None or at < made[client_id]]
    return found


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


def _insert(connection: Connection, new: NewClient, now: datetime) -> Client:
    with _name_taken(connection, new.name):
        client_id: int = connection.execute(
            insert(clients)
            .values(
                client_name=new.name,
                version=new.version,
                image=new.image,
                cpu=new.cpu,
                memory=new.memory,
                priority=new.priority,
                need_restart=new.need_restart,
                created_at=now,
                updated_at=now,
            )
            .returning(clients.c.id)
        ).scalar_one()
        flags = {algorithm.value: algorithm in new.algorithms for algorithm in Algorithm}
        connection.execute(insert(algorithm_status).values(client_id=client_id, **flags))
    return get_client(connection, client_id)


def _read(connection: Connection, which: ColumnElement[bool], reference: str, *, lock: bool) -> Client:
    if lock:
        # By itself: a query that had to wait for the lock would show the algorithms as they were before.
        connection.execute(select(clients.c.id).where(which).with_for_update())
    row = connection.execute(select_clients().where(which)).one_or_none()
    if row is None:
        raise ClientNotFound(reference)
    return client_of(row)


def _touch(connection: Connection, client_id: int, now: datetime, **values: object) -> None:
    changed = connection.execute(update(clients).where(clients.c.id == client_id).values(**values, updated_at=now))
    if changed.rowcount == 0:
        raise ClientNotFound(str(client_id))


@contextmanager
def _name_taken(connection: Connection, name: str) -> Iterator[None]:
    """Raise ClientExists for the unique name's violation. The transaction stays usable, thanks to a savepoint."""
    try:
        with connection.begin_nested():
            yield
    except IntegrityError as error:
        if "client_name" in _violated(error):
            raise ClientExists(name) from error
        raise


def _violated(error: IntegrityError) -> str:
    """Return the name of the constraint; SQLite has only a sentence with the column's name."""
    diagnosis = getattr(error.orig, "diag", None)
    return getattr(diagnosis, "constraint_name", None) or str(error.orig)


class _IdUsedBefore(Exception):
    """A new client got an id of one that was deleted."""


def _refuse_used_ids(connection: Connection, client: Client) -> None:
    """Raise _IdUsedBefore for an id that a deleted client had: its pod may still run, and would pass for the new one's.

    Rows that were restored without their sequences, as by pg_dump --data-only, let Postgres hand it out again.
    """
    status_id = client.algorithms.id if client.algorithms else 0
    deleted = (deleted_clients.c.client_id == client.id) | (deleted_clients.c.algorithm_status_id == status_id)
    adopted = (adopted_algorithm_status.c.id == status_id) | (adopted_algorithm_status.c.client_id == client.id)
    if connection.execute(select(exists().where(deleted) | exists().where(adopted))).scalar_one():
        raise _IdUsedBefore


def _pass_known_ids(connection: Connection) -> None:
    """Let ids go on after the highest of living and deleted clients.

    Rows inserted with an id of their own leave Postgres' sequences behind, and so does a restore without them.
    """
    for of in _USED_IDS:
        _pass_id(connection, of, _highest_known(connection, of))


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
