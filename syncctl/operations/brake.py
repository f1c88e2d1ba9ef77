"""What makes a pass begin no further step, and then go on with nothing: its deadline, a signal, a lost lease."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from syncctl.core.errors import LeaseLost
from syncctl.operations.clock import SYSTEM, Clock

PATIENCE = 10.0
"""Seconds after a signal in which a failed request may still be tried again: what was ended should find its successor.
With the last attempt's timeout it is less than the grace of the CronJob's pod."""
OVERTIME = 90.0
"""The same after the deadline. However often a request is repeated that began in the last moment, it has ended then."""

DATABASE_PATIENCE = 15.0
"""Seconds after a signal that may be spent waiting for the database, by all waits together: enough for a record that
takes long, and with PATIENCE and a last request's timeout still less than that grace."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _end_at_once(number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)


class Brake:
    """Asked before every step. Once it says stop, it goes on saying so.

    `patience` is how many seconds after a signal a failed request may still be tried again. `check_lease` raises
    LeaseLost when the lease is lost.
    """

    def __init__(self, deadline: float, check_lease: Callable[[], None], clock: Clock = SYSTEM) -> None:
        """Make a brake.

        Args:
            deadline: by the clock's monotonic().
            check_lease: costs nothing, for it is asked before every write.
            clock: also what `wait` waits by.
        """
        self.check_lease = check_lease
        self._deadline = deadline
        self._clock = clock
        self._told_at = 0.0
        self._waited = 0.0
        self.signal = 0
        self.patience = 0.0
        self.lease_lost: LeaseLost | None = None

    def reason(self, *, begun: bool = False) -> str:
        """Return why no further step may begin, "" while one may.

        What has `begun` may be recorded at any time, as long as the lease is held.
        """
        if self.lease_lost is None:
            try:
                self.check_lease()
            except LeaseLost as error:
                self.lease_lost = error
        if self.lease_lost:
            return self.lease_lost.message
        if begun:
            return ""
        if self.signal:
            return f"the pass was told to stop by {signal.Signals(self.signal).name}"
        return "the pass's deadline came first" if self._clock.monotonic() >= self._deadline else ""

    def over(self) -> str:
        """Return why what was begun is left to the next pass too, "" while it is gone on with."""
        return self.reason(begun=True) or (self.reason() if self._too_late() else "")

    def lost(self, error: LeaseLost) -> None:
        """Remember that the lease is lost."""
        self.lease_lost = error

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the moment at which this brake has something else to say."""
        told, now = self.signal, self._clock.monotonic()
        ends = [self._deadline, self._deadline + OVERTIME]
        if told:
            ends.append(self._told_at + self.patience)
        ahead = [end - now for end in ends if end > now]
        self._sleep(min([seconds, *ahead]), unless=lambda: self.signal != told)

    def pause(self, seconds: float) -> bool:
        """Wait between two attempts at a request; False when there is no time left for another one."""
        self._sleep(seconds, unless=self._too_late)
        return not self._too_late()

    def may_wait(self, waited: float) -> bool:
        """Tell whether to go on waiting for the database, after so many seconds since this was asked last.

        Asked by several threads at once; a few hundredths that one of them loses to another do not matter.
        """
        if self.signal:
            self._waited += waited
        return self._waited < DATABASE_PATIENCE

    def _too_late(self) -> bool:
        now = self._clock.monotonic()
        return (self.signal != 0 and now >= self._told_at + self.patience) or now >= self._deadline + OVERTIME

    def _sleep(self, seconds: float, unless: Callable[[], bool]) -> None:
        # In small steps, for a signal handler may not touch the locks of threading.Event.
        until = self._clock.monotonic() + seconds
        while not unless() and (left := until - self._clock.monotonic()) > 0:
            self._clock.sleep(min(0.1, left))

    def tell(self, number: int, _frame: FrameType | None = None) -> None:
        """Begin no further step because of this signal; a second signal ends the process at once."""
        # In this order: threads look at the signal first.
        self._told_at, self.signal = self._clock.monotonic(), number
        if os.isatty(2):
            # Not by way of Python's streams, which may be in the middle of something.
            os.write(2, b"\nstopping: what was begun is finished; once more ends it at once\n")
        for each in _SIGNALS:
            # Not SIG_DFL, which the kernel ignores for process 1 of a container.
            signal.signal(each, _end_at_once)

    @contextmanager
    def pressed_by_signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT press the brake in this block; only the main thread can be told."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.tell) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
