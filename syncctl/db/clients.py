"""Clients and their algorithms: write them, find them, list them.

Every function works in the transaction of the connection that it is given and never commits. Input is taken as valid:
core has judged it. Each change of a client or its algorithms moves updated_at to `now`, an aware time.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from msgspec.structs import asdict
from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, true, update
from sqlalchemy.exc import IntegrityError

from syncctl.core.errors import ClientExists, ClientNotFound
from syncctl.core.model import Algorithm, Client, ClientChanges, NewClient, Tombstone
from syncctl.core.names import NAME_PREFIX
from syncctl.core.validation import is_id
from syncctl.db.ids import IdUsedBefore, pass_known_ids, refuse_used_ids
from syncctl.db.rows import batches, client_of, select_clients
from syncctl.db.tables import algorithm_status, clients, deleted_clients
from syncctl.db.times import parse_time

_BATCH = 500


def insert_client(connection: Connection, new: NewClient, now: datetime) -> Client:
    """Add a client and its algorithms, with ids that no other ever had. Raises ClientExists when the name is taken."""
    try:
        with connection.begin_nested():
            client = _insert(connection, new, now)
            refuse_used_ids(connection, client)
            return client
    except IntegrityError as error:
        if not _violated(error).startswith("pk_"):
            raise
    except IdUsedBefore:
        pass
    pass_known_ids(connection)
    return _insert(connection, new, now)


def update_client(connection: Connection, client_id: int, changes: ClientChanges, now: datetime) -> Client:
    """Change what is not None in `changes`; with nothing to change, nothing is written.

    Raises ClientNotFound, or ClientExists when the new name is taken.
    """
    if values := _columns(changes):
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


def lock_clients(connection: Connection, client_ids: Sequence[int] | None = None) -> list[Client]:
    """Read these clients, or all, by id, and keep others from changing them until the end of the transaction.

    They are locked by their ids' order: of two who lock several, none waits for the other for ever. One that is not
    there is left out.
    """
    which = [()] if client_ids is None else [(clients.c.id.in_(batch),) for batch in batches(sorted(client_ids))]
    for some in which:
        # By itself: a query that had to wait for the lock would show the algorithms as they were before.
        connection.execute(select(clients.c.id).where(*some).order_by(clients.c.id).with_for_update())
    found = (connection.execute(select_clients().where(*some).order_by(clients.c.id)) for some in which)
    return [client_of(row) for rows in found for row in rows]


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


def switch_off(connection: Connection, client_ids: Sequence[int], now: datetime) -> None:
    """Switch everything off that these clients run."""
    for batch in batches(client_ids):
        off = {algorithm.value: False for algorithm in Algorithm}
        connection.execute(update(algorithm_status).where(algorithm_status.c.client_id.in_(batch)).values(off))
        connection.execute(update(clients).where(clients.c.id.in_(batch)).values(updated_at=now))


def request_restart(connection: Connection, client_id: int, now: datetime) -> Client:
    """Ask the next pass to replace the client's pods once. Raises ClientNotFound."""
    _touch(connection, client_id, now, need_restart=True)
    return get_client(connection, client_id)


def is_name_taken(connection: Connection, name: str) -> bool:
    """Whether a client has this name."""
    return connection.execute(select(clients.c.id).where(clients.c.client_name == name)).first() is not None


def ids_in_use(connection: Connection, client_id: int, status_id: int | None) -> list[str]:
    """Say which of these ids of a deleted client are taken."""
    found = []
    if connection.execute(select(clients.c.id).where(clients.c.id == client_id)).first():
        found.append(f"its id {client_id} is a client's")
    status = select(algorithm_status.c.client_id).where(algorithm_status.c.id == status_id)
    if status_id is not None and (other := connection.execute(status).scalar()) is not None:
        found.append(f"the number of its pods, {status_id}, is that of client {other}")
    return found


def restore_client(
    connection: Connection,
    client_id: int,
    row: Mapping[str, Any],
    was: Tombstone,
    flags: Mapping[Algorithm, bool],
    now: datetime,
) -> Client:
    """Put a deleted client's rows back, with their ids, and take its tombstone away."""
    times = {"created_at": parse_time(str(row["created_at"])), "updated_at": now}
    values = {name: value for name, value in row.items() if name in clients.c and name not in times}
    # An infinite one, which only a row written by hand has, is a text in the log.
    values["priority"] = float(values["priority"])
    connection.execute(insert(clients).values(**values, **times))
    if was.status_id is not None:
        named = {algorithm.value: flag for algorithm, flag in flags.items()}
        connection.execute(insert(algorithm_status).values(id=was.status_id, client_id=client_id, **named))
    connection.execute(delete(deleted_clients).where(deleted_clients.c.client_id == client_id))
    return get_client(connection, client_id)


def _insert(connection: Connection, new: NewClient, now: datetime) -> Client:
    with _name_taken(connection, new.name):
        client_id: int = connection.execute(
            insert(clients).values(**_columns(new), created_at=now, updated_at=now).returning(clients.c.id)
        ).scalar_one()
        flags = {algorithm.value: algorithm in new.algorithms for algorithm in Algorithm}
        connection.execute(insert(algorithm_status).values(client_id=client_id, **flags))
    return get_client(connection, client_id)


def _columns(given: NewClient | ClientChanges) -> dict[str, Any]:
    """Return what is given, without the algorithms, by the names of the columns."""
    values = {name: value for name, value in asdict(given).items() if value is not None and name != "algorithms"}
    return {"client_name" if name == "name" else name: value for name, value in values.items()}


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
