"""Time that stands still until somebody lets it pass, and an API server without sockets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from syncctl.kube.config import Connection
from syncctl.operations.clock import SYSTEM, Clock
from syncctl.sandbox import ApiError, Store
from syncctl.sandbox.http.messages import Request, Response
from syncctl.sandbox.http.paths import Target, find_route
from syncctl.sandbox.http.verbs import answer

NAMESPACE = "trading"


class DrivenTime:
    """The time of the cluster, of the passes and of the database.

    Passes and the database may have other ideas of the time of day (`skew`, `database_skew`). Passes may stand still
    while the time of all others goes on (`frozen`); the lease goes by the machine's own clock plus what was frozen.
    """

    def __init__(self) -> None:
        self.seconds = 1_795_557_600.0
        self.skew = 0.0
        self.database_skew = 0.0
        self.frozen = 0.0
        self.on_advance: Callable[[], object] = lambda: None

    def cluster(self) -> float:
        """Return the epoch seconds by which the cluster goes."""
        return self.seconds

    def database(self) -> datetime:
        """Return the time that the database tells, but to the lease."""
        return datetime.fromtimestamp(self.seconds + self.database_skew, UTC)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.on_advance()

    def clock(self) -> Clock:
        """Return the clock of a pass."""
        return Clock(
            now=lambda: datetime.fromtimestamp(self.seconds + self.skew, UTC),
            monotonic=lambda: self.seconds,
            boottime=lambda: SYSTEM.boottime() + self.frozen,
            sleep=self.advance,
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request, before or after it has its effect. `kind` is a word or a status."""

    kind: str
    after: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the cluster sees it."""

    verb: str
    target: Target
    request: Request


@dataclass(frozen=True, slots=True)
class Answer:
    """As much of urllib3's response as syncctl looks at."""

    status: int
    data: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Wire:
    """A connection pool whose other end is a store. `before` may say what goes wrong; `after` hears what came of it."""

    def __init__(
        self,
        store: Store,
        before: Callable[[Call], Fault | None],
        after: Callable[[Call, int], None],
    ) -> None:
        self._store = store
        self._before = before
        self._after = after

    def connection(self) -> Connection:
        """Return what ApiCluster takes."""
        configuration = SimpleNamespace(host="http://sandbox", auth_settings=dict)
        return Connection(configuration, self, NAMESPACE)

    proxy = None

    def connection_from_url(self, _url: str) -> "Wire":
        return self

    def urlopen(self, method: str, url: str, *, body: bytes | None, headers: dict[str, str], **_: Any) -> Answer:
        """Serve a request as the sandbox's server does, faults included."""
        parts = urlsplit(url)
        request = Request(method, parts.path, dict(parse_qsl(parts.query)), headers, body or b"")
        target = find_route(parts.path)
        assert target is not None, f"the sandbox has no {parts.path}"
        call = Call(target.route.methods[method], target, request)
        fault = self._before(call)
        if fault and not fault.after:
            return _faulty(fault)
        try:
            response = answer(self._store, request, target, call.verb)
        except ApiError as error:
            response = Response(error.status, error.body())
        self._after(call, response.status)
        return _faulty(fault) if fault else Answer(response.status, response.body)


def _faulty(fault: Fault) -> Answer:
    if fault.kind == "refused":
        raise urllib3.exceptions.NewConnectionError(None, "Connection refused")  # type: ignore[arg-type]
    if fault.kind == "timeout":
        raise urllib3.exceptions.ReadTimeoutError(None, None, "Read timed out.")  # type: ignore[arg-type]
    if fault.kind in ("reset", "cut"):
        raise urllib3.exceptions.ProtocolError("Connection broken", HTTPError(fault.kind))
    if fault.kind == "429":
        return Answer(429, b"Too many requests, please try again later.\n", {"retry-after": "1"})
    reason = {"410": "Expired", "403": "Forbidden", "401": "Unauthorized"}.get(fault.kind, "InternalError")
    return Answer(int(fault.kind), ApiError(int(fault.kind), reason, "injected by the simulation").body())
