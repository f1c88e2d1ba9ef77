"""The change log: who changed which row when, and what of it. Triggers write it (triggers.py)."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection, Table, delete, func, or_, select, update

from syncctl.core.changes import Author, Change
from syncctl.core.errors import InvalidInput
from syncctl.core.validation import LARGEST_ID
from syncctl.db.tables import changes, metadata

_SETTINGS = {"actor": "syncctl.actor", "via": "syncctl.via", "reason": "syncctl.reason"}
_AT_ONCE = 1000


def local_settings(author: Author) -> dict[str, str]:
    """Return what tells Postgres' triggers who writes, for one transaction."""
    return {setting: getattr(author, field) for field, setting in _SETTINGS.items()}


def last_id(connection: Connection) -> int:
    """Return the number of the newest change, 0 when there is none."""
    return int(connection.execute(select(func.coalesce(func.max(changes.c.id), 0))).scalar_one())


def sign(connection: Connection, author: Author, after: int) -> None:
    """Say of all changes after that one whose they are: in SQLite, where one transaction writes at a time."""
    values = {field: getattr(author, field) or None for field in _SETTINGS}
    connection.execute(update(changes).where(changes.c.id > after).values(values))


def find_changes(
    connection: Connection,
    *,
    client: int | None = None,
    table: str | None = None,
    by: str | None = None,
    since: datetime | None = None,
    limit: int | None = None,
) -> Iterator[Change]:
    """Yield changes, newest first: of one client, one table, by somebody, from some time on."""
    query = select(changes).order_by(changes.c.id.desc()).execution_options(yield_per=500)
    if client is not None:
        query = query.where(changes.c.client_id == client)
    if table is not None:
        query = query.where(changes.c.table_name == table)
    if by is not None:
        query = query.where(_by(by))
    if since is not None:
        query = query.where(changes.c.at >= since)
    for row in connection.execute(query.limit(limit)):
        yield _change_of(row._asdict())


def _by(name: str) -> ColumnElement[bool]:
    """Whoever is named so: anna is anna@desk7 too, and a database's user."""
    return or_(
        changes.c.actor == name,
        changes.c.actor.startswith(f"{name}@", autoescape=True),
        (changes.c.actor.is_(None)) & (changes.c.db_user == name),
    )


def get_change(connection: Connection, number: int) -> Change:
    """Return the change with that number.

    Raises:
        InvalidInput: there is none, or it is forgotten by now.
    """
    known = number <= LARGEST_ID
    row = connection.execute(select(changes).where(changes.c.id == number)).one_or_none() if known else None
    if row is None:
        raise InvalidInput(f"change {number}", ["is not in the change log"], "`syncctl changes` lists those that are")
    return _change_of(row._asdict())


def later_changes(connection: Connection, change: Change) -> tuple[Change, ...]:
    """Return the changes of the same row after this one, oldest first."""
    same_row = (changes.c.table_name == change.table_name) & (changes.c.row_id == change.row_id)
    query = select(changes).where(same_row, changes.c.id > change.id).order_by(changes.c.id)
    return tuple(_change_of(row._asdict()) for row in connection.execute(query))


def last_of(connection: Connection, reference: str, *, is_id: bool) -> int | None:
    """Return the id of the client that changed last by this name or id, None when the log knows of none."""
    which = changes.c.client_id == int(reference) if is_id else changes.c.client_name == reference
    query = select(changes.c.client_id).where(which, changes.c.client_id.is_not(None))
    return connection.execute(query.order_by(changes.c.id.desc()).limit(1)).scalar()


def name_of(connection: Connection, client_id: int) -> str | None:
    """Return what a client is called, or was last, as far as the log knows."""
    query = select(changes.c.client_name).where(changes.c.client_id == client_id, changes.c.client_name.is_not(None))
    return connection.execute(query.order_by(changes.c.id.desc()).limit(1)).scalar()


def last_deletion(connection: Connection, table: str, which: ColumnElement[bool]) -> Change | None:
    """Return the newest deletion of a row of a table."""
    query = select(changes).where(changes.c.table_name == table, changes.c.op == "delete", which)
    row = connection.execute(query.order_by(changes.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _change_of(row._asdict())


def removals(connection: Connection, client_ids: Iterable[int]) -> list[Change]:
    """Return how the rows of these clients went, newest first: their deletions, and the last TRUNCATE of each table.

    Without what was in them: a pass asks, and nothing that a row held may end it.
    """
    of_rows = changes.c.op == "delete"
    truncated = select(func.max(changes.c.id)).where(changes.c.op == "truncate").group_by(changes.c.table_name)
    ids = list(client_ids)[:_AT_ONCE]
    told = [column for column in changes.c if column.name not in ("before", "after")]
    query = select(*told).where(
        (changes.c.id.in_(truncated)) | (of_rows & changes.c.client_id.in_(ids)),
        changes.c.table_name.in_(("clients", "algorithm_status")),
    )
    rows = connection.execute(query.order_by(changes.c.id.desc()))
    return [Change(**row._asdict(), before=None, after=None) for row in rows]


def forget_changes(connection: Connection, before: ColumnElement[Any]) -> bool:
    """Forget the first changes from before that moment; True when there may be more of them."""
    old = select(changes.c.id).where(changes.c.at < before).order_by(changes.c.id).limit(_AT_ONCE)
    return connection.execute(delete(changes).where(changes.c.id.in_(old))).rowcount == _AT_ONCE


def _change_of(values: Mapping[str, Any]) -> Change:
    table = metadata.tables[values["table_name"]]
    read = {side: _typed(table, values[side]) for side in ("before", "after")}
    return Change(**{**values, **read})


def _typed(table: Table, values: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the values in the order of the table's columns, and flags as such: SQLite has them as numbers."""
    if values is None:
        return None
    flags = {column.name for column in table.columns if isinstance(column.type, Boolean)}
    order = [column.name for column in table.columns if column.name in values]
    order += [name for name in values if name not in table.columns]
    return {name: bool(values[name]) if name in flags and values[name] is not None else values[name] for name in order}
