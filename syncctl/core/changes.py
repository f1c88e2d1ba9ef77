"""Changes of rows: who made one, what it changed, and how that is told. Pure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

TABLES = ("clients", "algorithm_status", "fleet", "suspensions")
"""The tables whose every change is kept."""
NO_CHANGE = ("spawned_at", "updated_at")
"""Columns that passes and writes move by themselves: what differs in nothing else is no change."""
_SHOWN = 40
"""Characters of a value in a line of changes; JSON has all of it."""
_NOT_TOLD = {"id", "client_id", "client_name", "created_at", "uuid"}
"""What is not told of a row that was added or deleted: the line names the client already."""


class Author(Struct, frozen=True):
    """Who writes: what is claimed, for the change log. `needs_reason`: the fleet may demand one of this writer."""

    actor: str
    via: str
    reason: str = ""
    needs_reason: bool = False


class Change(Struct, frozen=True):
    """One change of one row, or a TRUNCATE of all of them.

    `before` and `after` hold the columns that differ: all of them for a row that was added (no `before`) or deleted (no
    `after`). `actor`, `via` and `reason` are what syncctl was told, None when it was not syncctl that wrote. `db_user`,
    `app` and `address` are what the server knows of the connection, None on SQLite.
    """

    id: int
    at: datetime
    table_name: str
    op: str
    row_id: int | None
    client_id: int | None
    client_name: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    actor: str | None
    via: str | None
    reason: str | None
    db_user: str | None
    app: str | None
    address: str | None

    @property
    def who(self) -> str:
        """Who made it: the claimed name, else what the database knows of a write that was not syncctl's."""
        if self.actor:
            return self.actor
        if not self.db_user:
            return "somebody past syncctl"
        return f"database user {self.db_user}" + (f" from {self.app}" if self.app else "")

    @property
    def is_of_fleet(self) -> bool:
        """Whether it is of no single client."""
        return self.table_name == "fleet" or (self.table_name == "suspensions" and self.client_id is None)

    @property
    def fields(self) -> tuple[tuple[str, Any, Any], ...]:
        """What differs: column, value before, value after; None where there was no row."""
        before, after = self.before or {}, self.after or {}
        return tuple((name, before.get(name), after.get(name)) for name in {**before, **after})

    @property
    def what(self) -> str:
        """What was changed, in words."""
        if self.op == "truncate":
            return f"TRUNCATE {self.table_name}"
        if self.table_name == "suspensions" and self.op != "delete":
            return self._of_suspension
        if self.op == "update":
            return ", ".join(_difference(*field) for field in self.fields)
        values = (self.after if self.op == "insert" else self.before) or {}
        told = [_value(name, value) for name, value in values.items() if name not in _NOT_TOLD and value not in _UNSAID]
        kind = "added" if self.op == "insert" else "deleted"
        if self.table_name == "algorithm_status":
            kind = f"algorithms {kind}"
        return f"{kind}: {', '.join(told)}" if told else kind

    @property
    def _of_suspension(self) -> str:
        after = self.after or {}
        if self.op == "update" and after.keys() <= {"ended_at", "ended_by", "end_reason"}:
            return f"suspension {self.row_id} ended"
        if self.op == "update":
            return f"suspension {self.row_id}: {', '.join(_difference(*field) for field in self.fields)}"
        kind = "stopped and suspended" if after.get("stops") else "suspended"
        until = f"{after['ends_at'][:16].replace('T', ' ')} UTC" if after.get("ends_at") else "somebody resumes it"
        return f"{after.get('algorithm') or 'all'} {kind} until {until} (suspension {self.row_id})"


_UNSAID = ("", None, False, 0)


def _value(name: str, value: Any) -> str:
    if value is True:
        return "restart asked for" if name == "need_restart" else name
    return f"{name} {_short(value)}"


def _difference(name: str, before: Any, after: Any) -> str:
    if isinstance(after, bool):
        if name == "need_restart":
            return "restart asked for" if after else "restart taken back"
        return f"{name} {'on' if after else 'off'}"
    return f"{name} {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = " ".join(str(value).split()) if value not in ("", None) else "none"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def how_they_went(removals: Sequence[Change], client_ids: Collection[int]) -> str:
    """Say how the rows of these clients went, by their deletions and the last TRUNCATE of each table, newest first.

    A TRUNCATE has no rows: it is told of clients whose own deletion nobody has seen. Returns "" when nothing is known.
    """
    deleted: dict[str, list[Change]] = {}
    found: set[int] = set()
    for change in removals:
        client = change.client_id
        if change.op == "delete" and client is not None and client in client_ids and client not in found:
            found.add(client)
            deleted.setdefault(change.who, []).append(change)
    said = [
        f"{len(some)} client{'s' if len(some) != 1 else ''} deleted by {who} at {_moment(some[0])}"
        for who, some in deleted.items()
    ]
    if found != set(client_ids):
        truncated = [change for change in removals if change.op == "truncate"]
        said += [f"{change.what} by {change.who} at {_moment(change)}" for change in truncated[:1]]
    return "; ".join(said)


def _moment(change: Change) -> str:
    return f"{change.at:%Y-%m-%d %H:%M:%S} UTC"
