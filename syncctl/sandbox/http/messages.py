"""HTTP/1.1 as far as API clients use it: read a request, write a response in one send.

Written by hand because the standard library's handler spends more on the headers of a GET than all else here on the
GET: docs/decisions.md has the figures.
"""

import socket
import struct
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BufferedIOBase
from urllib.parse import parse_qsl, unquote

LARGEST_BODY = 3 * 1024 * 1024  # what the real server takes
_LONGEST_LINE = 64 * 1024
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class BadHttp(Exception):
    """Bytes that are no request we can answer; the connection is closed."""


@dataclass(slots=True)
class Request:
    """One request; header names are in lower case, a repeated query parameter keeps its last value."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def keep_alive(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"

    def flag(self, name: str) -> bool:
        return self.query.get(name, "") in {"true", "1"}


@dataclass(slots=True)
class Response:
    """One response. `cut` sends half of the body and closes; `reset` sends nothing and resets the connection."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)
    cut: bool = False
    reset: bool = False


def read_request(stream: BufferedIOBase, client: socket.socket) -> Request | None:
    """The next request of a connection; None when the client has closed it."""
    line = stream.readline(_LONGEST_LINE)
    if not line.strip():
        return None
    try:
        method, target, version = line.decode("latin-1").split()
    except ValueError as error:
        raise BadHttp("no request line") from error
    if not version.startswith("HTTP/1."):
        raise BadHttp("not HTTP/1")
    headers = _read_headers(stream)
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    if "transfer-encoding" in headers:
        raise BadHttp("a body needs a Content-Length")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        raise BadHttp(f"a body has at most {LARGEST_BODY} bytes")
    if headers.get("expect", "").lower() == "100-continue":
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = stream.read(int(length)) if length != "0" else b""
    if len(body) < int(length):
        return None
    path, _, query = target.partition("?")
    return Request(method, unquote(path), dict(parse_qsl(query, keep_blank_values=True)), headers, body)


def _read_headers(stream: BufferedIOBase) -> dict[str, str]:
    headers: dict[str, str] = {}
    while True:
        line = stream.readline(_LONGEST_LINE)
        if line in {b"\r\n", b"\n"}:
            return headers
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise BadHttp("no header")
        headers[name.strip().lower()] = value.strip()


def write_response(client: socket.socket, request: Request, response: Response) -> bool:
    """Send it; whether the connection may serve another request."""
    if response.reset:
        reset_connection(client)
        return False
    body = response.body
    headers = [*response.headers, ("Content-Length", str(len(body)))]
    sent = body[: len(body) // 2] if response.cut else body
    client.sendall(head(response.status, response.content_type, headers) + sent)
    return request.keep_alive and not response.cut


def head(status: int, content_type: str, headers: list[tuple[str, str]]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    start = f"HTTP/1.1 {status} {_PHRASES.get(status, 'Unknown')}\r\nContent-Type: {content_type}\r\n"
    return f"{start}Cache-Control: no-cache, private\r\n{lines}\r\n".encode("latin-1", "replace")


def chunk(body: bytes) -> bytes:
    """One chunk of a streamed body; the empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(body), body)


def reset_connection(client: socket.socket) -> None:
    """Close so that the peer sees a connection reset, not an orderly end."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def has_closed(client: socket.socket) -> bool:
    """Whether the peer is gone; never waits."""
    try:
        return not client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
