"""Threads for what waits for the database or the cluster, so that the server's own thread never does.

They are daemons: one that still waits when the server has to end does not hold it up.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from syncctl.core.errors import DatabaseBusy, DatabaseUnavailable

T = TypeVar("T")


class Crew:
    """So many threads and no more. Who comes when all are at work stands in line for some seconds, without a thread."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._at_work = 0
        self._line: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._lock = threading.Lock()

    async def run(self, job: Callable[[], T]) -> T:
        """Run a job in a thread and return what it returns.

        Raises:
            DatabaseBusy: its turn did not come in time.
        """
        future: Future[T] = Future()
        with self._lock:
            self._line.append((future, job))
            if self._at_work < self._most:
                self._at_work += 1
                threading.Thread(target=self._work, name="caller", daemon=True).start()
        answer = asyncio.wrap_future(future)
        try:
            await asyncio.wait({answer}, timeout=self._seconds)
            if not answer.done() and future.cancel():
                raise DatabaseBusy(f"{self._most} requests wait for an answer already, and none got one in time")
            return await answer
        finally:
            answer.cancel()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._line:
                    self._at_work -= 1
                    return
                future, job = self._line.popleft()
            _settle(future, job)


class Look(Generic[T]):
    """One look at the database at a time, in a thread of its own, for all who ask meanwhile and wait a little."""

    def __init__(self, look: Callable[[], T], seconds: float) -> None:
        self._look = look
        self._seconds = seconds
        self._under_way: Future[T] | None = None

    async def __call__(self) -> T:
        """Return what is seen, or raise what the look raises.

        Raises:
            DatabaseUnavailable: it takes longer. It goes on, and whoever asks next waits for the same.
        """
        if self._under_way is None or self._under_way.done():
            self._under_way = Future()
            threading.Thread(target=_settle, args=(self._under_way, self._look), name="look", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._under_way), self._seconds)
        except TimeoutError:
            raise DatabaseUnavailable(f"the database gave no answer within {self._seconds:g} s") from None


def once(make: Callable[[], T]) -> Callable[[], T]:
    """Return a function that makes a thing when it is first asked for, and gives all who ask that one.

    Who asks while it is made waits for it: what is imported on the way may not bear two threads, and two of it are one
    too many. What fails is tried again by the next caller.
    """
    made: list[T] = []
    lock = threading.Lock()

    def get() -> T:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return get


def _settle(future: "Future[T]", job: Callable[[], T]) -> None:
    """Do a job for whoever waits for the future, unless nobody does any more."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(job())
    except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
        future.set_exception(error)
