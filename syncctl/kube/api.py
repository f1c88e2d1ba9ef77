"""A cluster over HTTP: raw JSON on the kubernetes client's connection pool, with faults answered in one place.

A request that may have had its effect is not simply sent again: GET, DELETE (by uid) and PATCH (by uid) are the same
twice; a POST whose answer was lost is settled by reading the pod back.
"""

import copy
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3

from syncctl import __version__
from syncctl.core import names
from syncctl.core.errors import (
    AccessDenied,
    ClusterError,
    ClusterUnavailable,
    ListExpired,
    PodExists,
    PodNotFound,
    PodRejected,
    PreconditionFailed,
    QuotaExceeded,
)
from syncctl.core.model import ObservedPod
from syncctl.kube import codec
from syncctl.kube.config import Connection

ATTEMPTS = 5
"""How often a request is sent at the most."""
FIRST_BACK_OFF = 0.2
LONGEST_BACK_OFF = 10.0
LIST_STARTS = 3
"""How often a list is begun before its expiry in mid-way counts as a failure."""
CONNECT_TIMEOUT = 5.0
HEAD_START = 0.0001
"""Seconds in which the next page is asked for before this one is decoded: that holds the interpreter to its end."""

_TRANSIENT = {429, 500, 502, 503, 504}
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_T = TypeVar("_T")


