"""A pass's clock: the system's, unless a test drives another one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def _now() -> datetime:
    return datetime.now(UTC)


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, slots=True)
class Clock:
    """Three clocks, and a way to wait.

    `now` is what people read off a wall, and may jump. `monotonic` counts seconds and never goes back; `boottime` also
    counts those for which the machine slept, where the system has such a clock. `sleep` lets `monotonic` pass.
    """

    now: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    boottime: Callable[[], float] = _boottime
    sleep: Callable[[float], None] = time.sleep


SYSTEM = Clock()
