"""What every request passes on its way to the routes: request id, limit, token, access log, counters.

Nothing in here knows a client or an algorithm. Each fault is answered with a problem document (RFC 9457).
"""

import asyncio
import hmac
import logging
import re
import time
import uuid
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syncctl.core.errors import SettingsError
from syncctl.server.metrics import Metrics
from syncctl.server.problems import RETRY_SOON, problem, refusal
from syncctl.settings import TOKEN, Settings

log = logging.getLogger("syncctl")

LARGEST_BODY = 1 << 20
_QUIET = {"/healthz", "/readyz", "/metrics"}
OPEN = {*_QUIET, "/openapi.json"}
"""Answered without a token: they tell nothing of any client, and a kubelet has none to show. docs/serve.md says why."""

_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ABSOLUTE = re.compile(r"https?://(?P<host>[^/]*)(?P<path>/.*)?", re.IGNORECASE | re.DOTALL)
_THIS_MACHINE = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.IGNORECASE)


class Token:
    """The bearer tokens that callers must show, if any is set. A file of them is read again when it changes.

    A line of it is a token, or a name for whoever shows it and the token: NAME:TOKEN. The change log has the name.
    """

    def __init__(self, settings: Settings) -> None:
        """Read the tokens.

        Raises:
            SettingsError: it is set twice, or the file cannot be read or holds none.
        """
        if settings.http_token and settings.http_token_file:
            raise SettingsError("http_token and http_token_file are both set", "one of them is enough")
        self._file = settings.http_token_file
        self._seen: object = None
        self._callers = {settings.http_token.reveal(): ""} if settings.http_token else {}
        self.is_set = bool(self._callers or self._file)
        self._current()

    def caller(self, authorization: str) -> str | None:
        """Return the name of who shows this header, "" for one without a name, None for whoever shows no token of ours.

        The time this takes tells nothing of the tokens.

        Raises:
            SettingsError: the file cannot be read any more; nobody is let in.
        """
        scheme, _, shown = authorization.partition(" ")
        callers = self._current()
        if not self.is_set:
            return ""
        # All are compared, whichever is the right one.
        same = [name for token, name in callers.items() if hmac.compare_digest(shown.strip().encode(), token.encode())]
        return same[0] if same and scheme.lower() == "bearer" else None

    def _current(self) -> dict[str, str]:
        if self._file is not None:
            try:
                found = self._file.stat()
                version = (found.st_ino, found.st_size, found.st_mtime_ns)
                if version != self._seen:
                    self._callers, self._seen = _read_tokens(self._file), version
            except OSError as error:
                raise SettingsError(f"cannot read http_token_file {self._file}: {error.strerror}") from error
        return self._callers


def _read_tokens(file: Path) -> dict[str, str]:
    """Return the name of each token in the file."""
    callers: dict[str, str] = {}
    for number, line in enumerate(file.read_bytes().decode("latin-1").split("\n"), 1):
        text = line.strip()
        name, _, token = text.rpartition(":")
        if text and (not TOKEN.fullmatch(token) or (":" in text and not _NAME.fullmatch(name)) or token in callers):
            twice = "is there twice" if token in callers else f"holds no token: {TOKEN.pattern}, or NAME: before it"
            raise SettingsError(f"line {number} of http_token_file {file} {twice}", "`openssl rand -hex 32` makes one")
        if text:
            callers[token] = name
    if not callers:
        raise SettingsError(
            f"http_token_file {file} holds no token: {TOKEN.pattern}", "`openssl rand -hex 32` makes one"
        )
    return callers


class Edge:
    """The outermost layer: gives each request an id, judges whether it may enter, logs and counts its answer."""

    def __init__(self, app: ASGIApp, token: Token, metrics: Metrics) -> None:
        self._app = app
        self._token = token
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started, status = time.perf_counter(), 0
        scope = _in_origin_form(scope)
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            entry = self._refusal(scope, headers) or self._app
            await entry(scope, _limited(receive), answer)
        except asyncio.CancelledError:
            # What still runs when the time for the end is over. Its thread may wait on, and ends with the process.
            if not status:
                stopping = problem(503, "stopping", "The server stops", "it could not wait for the answer", RETRY_SOON)
                await stopping(scope, receive, answer)
        except Exception:
            # It has been answered with 500 by then.
            log.exception("a bug of syncctl ended a request", extra={"request_id": request_id})
        finally:
            self._note(scope, status, time.perf_counter() - started, request_id)

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        if "transfer-encoding" in headers and "content-length" in headers:
            # Whoever stands before this server may take the other one (RFC 9112, 6.1).
            return refusal(400, "Transfer-Encoding and Content-Length exclude each other", {"Connection": "close"})
        if int(headers.get("content-length", "0")) > LARGEST_BODY:
            return refusal(413, TOO_LARGE)
        if scope["path"] in OPEN:
            return None
        try:
            scope["state"]["caller"] = caller = self._token.caller(headers.get("authorization", ""))
            if caller is None:
                detail = "send the header `Authorization: Bearer TOKEN`"
                return refusal(401, detail, {"WWW-Authenticate": "Bearer"})
        except SettingsError as error:
            log.warning(error.message)
            return problem(503, "token-unreadable", "The token cannot be read", "the log has the cause", RETRY_SOON)
        if not self._token.is_set and ("origin" in headers or not _THIS_MACHINE.fullmatch(headers.get("host", ""))):
            # A page in this machine's browser reaches loopback too, and needs no CORS to send a body.
            detail = "without a token, only programs of this machine are answered, by the name localhost or its address"
            return refusal(403, detail)
        return None

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path_format", "unmatched")
        self._metrics.note(scope["method"], route, status, seconds)
        path = scope.get("raw_path", b"").decode("latin-1")
        said = {
            "request_id": request_id,
            "method": scope["method"],
            "path": path,
            "route": route,
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            "caller": (scope.get("client") or ("",))[0],
            **({"token": name} if (name := scope["state"].get("caller")) else {}),
        }
        level = logging.DEBUG if scope["path"] in _QUIET and status < 400 else logging.INFO
        log.log(level, "%s %s %s", scope["method"], path, status or "no answer", extra=said)


TOO_LARGE = f"at most {LARGEST_BODY} bytes are read"


def _in_origin_form(scope: Scope) -> Scope:
    """Return a request whose target is a whole URL, as some proxies send it, as one that has only the path of it.

    The URL's host counts and not the header (RFC 9112, 3.2.2).
    """
    found = _ABSOLUTE.fullmatch(scope["path"])
    if not found:
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    raw = _ABSOLUTE.fullmatch(scope.get("raw_path", b"").decode("latin-1")) or found
    return {
        **scope,
        "path": found["path"] or "/",
        "raw_path": (raw["path"] or "/").encode("latin-1"),
        "headers": [*headers, (b"host", raw["host"].encode("latin-1"))],
    }


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