class ApiCluster:
    """The pods of one namespace of a real API server. Safe to use from many threads."""

    def __init__(
        self,
        connection: Connection,
        *,
        page_size: int = 500,
        request_timeout: float = 30.0,
        request_rate: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take over a connection.

        Args:
            connection: from config.connect.
            page_size: pods a list request.
            request_timeout: seconds for an answer to begin, and between two parts of it.
            request_rate: requests a second at the most, 0 for no limit.
            sleep: how to wait, between two attempts or for the request's turn.
        """
        self._connection = connection
        self._page_size = page_size
        self._timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, request_timeout), read=request_timeout)
        self._throttle = _Throttle(request_rate, sleep)
        self._permit: Callable[[], None] = _always
        self._sleep = sleep
        self._credentials_lock = threading.Lock()
        self._pool, base = connection.pool, connection.configuration.host
        if self._pool.proxy is None:
            # To find the host's pool anew costs a tenth of every request. Only a proxy has to be told the whole URL.
            self._pool, base = self._pool.connection_from_url(base), urlsplit(base).path.rstrip("/")
        self._pods_url = f"{base}/api/v1/namespaces/{connection.namespace}/pods"
        self.address = f"{connection.configuration.host}, namespace {connection.namespace}"

    def writing_under(self, permit: Callable[[], None]) -> "ApiCluster":
        """Return this cluster, asking for permission before every single write, the repeated ones too; see Cluster."""
        other = copy.copy(self)
        other._permit = permit  # noqa: SLF001 - of another of the same class
        return other

    def list_pods(self, selector: str) -> list[ObservedPod]:
        """Return all pods that the selector finds, complete or not at all; see Cluster."""
        return [pod for page in self._pages(selector, "application/json", codec.read_page) for pod in page]

    def list_owners(self, selector: str) -> dict[str, str]:
        """Return whose each pod is; see Cluster. Only metadata is asked for."""
        pages = self._pages(selector, _METADATA_LIST, codec.read_owners_page)
        return {name: owner for page in pages for name, owner in page.items()}

    def get_pod(self, name: str) -> ObservedPod | None:
        """Return the pod by this name, None when there is none."""
        try:
            return _decoded(codec.read_pod, self._send("GET", f"{self._pods_url}/{name}", f"get pod {name}"))
        except PodNotFound:
            return None

    def create_pod(self, manifest: Mapping[str, Any]) -> ObservedPod:
        """Create a pod; see Cluster."""
        name = manifest["metadata"]["name"]
        # Strict: a misspelt field of the template is an error, not silently dropped.
        url = f"{self._pods_url}?fieldValidation=Strict"
        body = msgspec.json.encode(manifest)
        uncertain = False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return _decoded(codec.read_pod, self._send_once("POST", url, f"create pod {name}", body))
            except PodExists:
                found = self.get_pod(name) if uncertain else None
                if found is None or not _made_by(manifest, found):
                    raise
                return found
            except ClusterUnavailable as error:
                uncertain = uncertain or error.sent
                if error.sent and (found := self.get_pod(name)) is not None and _made_by(manifest, found):
                    return found
                self._back_off_or_raise(error, attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def patch_pod(self, name: str, uid: str, patch: Mapping[str, Any]) -> ObservedPod:
        """Apply a strategic merge patch to the pod with this uid; see Cluster."""
        return self._patch(name, uid, patch, "")

    def resize_pod(self, name: str, uid: str, patch: Mapping[str, Any]) -> ObservedPod:
        """Give the containers other resources while they run; see Cluster."""
        return self._patch(name, uid, patch, "/resize")

    def _patch(self, name: str, uid: str, patch: Mapping[str, Any], subresource: str) -> ObservedPod:
        body = msgspec.json.encode({**patch, "metadata": {**patch.get("metadata", {}), "uid": uid}})
        url = f"{self._pods_url}/{name}{subresource}"
        doing = f"{'resize' if subresource else 'patch'} pod {name}"
        content_type = "application/strategic-merge-patch+json"
        return _decoded(codec.read_pod, self._send("PATCH", url, doing, body, content_type=content_type))

    def delete_pod(self, name: str, uid: str, grace_seconds: int | None = None) -> None:
        """Ask the pod with this uid to end; see Cluster."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        body = msgspec.json.encode(options)
        try:
            self._send("DELETE", f"{self._pods_url}/{name}", f"delete pod {name}", body)
        except PodNotFound:
            return

    def _pages(self, selector: str, accept: str, read: Callable[[bytes], tuple[_T, str]]) -> list[_T]:
        for _ in range(LIST_STARTS):
            try:
                return self._pages_once(selector, accept, read)
            except ListExpired as error:
                expired = error
        raise ClusterUnavailable(
            f"the list of pods expired {LIST_STARTS} times before its end: {expired.message}", status=410
        ) from expired

    def _pages_once(self, selector: str, accept: str, read: Callable[[bytes], tuple[_T, str]]) -> list[_T]:
        def fetch(token: str) -> bytes:
            query = {"labelSelector": selector, "limit": str(self._page_size)}
            if token:
                query["continue"] = token
            return self._send("GET", f"{self._pods_url}?{urlencode(query)}", "list pods", accept=accept)

        pages: list[_T] = []
        body = fetch("")
        with ThreadPoolExecutor(1, thread_name_prefix="list") as ahead:
            while True:
                # While this page is decoded, the server makes the next one and sends it.
                coming = ahead.submit(fetch, early) if (early := _early_token(body)) else None
                time.sleep(HEAD_START)
                page, token = _decoded(read, body)
                pages.append(page)
                if not token:
                    return pages
                body = coming.result() if coming else fetch(token)

    def _send(self, method: str, url: str, doing: str, body: bytes | None = None, **headers: str) -> bytes:
        """Send a request that is the same when sent twice; try again while that may help."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._send_once(method, url, doing, body, **headers)
            except ClusterUnavailable as error:
                self._back_off_or_raise(error, attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _send_once(
        self,
        method: str,
        url: str,
        doing: str,
        body: bytes | None = None,
        *,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> bytes:
        self._throttle.wait()
        if method != "GET":
            self._permit()
        headers = {"accept": accept, "user-agent": f"syncctl/{__version__}", **self._credentials()}
        if body is not None:
            headers["content-type"] = content_type
        try:
            response = self._pool.urlopen(
                method, url, body=body, headers=headers, timeout=self._timeout, retries=False, redirect=False
            )
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            raise ClusterUnavailable(f"cannot {doing}: {_cause(error)}", sent=False, hint=self._hint()) from error
        except urllib3.exceptions.HTTPError as error:
            raise ClusterUnavailable(f"cannot {doing}: {_cause(error)}", hint=self._hint()) from error
        if response.status < 300:
            return bytes(response.data)
        raise _translated(doing, response.status, response.data, response.headers.get("retry-after"))

    def _back_off_or_raise(self, error: ClusterUnavailable, attempt: int) -> None:
        """Wait before the next attempt, as long as the server wishes or exponentially with full jitter."""
        if attempt == ATTEMPTS:
            raise error
        ceiling = min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2**attempt)
        self._sleep(error.retry_after if error.retry_after is not None else random.uniform(0, ceiling))  # noqa: S311

    def _hint(self) -> str:
        return f"is {self._connection.configuration.host} the right cluster, and is it up?"

    def _credentials(self) -> dict[str, str]:
        """Return the authorization header; the client library renews tokens here, and is not thread-safe at it."""
        with self._credentials_lock:
            settings = self._connection.configuration.auth_settings()
        return {setting["key"]: setting["value"] for setting in settings.values() if setting.get("in") == "header"}


def _early_token(body: bytes) -> str:
    """Return the token of the next page from the start of this one, "" where it does not come before the items."""
    items = body.find(b'"items"', 0, 10_000)
    try:
        token = msgspec.json.decode(body[: max(0, items)].rstrip(b", \n") + b"}")["metadata"]["continue"]
    except (ValueError, KeyError, TypeError):
        return ""
    return str(token)


def _always() -> None:
    """Permit every write."""


class _Throttle:
    """Lets callers through at no more than a rate; they wait for their turn in the order in which they came."""

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


def _decoded(read: Callable[[bytes], _T], body: bytes) -> _T:
    try:
        return read(body)
    except ValueError as error:
        start = body[:80].decode(errors="replace")
        raise ClusterUnavailable(f"the API server's answer cannot be read: {error}; it starts: {start}") from error


def _made_by(manifest: Mapping[str, Any], pod: ObservedPod) -> bool:
    """Whether the pod is what the manifest asked for, of this fleet and key. The lease lets only one pass create."""
    metadata = manifest["metadata"]
    return all(
        found.get(key) == metadata[section][key]
        for found, section, key in (
            (pod.labels, "labels", names.FLEET),
            (pod.labels, "labels", names.CLIENT_ID),
            (pod.labels, "labels", names.ALGORITHM),
            (pod.annotations, "annotations", names.SPEC_HASH),
        )
    )


def _translated(doing: str, status: int, body: bytes, retry_after: str | None) -> ClusterError:
    told = codec.read_status(body)
    said = f"cannot {doing}: {told.message or f'HTTP {status}'}"
    if status in _TRANSIENT:
        seconds = min(float(retry_after), LONGEST_BACK_OFF) if retry_after and retry_after.isdigit() else None
        return ClusterUnavailable(said, status=status, retry_after=seconds, sent=status != 429)
    if status == 403 and "exceeded quota" in told.message:
        return QuotaExceeded(said, "raise the ResourceQuota, or switch something off")
    if status in (401, 403):
        return AccessDenied(said, "`kubectl auth can-i` tells what this identity may do; k8s-cronjob.yaml has the Role")
    if status == 409 and told.reason == "AlreadyExists":
        return PodExists(said)
    causes = told.details.causes if told.details else None
    if status == 422 and any(cause.field == "metadata.uid" for cause in causes or ()):
        # The server takes the uid of a patch for an attempt to change it.
        return PreconditionFailed(f"cannot {doing}: the name is held by another pod by now")
    leaf = {404: PodNotFound, 410: ListExpired, 409: PreconditionFailed}.get(status, PodRejected)
    return leaf(said)


def _cause(error: BaseException) -> str:
    """Return the innermost reason of a connection failure, without addresses of Python objects."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
