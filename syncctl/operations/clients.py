"""Add, change, delete, show and restart clients."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from msgspec.structs import asdict, replace

from syncctl.core import quantity
from syncctl.core.errors import ClientNotFound, InvalidInput
from syncctl.core.model import Algorithm, Client, ClientChanges, NewClient
from syncctl.core.names import pod_name
from syncctl.core.validation import CHECKS, client_problems
from syncctl.db import clients as rows
from syncctl.db.engine import Connection, Engine, reading, writing
from syncctl.db.fleet import read_settings
from syncctl.db.stops import allow_stops
from syncctl.operations.author import actor_of


def add_client(engine: Engine, new: NewClient) -> Client:
    """Add a client with its algorithms.

    Raises:
        InvalidInput: every problem of the new client, in one error.
        ClientExists: the name is taken.
    """
    if problems := client_problems(**{field: getattr(new, field) for field in CHECKS}):
        raise InvalidInput(f'client "{new.name}"', problems)
    with writing(engine) as connection:
        return rows.insert_client(connection, new, datetime.now(UTC))


def update_client(
    engine: Engine,
    reference: str | int,
    changes: ClientChanges,
    flags: Mapping[Algorithm, bool] | None = None,
) -> Client:
    """Change one client; see update_clients."""
    ((_, changed),) = update_clients(engine, [reference], changes, flags)
    return changed


def update_clients(
    engine: Engine,
    references: Sequence[str | int],
    changes: ClientChanges,
    flags: Mapping[Algorithm, bool] | None = None,
) -> list[tuple[Client, Client]]:
    """Change what is given of these clients, switch the algorithms in `flags`, leave the rest: of all, or of none.

    A change of image, cpu or memory raises the version by one, unless a version is given. What is given as it is
    already is no change and is not judged: callers send back what they were told.

    Returns:
        Each client as it was and as it is.

    Raises:
        InvalidInput: every problem, or that there is nothing to change.
        ClientNotFound, ClientExists
    """
    if changes == ClientChanges() and not flags:
        named = ", ".join(map(str, references))
        raise InvalidInput(f'client "{named}"', ["nothing to change"], "give at least one option, like --image")
    with writing(engine) as connection:
        found = _locked(connection, references)
        return [(client, change_client(connection, client, changes, flags or {})) for client in found]


def change_client(
    connection: Connection, client: Client, changes: ClientChanges, flags: Mapping[Algorithm, bool]
) -> Client:
    """Do so in a transaction that has the client locked.

    Raises:
        InvalidInput: every problem of what differs.
        ClientExists
    """
    given = {name: value for name, value in asdict(changes).items() if value is not None}
    new = {field: value for field, value in given.items() if field in CHECKS and value != getattr(client, field)}
    if problems := client_problems(**new):
        raise InvalidInput(f'client "{client.name}"', problems)
    if changes.version is None and _other_pod(client, changes):
        changes = replace(changes, version=client.version + 1)
    now = datetime.now(UTC)
    changed = rows.update_client(connection, client.id, changes, now)
    return rows.set_algorithms(connection, client.id, flags, now) if flags else changed


def delete_client(engine: Engine, reference: str | int) -> Client:
    """Delete one client; see delete_clients."""
    (client,) = delete_clients(engine, [reference])
    return client


def delete_clients(engine: Engine, references: Sequence[str | int]) -> list[Client]:
    """Delete clients and leave their tombstones, which make the next pass stop their pods at once: all, or none.

    Returns:
        The clients as they were.

    Raises:
        ClientNotFound
    """
    with writing(engine) as connection:
        found, now, by = _locked(connection, references), datetime.now(UTC), actor_of(engine)
        return [rows.delete_client(connection, client.id, now, by) for client in found]


def restart_client(engine: Engine, reference: str | int) -> Client:
    """Ask the next pass to replace each of the client's pods, once."""
    (client,) = restart_clients(engine, [reference])
    return client


