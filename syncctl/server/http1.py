"""Between a socket and the application: HTTP/1.1 with time limits, and an end in good order. All that knows uvicorn.

It leans on members that uvicorn does not promise: tests/server/test_uvicorn.py names them.
"""

import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from syncctl.operations.connect import Engine, waits_of
from syncctl.server.problems import REFUSED, document

log = logging.getLogger("syncctl")

READ_SECONDS = 4.0
"""For a request to arrive whole, and for a caller to take more of an answer. As in the Go service."""
IDLE_SECONDS = 60
"""For a connection without a request. As in the Go service."""
LAST_SECONDS = 20
"""For what still runs when SIGTERM comes; less than the 30 s that Kubernetes gives."""
LAST_WAIT_SECONDS = 15
"""Of those, for the database to answer: whoever waits for it is told before the end."""

_HEAD_ENDS = re.compile(rb"\n\r?\n")
_FOLDED = re.compile(rb"\n[ \t]")


class Protocol(H11Protocol):
    """HTTP/1.1 with the time limits that uvicorn does not have: for a request to arrive, for an answer to be taken."""

    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(READ_SECONDS, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Start the clock with the first byte of a request, stop it with the last."""
        super().data_received(data)
        begun = self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])
        arriving = begun and self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        if not arriving:
            self._cancel_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(READ_SECONDS, self._too_slow)

    def handle_events(self) -> None:
        """Refuse a header that goes on in the next line: what stands before this server may read it as another one.

        RFC 9112, 5.2.
        """
        if self.conn.their_state is h11.IDLE and _FOLDED.search(_HEAD_ENDS.split(self.conn.trailing_data[0], 1)[0]):
            self._end(400, "a header goes on in the next line")
            return
        super().handle_events()

    def pause_writing(self) -> None:
        """Give a caller who takes no more of the answer a while, and then up."""
        super().pause_writing()
        self._stalled = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on, as the caller does."""
        super().resume_writing()
        if self._stalled:
            self._stalled.cancel()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also one whose last answer is never fetched."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(READ_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._cancel_timer()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._end(400, msg)

    def _too_slow(self) -> None:
        log.info("a request did not arrive in time", extra={"caller": (self.client or ("",))[0]})
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self.transport.close()  # to somebody who has sent nothing at all, there is nothing to be said
            return
        self._end(408, f"a request has to arrive within {READ_SECONDS:g} s")

    def _end(self, status: int, detail: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps(document(status, *REFUSED[status], detail)).encode()
            headers = [("content-type", "application/problem+json"), ("content-length", str(len(body)))]
            answer = h11.Response(
                status_code=status,
                headers=[*headers, ("connection", "close")],
                reason=HTTPStatus(status).phrase.encode(),
            )
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Server(uvicorn.Server):
    _told_at = math.inf

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note when the end was asked for first."""
        self._told_at = min(self._told_at, time.monotonic())
        super().handle_exit(sig, frame)

    def may_wait(self, _waited: float) -> bool:
        """Tell whether to go on waiting for the database."""
        return time.monotonic() < self._told_at + LAST_WAIT_SECONDS

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """End in good order at SIGTERM and SIGINT, and then exit with 0: uvicorn would raise the signal again."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()


def run(app: ASGIApp, listener: Any, engine: Engine) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs; what waits for the database of this engine not for long."""
    # uvicorn's own words go where ours do; its access log says less than ours.
    theirs = logging.getLogger("uvicorn")
    theirs.handlers, theirs.propagate = log.handlers, False
    theirs.setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    server = _Server(config)
    with waits_of(engine).asking(server.may_wait):
        server.run([listener])
