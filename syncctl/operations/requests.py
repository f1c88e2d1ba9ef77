"""Requests that threads are at, and what goes on in the caller's thread when they are answered."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from syncctl.core.report import Outcome

LISTEN = 0.1
"""Seconds to wait for an answer before somebody may ask the brake and the clock again."""

Then = Callable[[Future[Any]], Iterator[Outcome]]


class Requests:
    """As many as have been sent and are not answered."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._under_way: dict[Future[Any], Then] = {}
        self._answers: SimpleQueue[Future[Any]] = SimpleQueue()

    def __len__(self) -> int:
        return len(self._under_way)

    def send(self, part: Callable[[], Any], then: Then) -> None:
        """Let a thread do it; `then` is told of the answer by whoever hears of it."""
        future = self._pool.submit(part)
        self._under_way[future] = then
        future.add_done_callback(self._answers.put)

    def hear(self) -> Iterator[Outcome]:
        """Wait for an answer, though not for long, and go on with all that are there."""
        with suppress(Empty):
            future = self._answers.get(timeout=LISTEN)
            while True:
                yield from self._under_way.pop(future)(future)
                future = self._answers.get_nowait()
