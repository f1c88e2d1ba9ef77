"""What was changed and by whom; take a change back, and bring a deleted client back."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import fields, replace

from syncctl.core.changes import Author, Change
from syncctl.core.errors import ClientExists, ClientNotFound, InvalidInput
from syncctl.core.model import Algorithm, Client, ClientChanges, Tombstone
from syncctl.core.validation import is_id
from syncctl.db import changelog
from syncctl.db import clients as rows
from syncctl.db.engine import Connection, Engine, author_of, reading, writing, written_by
from syncctl.db.tables import changes
from syncctl.operations.clients import change_client, find_all

_SETTABLE = {field.name for field in fields(ClientChanges)}
_SUSPENSIONS = "suspensions"
_NAMES = {"client_name": "name"}
"""Columns that a person knows by another name."""


def list_changes(
    engine: Engine,
    *,
    client: str | None = None,
    table: str | None = None,
    by: str | None = None,
    within: timedelta | None = None,
    limit: int | None = None,
) -> Iterator[Change]:
    """Yield changes, newest first. `client` may be a client that was deleted, by its name or id.

    Raises:
        ClientNotFound: there is no such client, and no change of one.
    """
    since = datetime.now(UTC) - within if within is not None else None
    with reading(engine) as connection:
        client_id = known_client(connection, client) if client is not None else None
        yield from changelog.find_changes(connection, client=client_id, table=table, by=by, since=since, limit=limit)


def known_client(connection: Connection, reference: str) -> int:
    """Return the id of a client that is there, or that the change log remembers by this name or id.

    Raises:
        ClientNotFound
    """
    try:
        return rows.find_client(connection, reference).id
    except ClientNotFound:
        found = changelog.last_of(connection, reference.removeprefix("client/"), is_id=is_id(reference))
        if found is None:
            raise
        return found


def id_of_client(engine: Engine, reference: str) -> int:
    """Return the id of a client that is there or was. Raises ClientNotFound."""
    with reading(engine) as connection:
        return known_client(connection, reference)


def revert_changes(
    engine: Engine, references: Sequence[str], number: int | None, *, past_later: bool = False, dry_run: bool = False
) -> list[tuple[Change, Client, Client]]:
    """Take back one change of each client, by default its last: new changes, through the same validation; all, or none.

    Args:
        engine: with the author of the new changes; its reason says which changes it takes back.
        references: the clients. Of several, the changes have to be of one command of one person.
        number: the change, as `syncctl client log` lists it; of one client.
        past_later: do so although a later change touched the same fields.
        dry_run: change nothing.

    Returns:
        Of each client its change, the client as it was, and as it is then.

    Raises:
        InvalidInput: a change is none of that client's, or cannot be taken back; says why.
        ClientNotFound, ClientExists
    """
    with reading(engine) as connection:
        found = find_all(connection, references)
        undone = {client.id: _change_to_revert(connection, client, number) for client in found}
    _refuse_mixed(found, undone)
    numbers = sorted(change.id for change in undone.values())
    said = f"change {numbers[0]}" if len(numbers) == 1 else f"changes {numbers[0]} to {numbers[-1]}"
    done = []
    with writing(_saying(engine, f"reverts {said}")) as connection:
        for client_id in sorted(undone):
            before = rows.get_client(connection, client_id, lock=True)
            given, flags = _as_before(undone[client_id])
            if not past_later:
                _refuse_later(connection, undone[client_id])
            trial = connection.begin_nested()
            after = change_client(connection, before, given, flags)
            if dry_run:
                trial.rollback()
            else:
                trial.commit()
            done.append((undone[client_id], before, after))
    return done


def _refuse_mixed(found: Sequence[Client], undone: Mapping[int, Change]) -> None:
    """Refuse to take back at once what was not done at once: the last change of one may be of something else."""
    first = undone[found[0].id]
    problems = [
        f"the last change of {client.name} is another: {change.what}, by {change.who} with `{change.via}`"
        for client, change in ((client, undone[client.id]) for client in found)
        if _by(change) != _by(first)
    ]
    if problems:
        what = f"`{first.via}` by {first.who}, the last change of {found[0].name}"
        raise InvalidInput(what, problems, "take these back one by one, each with its --change")


def _by(change: Change) -> tuple[str | None, str | None, str | None]:
    return change.actor, change.via, change.reason


def undelete_client(engine: Engine, reference: str) -> Client:
    """Bring a deleted client back as it was, with its ids and generation; its tombstone goes.

    Its pods keep their names: what still terminates is waited for, and then started again.

    Raises:
        ClientNotFound: the change log knows of no deletion of such a client.
        ClientExists: its name is taken.
        InvalidInput: one of its ids is taken.
    """
    with writing(_saying(engine, "undeletes")) as connection:
        name = reference.removeprefix("client/")
        by_name = (changes.c.client_name == name) if not is_id(name) else (changes.c.client_id == int(name))
        change = changelog.last_deletion(connection, "clients", by_name)
        if change is None or change.before is None or change.client_id is None:
            raise ClientNotFound(reference)
        row = dict(change.before)
        status = changelog.last_deletion(connection, "algorithm_status", changes.c.client_id == change.client_id)
        if rows.is_name_taken(connection, row["client_name"]):
            raise ClientExists(row["client_name"])
        if problems := rows.ids_in_use(connection, change.client_id, status.row_id if status else None):
            raise InvalidInput(f'client "{row["client_name"]}"', problems)
        was_on = (status.before if status else None) or {}
        flags = {algorithm: bool(was_on.get(algorithm.value)) for algorithm in Algorithm}
        tombstone = Tombstone(row["client_name"], status.row_id if status else None)
        return rows.restore_client(connection, change.client_id, row, tombstone, flags, datetime.now(UTC))


def _saying(engine: Engine, what: str) -> Engine:
    """Return the engine with this before the author's reason."""
    author = author_of(engine) or Author("", "")
    return written_by(engine, replace(author, reason=f"{what}: {author.reason}" if author.reason else what))


