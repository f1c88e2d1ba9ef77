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
from syncctl.operations.clock import Clock
from syncctl.sandbox import ApiError, Store
from syncctl.sandbox.http.messages import Request, Response
from syncctl.sandbox.http.paths import Target, find_route
from syncctl.sandbox.http.verbs import answer

NAMESPACE = "trading"
_EPOCH = 1_795_557_600.0


class DrivenTime:
    """The time of the cluster, of the passes and of the database.

    Passes may have another idea of the time of day (`skew`), and so may the database (`database_skew`). The machine's
    own clock, by which a pass knows when its lease ends, and the database's stand still while a pass is at work: its
    lease is renewed by a thread that this world does not have. `catch_up` makes up for it; `stand_still` lets all
    clocks go on while no pass does.
    """

    def __init__(self) -> None:
        self.seconds = _EPOCH
        self.skew = 0.0
        self.database_skew = 0.0
        self.on_advance: Callable[[], object] = lambda: None
        self._machine = _EPOCH

    def cluster(self) -> float:
        """Return the epoch seconds by which the cluster goes."""
        return self.seconds

    def machine(self) -> float:
        """Return the seconds by which a lease runs out."""
        return self._machine

    def database(self) -> float:
        """Return the epoch seconds by which the database goes."""
        return self._machine + self.database_skew

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.on_advance()

    def stand_still(self, seconds: float) -> None:
        """Let time pass for all but the passes: nothing renews a lease."""
        self._machine += seconds
        self.advance(seconds)

    def catch_up(self) -> None:
        """Let the machine's and the database's clock go as far as the others have come."""
        self._machine = self.seconds

    def clock(self) -> Clock:
        """Return the clock of a pass."""
        return Clock(
            now=lambda: datetime.fromtimestamp(self.seconds + self.skew, UTC),
            monotonic=lambda: self.seconds,
            boottime=self.machine,
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
    """A connection pool whose other end is a store.

    `before` may say what goes wrong, `admit` rewrites what is asked for; `after` hears what came of it, "" when all
    went well.
    """

    def __init__(
        self,
        store: Store,
        before: Callable[[Call], Fault | None],
        after: Callable[[Call, str], None],
        admit: Callable[[Call], Request],
    ) -> None:
        self._store = store
        self._admit = admit
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
            self._after(call, fault.kind)
            return _faulty(fault)
        said = ""
        try:
            response = answer(self._store, self._admit(call), target, call.verb)
        except ApiError as error:
            response, said = Response(error.status, error.body()), f"{error.status} {error.reason}"
        self._after(call, fault.kind if fault else said)
        return _faulty(fault) if fault else Answer(response.status, response.body)


def _faulty(fault: Fault) -> Answer:
    if fault.kind == "refused":
        raise urllib3.exceptions.NewConnectionError(None, "Connection refused")  # type: ignore[arg-type]
    if fault.kind == "timeout":
        raise urllib3.exceptions.ReadTimeoutError(None, None, "Read timed out.")  # type: ignore[arg-type]
    if fault.kind in ("reset", "cut"):
        raise urllib3.exceptions.ProtocolError("Connection broken", HTTPError(fault.kind))
    if fault.kind in ("429", "429 for long", "429 without"):
        wait = {"429": {"retry-after": "1"}, "429 for long": {"retry-after": "7"}}.get(fault.kind, {})
        return Answer(429, b"Too many requests, please try again later.\n", wait)
    status, reason, message = REFUSALS.get(fault.kind) or (int(fault.kind), *_WORDS.get(fault.kind, _WORDS["500"]))
    return Answer(status, ApiError(status, reason, message).body())


_WORDS = {
    "400": ("BadRequest", "the API version in the data does not match the expected one"),
    "401": ("Unauthorized", "Unauthorized"),
    "403": ("Forbidden", "injected by the simulation"),
    "404": ("NotFound", "the server could not find the requested resource"),
    "408": ("Timeout", "request did not complete within the allotted timeout"),
    "410": ("Expired", "injected by the simulation"),
    "413": ("RequestEntityTooLarge", "limit is 3145728"),
    "422": ("Invalid", 'Pod "x" is invalid: spec: injected by the simulation'),
    "500": ("InternalError", "injected by the simulation"),
}
_CONFLICT = "the object has been modified; please apply your changes to the latest version and try again"
_FORBIDDEN = 'pods "x" is forbidden:'
REFUSALS = {
    "quota": (403, "Forbidden", f"{_FORBIDDEN} exceeded quota: desk, requested: pods=1, used: pods=9, limited: pods=9"),
    "quota conflict": (409, "Conflict", f'Operation cannot be fulfilled on resourcequotas "desk": {_CONFLICT}'),
    "webhook": (500, "InternalError", 'Internal error occurred: failed calling webhook "desk.example.com": EOF'),
    "limit range": (403, "Forbidden", f"{_FORBIDDEN} maximum memory usage per Container is 64Mi, but limit is 256Mi"),
    "conflict": (409, "Conflict", f'Operation cannot be fulfilled on pods "x": {_CONFLICT}'),
}
"""What an API server answers to a creation, by what is in the way: status, reason, message."""
