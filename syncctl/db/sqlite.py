"""Connections to SQLite that wait for a lock in short steps: in SQLite's own wait no signal is heard."""

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from syncctl.db.waiting import STEP, Wait, Waits

T = TypeVar("T")

_PRIMARY = 0xFF
_HOPELESS = 517
"""SQLITE_BUSY_SNAPSHOT: whoever reads what is old by now will never be let write."""


class PatientConnection(sqlite3.Connection):
    """A connection whose statements and commits are tried again while another process is in the way."""

    waits = Waits(0.0)

    def wait_by(self, waits: Waits) -> None:
        """Go by these from now on."""
        self.waits = waits
        self.execute(f"PRAGMA busy_timeout = {round(STEP * 1000)}")

    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor that waits as well."""
        return super().cursor(factory or _Cursor)

    def commit(self) -> None:
        """Commit; a commit that is not let through has changed nothing, and the transaction is still open."""
        patiently(self.waits, super().commit)


class _Cursor(sqlite3.Cursor):
    connection: PatientConnection

    def execute(self, *arguments: Any) -> "_Cursor":
        execute = super().execute
        patiently(self.connection.waits, lambda: execute(*arguments))
        return self


def patiently(waits: Waits, attempt: Callable[[], T]) -> T:
    """Try until nobody is in the way any more, or the wait is over; the last error is raised then."""
    wait = None
    try:
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                code = getattr(error, "sqlite_errorcode", 0)
                if code & _PRIMARY != sqlite3.SQLITE_BUSY or code == _HOPELESS:
                    raise
                # What it has waited so far, at most a step, is not counted.
                wait = wait or Wait(waits, waits.seconds)
                if not wait.step():
                    raise
    finally:
        if wait:
            wait.end()