def _change_to_revert(connection: Connection, client: Client, number: int | None) -> Change:
    if number is None:
        mine = changelog.find_changes(connection, client=client.id)
        found = next((each for each in mine if each.table_name != _SUSPENSIONS), None)
        if found is None:
            raise InvalidInput(f'client "{client.name}"', ["the change log has no change of it"])
    else:
        found = changelog.get_change(connection, number)
    if found.client_id != client.id:
        raise InvalidInput(
            f"change {found.id}",
            [f'is none of client "{client.name}"'],
            f"`syncctl client log {client.id}` lists its own",
        )
    if found.table_name == _SUSPENSIONS:
        way = f"`syncctl client resume {client.id}` ends one, `client suspend` begins one"
        raise InvalidInput(f"change {found.id}", ["is of a suspension"], way)
    if found.op == "insert":
        raise InvalidInput(
            f"change {found.id}", ["added it, and is not taken back"], f"`syncctl client delete {client.id}` deletes it"
        )
    if found.op != "update":
        raise InvalidInput(f"change {found.id}", [f"is a {found.op}"], "`syncctl client undelete NAME` brings one back")
    return found


def _as_before(change: Change) -> tuple[ClientChanges, dict[Algorithm, bool]]:
    """Return what makes the change undone."""
    given: dict[str, Any] = {}
    flags: dict[Algorithm, bool] = {}
    for column, before, _after in change.fields:
        name = _NAMES.get(column, column)
        if name in _SETTABLE:
            given[name] = float(before) if name == "priority" else before
        elif name in list(Algorithm):
            flags[Algorithm(name)] = before
        else:
            raise InvalidInput(f"change {change.id}", [f"changed {column}, which is not for a person to set"])
    return ClientChanges(**given), flags


def _refuse_later(connection: Connection, change: Change) -> None:
    touched = {name for name, _, _ in change.fields}
    for later in changelog.later_changes(connection, change):
        if both := sorted(touched & {name for name, _, _ in later.fields}):
            raise InvalidInput(
                f"change {change.id}",
                [f"change {later.id} by {later.who} has touched {', '.join(both)} since: {later.what}"],
                "revert that one first, or give --force to set what this one had changed all the same",
            )
