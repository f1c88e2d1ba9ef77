"""How long a wait for the database may last, and who may end it before: whatever waits in this room asks here.

A wait is made of short steps. The system goes on with a plain one after a signal (PEP 475), so a handler that only
makes a note of the signal ends nothing; between two steps somebody can look at the note.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STEP = 0.1
"""Seconds that a signal may go unheard."""
USUAL = 10.0
"""Seconds that a wait may last where nobody says otherwise; the default of the setting database_timeout."""


class Waits:
    """What the waits of all connections of one engine go by. Safe to use from many threads.

    `seconds` is how long one wait may last: for a connection, a lock, the answer to a statement.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.limit: float | None = seconds
        self.may_go_on: Callable[[float], bool] = lambda _waited: True

    @contextmanager
    def asking(self, may_go_on: Callable[[float], bool]) -> Iterator[None]:
        """Ask this in the block, in each step of each wait and in whatever thread: False ends the wait.

        It is told how many seconds have been waited since it was asked last.
        """
        before, self.may_go_on = self.may_go_on, may_go_on
        try:
            yield
        finally:
            self.may_go_on = before

    @contextmanager
    def without_limit(self) -> Iterator[None]:
        """Let statements take as long as they take in this block; `may_go_on` and signals end them all the same."""
        self.limit = None
        try:
            yield
        finally:
            self.limit = self.seconds


class Wait:
    """One wait, which begins when this is made. `told` says whether somebody has ended it."""

    def __init__(self, waits: Waits, limit: float | None) -> None:
        self._waits = waits
        self._limit = limit
        self._began = self._counted = time.monotonic()
        self.told = False

    def step(self) -> float:
        """Return how many seconds to wait before asking again; 0 when the wait is over."""
        self.told = not self._count()
        if self.told:
            return 0.0
        return STEP if self._limit is None else max(0.0, min(STEP, self._began + self._limit - self._counted))

    def end(self) -> None:
        """Count the last step as well."""
        self._count()

    def _count(self) -> bool:
        before, self._counted = self._counted, time.monotonic()
        return self._waits.may_go_on(self._counted - before)
