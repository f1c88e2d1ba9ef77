"""Requests to the API server, over the kubernetes client's connection pool: credentials, attempts, faults, the rate.

What comes back is a body or a leaf of ClusterError; which request may be sent twice, the caller knows.
"""

import copy
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import urllib3

from syncctl import __version__
from syncctl.core.errors import (
    AccessDenied,
    ClusterError,
    ClusterUnavailable,
    ListExpired,
    NoCluster,
    PodExists,
    PodNotFound,
    PodRejected,
    PreconditionFailed,
    QuotaExceeded,
)
from syncctl.kube import codec
from syncctl.kube.config import Connection
from syncctl.kube.payloads import ApiStatus

ATTEMPTS = 5
"""How often a request is sent at the most."""
FIRST_BACK_OFF = 0.2
LONGEST_BACK_OFF = 10.0
CONNECT_TIMEOUT = 5.0
CREDENTIALS_LAST = 1.0
"""Seconds that an authorization header is used before the client library is asked for it again."""

_SAID_BY_PROXIES = {401, 403}
"""Beside those that may pass, the statuses that say nothing of whether an API server has answered."""

Permit = Callable[[], None]
Pause = Callable[[float], bool]


class Transport:
    """Sends requests. Safe to use from many threads."""

    def __init__(
        self, connection: Connection, *, request_timeout: float, request_rate: float, sleep: Callable[[float], None]
    ) -> None:
        """Take over a connection; the arguments are those of ApiCluster."""
        self._host = connection.configuration.host
        self._pool = connection.pool
        if self._pool.proxy is None:
            # Finding the host's pool again costs a tenth of every request.
            self._pool = self._pool.connection_from_url(self._host)
        self._timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, request_timeout), read=request_timeout)
        self._credentials = _Credentials(connection)
        self._impersonation = connection.impersonation
        self._throttle = _Throttle(request_rate, sleep)
        self._permit: Permit = lambda: None
        self._pause: Pause = _patiently(sleep)

    def under(self, permit: Permit, pause: Pause) -> "Transport":
        """Return this transport, asking before every write and waiting between two attempts by these; see Cluster."""
        other = copy.copy(self)
        other._permit, other._pause = permit, pause  # noqa: SLF001 - of another of the same class
        return other

    def send(self, method: str, url: str, doing: str, body: bytes | None = None, **headers: str) -> bytes:
        """Send a request that is the same when sent twice; try again while that may help."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self.send_once(method, url, doing, body, **headers)
            except ClusterUnavailable as error:
                self.back_off_or_raise(error, attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def send_once(
        self,
        method: str,
        url: str,
        doing: str,
        body: bytes | None = None,
        *,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> bytes:
        """Send a request and return the body of its answer; `doing` names it in errors."""
        headers = {"accept": accept, "user-agent": f"syncctl/{__version__}"}
        if body is not None:
            headers["content-type"] = content_type
        (status, answer, retry_after), credentials = self._exchange(method, url, doing, body, headers)
        if status == 401 and self._credentials.renew(credentials):
            # It may have been renewed a moment ago. Who is not let in has had no effect, so anything may be sent again.
            (status, answer, retry_after), _ = self._exchange(method, url, doing, body, headers)
        if status < 300:
            return answer
        told = codec.read_status(answer)
        # A real server says of a path below a pod that it does not know in plain text, too; of a pod never.
        of_anybody = _may_pass(status) or status in _SAID_BY_PROXIES
        if told.kind != "Status" and not of_anybody and (method == "GET" or codec.is_web_page(answer)):
            reason = f": {' '.join(told.message.split())}" if told.message else ""
            raise ClusterError(
                f"cannot {doing}: {self._host} answered {status} with something that is no Kubernetes API{reason}",
                self._hint(),
            )
        raise _translated(method, doing, status, told, retry_after, self._host)

    def stream(self, url: str, doing: str) -> Iterator[bytes]:
        """Send a GET and yield its answer as it comes, waiting for more without an end. It is sent once."""
        headers = {"accept": "*/*", "user-agent": f"syncctl/{__version__}"}
        response, _ = self._respond("GET", url, doing, None, headers, streamed=True)
        with response:
            if response.status >= 300:
                told = codec.read_status(bytes(response.read()))
                raise _translated("GET", doing, response.status, told, None, self._host)
            try:
                yield from response.stream(65536)
            except urllib3.exceptions.HTTPError as error:
                raise ClusterUnavailable(f"cannot {doing} any longer: {_cause(error)}", hint=self._hint()) from error

    def back_off_or_raise(self, error: ClusterUnavailable, attempt: int) -> None:
        """Wait before the next attempt, as long as the server wishes or for a while."""
        if attempt == ATTEMPTS:
            raise error
        wished = error.retry_after
        if not self._pause(a_while(attempt) if wished is None else min(wished, LONGEST_BACK_OFF)):
            raise error

    def _exchange(
        self, method: str, url: str, doing: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[tuple[int, bytes, str | None], dict[str, str]]:
        response, credentials = self._respond(method, url, doing, body, headers)
        return (response.status, bytes(response.data), response.headers.get("retry-after")), credentials

    def _respond(
        self,
        method: str,
        url: str,
        doing: str,
        body: bytes | None,
        headers: dict[str, str],
        *,
        streamed: bool = False,
    ) -> tuple[urllib3.BaseHTTPResponse, dict[str, str]]:
        self._throttle.wait()
        if method != "GET":
            self._permit()
        credentials = self._credentials.headers()
        headers = {**headers, **credentials}
        if self._impersonation:
            headers = urllib3.HTTPHeaderDict(headers)  # type: ignore[assignment]
            for name, value in self._impersonation:
                headers.add(name, value)  # type: ignore[attr-defined]
        # Nobody knows when the next line of a log comes.
        timeout = urllib3.Timeout(connect=self._timeout.connect_timeout, read=None) if streamed else self._timeout
        try:
            response = self._pool.urlopen(
                method,
                url,
                body=body,
                headers=headers,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=not streamed,
            )
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            raise ClusterUnavailable(f"cannot {doing}: {_cause(error)}", sent=False, hint=self._hint()) from error
        except urllib3.exceptions.HTTPError as error:
            raise ClusterUnavailable(f"cannot {doing}: {_cause(error)}", hint=self._hint()) from error
        return response, credentials

    def _hint(self) -> str:
        return f"is {self._host} the right cluster, and is it up?"


def a_while(attempt: int) -> float:
    """Return how many seconds to wait after so many attempts: exponentially more, with full jitter."""
    return random.uniform(0, min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2 ** min(attempt, 16)))  # noqa: S311


def _patiently(sleep: Callable[[float], None]) -> Pause:
    def pause(seconds: float) -> bool:
        sleep(seconds)
        return True

    return pause


class _Credentials:
    """The authorization header. The client library renews tokens when it is asked, and is not thread-safe at it.

    To ask it for each request would cost as much as a quarter of the request. So it is asked once a second, and at once
    when the server will not let us in.
    """

    def __init__(self, connection: Connection) -> None:
        self._configuration = connection.configuration
        self._renew = connection.renew
        self._lock = threading.Lock()
        self._known: tuple[dict[str, str], float] = {}, 0.0

    def headers(self) -> dict[str, str]:
        """Return the header, or none."""
        headers, until = self._known
        if time.monotonic() >= until:
            with self._lock:
                headers, until = self._known
                if time.monotonic() >= until:
                    settings = self._configuration.auth_settings()
                    headers = {each["key"]: each["value"] for each in settings.values() if each.get("in") == "header"}
                    self._known = headers, time.monotonic() + CREDENTIALS_LAST
        return headers

    def renew(self, refused: dict[str, str]) -> bool:
        """Get new ones for the next request instead of those that were refused; False when there is nobody to ask."""
        with self._lock:
            if self._known[0] is refused:
                # Of many requests that were refused at the same moment one asks for all.
                self._known = {}, 0.0
                if self._renew:
                    with suppress(NoCluster):
                        self._renew()
        return bool(refused)


class _Throttle:
    """Lets callers through at no more than a rate; they take turns in the order they came."""

    def __init__(self, rate: float, sleep: Callable[[float], None]) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._sleep = sleep
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        if not self._interval:
            return
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._interval
        self._sleep(max(0.0, turn - time.monotonic()))


def _may_pass(status: int) -> bool:
    """Whether the same request may well be answered otherwise in a moment, whoever has answered."""
    return status in (408, 429) or status >= 500


def _translated(
    method: str, doing: str, status: int, told: ApiStatus, retry_after: str | None, host: str
) -> ClusterError:
    said = f"cannot {doing}: {told.message or f'HTTP {status}'}"
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    if _may_pass(status):
        hint = f"{host} answered {status}; it may pass, else look at what is wrong there"
        return ClusterUnavailable(said, status=status, retry_after=seconds, sent=status != 429, hint=hint)
    if status == 403 and "exceeded quota" in told.message:
        return QuotaExceeded(said, "raise the ResourceQuota, or switch something off", status=status)
    if status == 401:
        hint = f"{host} lets nobody in with this; renew the token, or the user's entry in the kubeconfig"
        return AccessDenied(said, hint, status=status)
    if status == 403:
        hint = "`kubectl auth can-i` tells what this identity may do; k8s-cronjob.yaml has the Role"
        return AccessDenied(said, hint, status=status)
    if status == 409 and told.reason == "AlreadyExists":
        return PodExists(said, status=status)
    if status == 409 and (method == "POST" or "UID" not in told.message):
        # The only precondition ever sent is a uid. This is two who wrote to one object at the same time: to the pod, or
        # to a ResourceQuota that several API servers count by.
        return ClusterUnavailable(said, status=status, retry_after=seconds, sent=False)
    causes = told.details.causes if told.details else None
    if status == 422 and any(cause.field == "metadata.uid" for cause in causes or ()):
        # The server takes the uid of a patch for an attempt to change it.
        return PreconditionFailed(f"cannot {doing}: the name is held by another pod by now", status=status)
    leaf = {404: PodNotFound, 410: ListExpired, 409: PreconditionFailed}.get(status, PodRejected)
    return leaf(said, status=status)


def _cause(error: BaseException) -> str:
    """Return the innermost reason of a connection failure, without addresses of Python objects."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
