"""What stands between a socket and the routes of app.py: time limits, request ids, access log, token, counters.

Nothing in here knows a client or an algorithm. Each fault is answered with a problem document (RFC 9457).
"""

import asyncio
import hmac
import json
import logging
import math
import re
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Any

import h11
import uvicorn
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from syncctl.core.errors import SettingsError
from syncctl.operations.connect import Engine, waits_of
from syncctl.server.problems import RETRY_SOON, document, problem
from syncctl.settings import TOKEN, Settings

log = logging.getLogger("syncctl")

READ_SECONDS = 4.0
"""For a request to arrive whole, and for a caller to take more of an answer. As in the Go service."""
IDLE_SECONDS = 60
"""For a connection without a request. As in the Go service."""
LARGEST_BODY = 1 << 20
LAST_SECONDS = 20
"""For what still runs when SIGTERM comes; less than the 30 s that Kubernetes gives."""
LAST_WAIT_SECONDS = 15
"""Of those, for the database to answer: whoever waits for it is told before the end."""

OPEN = {"/healthz", "/readyz", "/metrics", "/openapi.json"}
"""Answered without a token: they tell nothing of any client, and a kubelet has none to show. docs/serve.md says why."""

_QUIET = {"/healthz", "/readyz", "/metrics"}
_METHODS = {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_THIS_MACHINE = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.IGNORECASE)


class Token:
    """The bearer token that callers must show, if one is set. A token in a file is read anew when the file changes."""

    def __init__(self, settings: Settings) -> None:
        """Read the token.

        Raises:
            SettingsError: it is set twice, or the file cannot be read or holds none.
        """
        if settings.http_token and settings.http_token_file:
            raise SettingsError("http_token and http_token_file are both set", "one of them is enough")
        self._file = settings.http_token_file
        self._seen: object = None
        self._token = settings.http_token.get_secret_value() if settings.http_token else ""
        self.is_set = bool(self._token or self._file)
        self._current()

    def admits(self, authorization: str) -> bool:
        """Whether this header carries the token. The time this takes tells nothing of it.

        Raises:
            SettingsError: the file cannot be read any more; nobody is let in.
        """
        scheme, _, shown = authorization.partition(" ")
        same = hmac.compare_digest(shown.strip().encode(), self._current().encode())
        return not self.is_set or (same and scheme.lower() == "bearer")

    def _current(self) -> str:
        if self._file is not None:
            try:
                found = self._file.stat()
                version = (found.st_ino, found.st_size, found.st_mtime_ns)
                if version != self._seen:
                    self._token, self._seen = _read_token(self._file), version
            except OSError as error:
                raise SettingsError(f"cannot read http_token_file {self._file}: {error.strerror}") from error
        return self._token


def _read_token(file: Path) -> str:
    text = file.read_bytes().decode("latin-1").strip()
    if not TOKEN.fullmatch(text):
        raise SettingsError(
            f"http_token_file {file} holds no token: {TOKEN.pattern}", "`openssl rand -hex 32` makes one"
        )
    return text


class Edge:
    """The outermost layer: gives each request an id, judges whether it may enter, logs and counts its answer."""

    def __init__(self, app: ASGIApp, token: Token, registry: CollectorRegistry) -> None:
        self._app = app
        self._token = token
        labels = ("method", "route")
        self._count = Counter(
            "syncctl_http_requests", "Requests by route and status", (*labels, "status"), registry=registry
        )
        self._seconds = Histogram(
            "syncctl_http_request_seconds", "From a request's headers to its answer", labels, registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started, status, headers = time.perf_counter(), 0, Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        scope.setdefault("state", {})["request_id"] = request_id
        # The Go service looked at no Content-Type, and curl says "form" of whatever it sends: all bodies are JSON here.
        scope["headers"].append((b"content-type", b"application/json"))

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            entry = self._refusal(scope["path"], headers) or self._app
            await entry(scope, _limited(receive), answer)
        except asyncio.CancelledError:
            # What still runs when LAST_SECONDS are over. Its thread may wait on, and ends with the process.
            if not status:
                stopping = problem(503, "stopping", "The server stops", "it could not wait for the answer", RETRY_SOON)
                await stopping(scope, receive, answer)
        except Exception:
            # It has been answered with 500 by then.
            log.exception("a bug of syncctl ended a request", extra={"request_id": request_id})
        finally:
            self._note(scope, status, time.perf_counter() - started, request_id)

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        if int(headers.get("content-length", "0")) > LARGEST_BODY:
            return problem(413, "too-large", "The body is too large", TOO_LARGE)
        if path in OPEN:
            return None
        try:
            if not self._token.admits(headers.get("authorization", "")):
                detail = "send the header `Authorization: Bearer TOKEN`"
                return problem(
                    401, "unauthorized", "The token is missing or wrong", detail, {"WWW-Authenticate": "Bearer"}
                )
        except SettingsError as error:
            log.warning(error.message)
            return problem(503, "token-unreadable", "The token cannot be read", "the log has the cause", RETRY_SOON)
        if not self._token.is_set and ("origin" in headers or not _THIS_MACHINE.fullmatch(headers.get("host", ""))):
            # A page in this machine's browser reaches loopback too, and needs no CORS to send a body.
            detail = "without a token, only programs of this machine are answered, by the name localhost or its address"
            return problem(403, "browser", "No answer for web pages", detail)
        return None

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path_format", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._count.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)
        path = scope.get("raw_path", b"").decode("latin-1")
        said = {
            "request_id": request_id,
            "method": scope["method"],
            "path": path,
            "route": route,
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            "caller": (scope.get("client") or ("",))[0],
        }
        level = logging.DEBUG if scope["path"] in _QUIET and status < 400 else logging.INFO
        log.log(level, "%s %s %s", scope["method"], path, status or "no answer", extra=said)


TOO_LARGE = f"at most {LARGEST_BODY} bytes are read"


def _limited(receive: Receive) -> Receive:
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > LARGEST_BODY:
            raise HTTPException(413, TOO_LARGE)
        return message

    return limited


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
        self._end(document(400, "malformed", "The request cannot be understood", msg))

    def _too_slow(self) -> None:
        log.info("a request did not arrive in time", extra={"caller": (self.client or ("",))[0]})
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self.transport.close()  # to somebody who has sent nothing at all, there is nothing to be said
            return
        detail = f"a request has to arrive within {READ_SECONDS:g} s"
        self._end(document(408, "too-slow", "The request did not arrive in time", detail))

    def _end(self, document: dict[str, Any]) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps(document).encode()
            headers = [("content-type", "application/problem+json"), ("content-length", str(len(body)))]
            status = HTTPStatus(document["status"])
            answer = h11.Response(
                status_code=status, headers=[*headers, ("connection", "close")], reason=status.phrase.encode()
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