def restart_clients(engine: Engine, references: Sequence[str | int]) -> list[Client]:
    """Ask the next pass to replace each pod of these clients, once: of all, or of none. Raises ClientNotFound."""
    with writing(engine) as connection:
        found, now = _locked(connection, references), datetime.now(UTC)
        return [rows.request_restart(connection, client.id, now) for client in found]


def stop_clients(engine: Engine, references: Sequence[str] | None) -> list[Client]:
    """Switch off everything that these clients run, all clients when None: of all, or of none.

    The next pass stops their pods whatever switch_off_limit says; the permission lasts until that is done.

    Returns:
        The clients that had anything switched on, as they were.

    Raises:
        ClientNotFound
    """
    with writing(engine) as connection:
        # Nobody else may switch one on in between.
        found = rows.lock_clients(connection) if references is None else _locked(connection, references)
        running = [client for client in found if client.algorithms and client.algorithms.on]
        rows.switch_off(connection, [client.id for client in running], datetime.now(UTC))
        allow_stops(connection, [client.id for client in found], actor_of(engine))
        return running


def find_clients(engine: Engine, references: Sequence[str | int]) -> list[Client]:
    """Return these clients; as find_all does."""
    with reading(engine) as connection:
        return find_all(connection, references)


def find_all(connection: Connection, references: Sequence[str | int]) -> list[Client]:
    """Return these clients, each once. Raises ClientNotFound, which names all that are not there."""
    found: dict[int, Client] = {}
    missing = []
    for reference in references:
        try:
            client = rows.find_client(connection, reference)
            found.setdefault(client.id, client)
        except ClientNotFound:
            missing.append(str(reference))
    if missing:
        raise ClientNotFound(*missing)
    return list(found.values())


def _locked(connection: Connection, references: Sequence[str | int]) -> list[Client]:
    """Return these clients, locked. Raises ClientNotFound."""
    found = find_all(connection, references)
    locked = {client.id: client for client in rows.lock_clients(connection, [client.id for client in found])}
    if gone := [str(client.id) for client in found if client.id not in locked]:
        raise ClientNotFound(*gone)
    return [locked[client.id] for client in found]


def get_client(engine: Engine, reference: str | int) -> Client:
    """Return the client with this id, else the one by this name.

    Raises:
        ClientNotFound
    """
    with reading(engine) as connection:
        return rows.find_client(connection, reference)


def has_default_image(engine: Engine) -> bool:
    """Whether the fleet has an image for clients that name none, or may have: while its settings are unset."""
    with reading(engine) as connection:
        settings = read_settings(connection)
    return settings is None or bool(settings.default_image)


def list_clients(engine: Engine, enabled: Algorithm | None = None) -> Iterator[Client]:
    """Yield all clients by id, or those with one algorithm switched on, as they arrive from the database."""
    with reading(engine) as connection:
        yield from rows.list_clients(connection, enabled)


def page_clients(
    engine: Engine, *, after: int, limit: int, enabled: Algorithm | None = None, name: str | None = None
) -> tuple[list[Client], bool]:
    """Return at most `limit` clients with ids above `after`, and whether there are more of them."""
    with reading(engine) as connection:
        found = list(rows.list_clients(connection, enabled, name=name, after=after, limit=limit + 1))
    return found[:limit], len(found) > limit


def pods_of(client: Client) -> list[str]:
    """Return the names of the pods that the client's enabled algorithms have."""
    if client.algorithms is None:
        return []
    return [pod_name(algorithm, client.algorithms.id) for algorithm in client.algorithms.on]


def _other_pod(client: Client, changes: ClientChanges) -> bool:
    """Whether the changes alter what the client's pods are made of."""
    return (
        (changes.image is not None and changes.image != client.image)
        or (changes.cpu is not None and not quantity.same(changes.cpu, client.cpu))
        or (changes.memory is not None and not quantity.same(changes.memory, client.memory))
    )
