"""The database's own troubles: a clock that steps, statements that hang, a failover that loses the last seconds."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from .driven import DrivenTime

HANGS_FOR = 10.0
"""Seconds until whoever waits for a statement gives up: the setting database_timeout."""


class Database:
    """What lies between a pass and its file. `busy` tells whether a pass is what asks."""

    def __init__(self, engine: Engine, path: Path, time: DrivenTime, busy: Callable[[], bool]) -> None:
        self._engine = engine
        self._time = time
        self._busy = busy
        self._calculator = sqlite3.connect(":memory:", check_same_thread=False)
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "do_execute", self._execute)
        event.listen(engine, "do_executemany", self._execute)
        self._commit = engine.dialect.do_commit
        engine.dialect.do_commit = self._committing  # type: ignore[method-assign,assignment]
        # As long as one connection is open, closing another does not clean up the journal: ten times as fast.
        self.kept = sqlite3.connect(path, check_same_thread=False)
        self.kept.execute("SELECT 1 FROM fleet").fetchone()
        self._copy: sqlite3.Connection | None = None
        # How many statements from now on hang; and whether the next commit is lost on its way there or back.
        self.hangs = 0
        self.loses_commit = ""
        self.hung = 0

    def close(self) -> None:
        """Give everything back."""
        self.kept.close()
        self._calculator.close()
        if self._copy is not None:
            self._copy.close()

    def time(self) -> datetime:
        """Return the time that the database tells."""
        return datetime.fromtimestamp(self._time.database(), UTC)

    def now(self) -> str:
        """Return the time as the database writes it."""
        return f"{self.time():%Y-%m-%d %H:%M:%S.%f}"

    def calm_down(self) -> None:
        """Nothing hangs any more."""
        self.hangs, self.loses_commit = 0, ""

    # Failover

    def replicate(self) -> None:
        """Send all there is to the standby, which then falls behind."""
        if self._copy is not None:
            self._copy.close()
        self._copy = sqlite3.connect(":memory:", check_same_thread=False)
        self.kept.backup(self._copy)

    def fail_over(self) -> None:
        """Make the standby the primary: what it has not heard of never was."""
        assert self._copy is not None
        self._copy.backup(self.kept)

    # Statements

    def _connected(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.create_function("strftime", -1, self._strftime)

    def _strftime(self, form: str, when: str, *modifiers: str) -> Any:
        """SQLite's own, but for what "now" is."""
        if when == "now":
            when = self.now()
        marks = ", ".join("?" * (2 + len(modifiers)))
        return self._calculator.execute(f"SELECT strftime({marks})", (form, when, *modifiers)).fetchone()[0]

    def _execute(self, *_: object) -> None:
        if self.hangs and self._busy():
            self.hangs -= 1
            self._hang()

    def _committing(self, connection: Any) -> None:
        lost, self.loses_commit = (self.loses_commit, "") if self._busy() else ("", self.loses_commit)
        if lost == "there":
            self._hang()
        self._commit(connection)
        if lost == "back":
            self._hang()

    def _hang(self) -> None:
        self.hung += 1
        self._time.stand_still(HANGS_FOR)
        raise sqlite3.OperationalError("unable to open database file: nobody answers")
