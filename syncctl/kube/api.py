"""The pods of a cluster over HTTP: raw JSON, no models of the kubernetes package.

GET, DELETE (by uid) and PATCH (by uid) are the same twice, so they are sent again while that may help. The POST of a
pod is not: it is sent once, and one whose answer was lost is settled by reading the pod back.
"""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from syncctl.core import names
from syncctl.core.errors import (
    AccessDenied,
    ClusterError,
    ClusterUnavailable,
    ListExpired,
    NamespaceNotFound,
    PodExists,
    PodNotFound,
    PodRejected,
    QuotaExceeded,
)
from syncctl.core.model import ObservedPod, OtherPod
from syncctl.kube import codec
from syncctl.kube.cluster import Tried
from syncctl.kube.config import Connection
from syncctl.kube.transport import Pause, Permit, Transport

LIST_STARTS = 3
"""How often a list is begun before its expiry in mid-way counts as a failure."""
HEAD_START = 0.0001
"""Seconds given to the request for the next page to leave before this page is decoded, which keeps the interpreter."""

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
        self._page_size = page_size
        self._transport = Transport(connection, request_timeout=request_timeout, request_rate=request_rate, sleep=sleep)
        host = connection.configuration.host
        # Only a proxy has to be told the whole URL.
        base = urlsplit(host).path.rstrip("/") if connection.pool.proxy is None else host
        self._namespace = connection.namespace
        self._namespace_url = f"{base}/api/v1/namespaces/{connection.namespace}"
        self._pods_url = f"{self._namespace_url}/pods"
        self.namespace = connection.namespace
        self.address = f"namespace {connection.namespace} of {host}"

    def working_under(self, permit: Permit, pause: Pause) -> "ApiCluster":
        """Return this cluster, asking for permission before every write and waiting by `pause`; see Cluster."""
        other = copy.copy(self)
        other._transport = self._transport.under(permit, pause)  # noqa: SLF001 - of another of the same class
        return other

    def home(self) -> str:
        """Return the namespace's uid; see Cluster."""
        doing = f"get namespace {self._namespace}"
        try:
            return _decoded(codec.read_uid, self._transport.send("GET", self._namespace_url, doing))
        except PodNotFound as error:
            raise NamespaceNotFound(
                f"there is no {self.address}", "name the right one: --namespace, or --context as for kubectl"
            ) from error

    def list_pods(self, selector: str) -> list[ObservedPod]:
        """Return all pods that the selector finds, complete or not at all; see Cluster."""
        return [pod for page in self._pages(selector, "application/json", codec.read_page) for pod in page]

    def list_others(self, selector: str) -> list[OtherPod]:
        """Return all pods that the selector finds; see Cluster. Only metadata is asked for."""
        return [pod for page in self._pages(selector, _METADATA_LIST, codec.read_others_page) for pod in page]

    def get_pod(self, name: str) -> ObservedPod | None:
        """Return the pod by this name, None when there is none."""
        try:
            return _decoded(codec.read_pod, self._transport.send("GET", f"{self._pods_url}/{name}", f"get pod {name}"))
        except PodNotFound:
            return None

    def look(self, path: str, doing: str) -> bytes:
        """Return what the namespace answers at a path below it, to a person who looks: see looking.py."""
        return self._transport.send("GET", f"{self._namespace_url}{path}", doing)

    def may(self, verb: str, resource: str, subresource: str = "") -> bool | None:
        """Ask whether these credentials may do that to this namespace's objects; None when nobody says."""
        asked = {"namespace": self._namespace, "verb": verb, "resource": resource, "subresource": subresource}
        if resource == "namespaces":
            asked["name"] = self._namespace
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        url = self._namespace_url.partition("/api/v1/")[0] + "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        try:
            body = self._transport.send_once("POST", url, f"ask whether it may {verb}", msgspec.json.encode(review))
            return bool(msgspec.json.decode(body)["status"]["allowed"])
        except (ClusterError, ValueError, KeyError):
            return None

    def stream(self, path: str, doing: str) -> Iterator[bytes]:
        """Yield the same as it comes, for as long as it comes."""
        return self._transport.stream(f"{self._namespace_url}{path}", doing)

    def create_pod(self, manifest: Mapping[str, Any], *, again: bool = False) -> ObservedPod:
        """Create a pod; see Cluster."""
        # Strict: a misspelt field of the template is an error, not silently dropped.
        url = f"{self._pods_url}?fieldValidation=Strict"
        doing = f"create pod {manifest['metadata']['name']}"
        try:
            return _decoded(
                codec.read_pod, self._transport.send_once("POST", url, doing, msgspec.json.encode(manifest))
            )
        except PodExists:
            if again and (found := self._made_by(manifest)):
                return found
            raise
        except ClusterUnavailable as error:
            if error.sent:
                # What came of it is only asked; when nobody says, the refusal stands.
                with suppress(ClusterError):
                    if found := self._made_by(manifest):
                        return found
            raise

    def _made_by(self, manifest: Mapping[str, Any]) -> ObservedPod | None:
        """Return the pod by the manifest's name if it is what that asked for. The lease lets only one pass create."""
        found = self.get_pod(manifest["metadata"]["name"])
        return found if found and _is_of(manifest, found) else None

    def try_pod(self, manifest: Mapping[str, Any], *, beside: bool = False) -> Tried:
        """Return what the API server would make of this pod; see Cluster."""
        if beside:
            metadata = manifest["metadata"]
            another = {**metadata, "name": metadata["name"] + names.DRY_RUN_ENDING}
            # A policy may refuse a pod for no more than such a name: then the answer counts that its own gets.
            with suppress(PodRejected, AccessDenied):
                return self._try_pod({**manifest, "metadata": another})
        return self._try_pod(manifest)

    def _try_pod(self, manifest: Mapping[str, Any]) -> Tried:
        url = f"{self._pods_url}?fieldValidation=Strict&dryRun=All"
        doing = f"create pod {manifest['metadata']['name'].removesuffix(names.DRY_RUN_ENDING)}"
        try:
            body = self._transport.send("POST", url, doing, msgspec.json.encode(manifest))
        except QuotaExceeded:
            # That, and the name, are the last things that are looked at: all else about the pod is well.
            return Tried(room=False)
        except PodExists:
            return Tried(room=True)
        except PodRejected as error:
            if "does not support dry run" not in error.message:
                raise
            return Tried(room=True)
        return Tried(room=True, answer=_decoded(codec.read_pod, body))

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
        return _decoded(codec.read_pod, self._transport.send("PATCH", url, doing, body, content_type=content_type))

    def delete_pod(self, name: str, uid: str, grace_seconds: int | None = None) -> None:
        """Ask the pod with this uid to end; see Cluster."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        body = msgspec.json.encode(options)
        try:
            self._transport.send("DELETE", f"{self._pods_url}/{name}", f"delete pod {name}", body)
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
            return self._transport.send("GET", f"{self._pods_url}?{urlencode(query)}", "list pods", accept=accept)

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


def _early_token(body: bytes) -> str:
    """Return the token of the next page from the start of this one, "" where it does not come before the items."""
    items = body.find(b'"items"', 0, 10_000)
    try:
        token = msgspec.json.decode(body[: max(0, items)].rstrip(b", \n") + b"}")["metadata"]["continue"]
    except (ValueError, KeyError, TypeError):
        return ""
    return str(token)


def _decoded(read: Callable[[bytes], _T], body: bytes) -> _T:
    try:
        return read(body)
    except ValueError as error:
        if codec.is_web_page(body):
            raise ClusterUnavailable(
                "the API server's answer is a web page: something that is no Kubernetes API answers in its place",
                hint="does the kubeconfig name the right server, and does a proxy or a log-in page stand before it?",
            ) from error
        start = body[:80].decode(errors="replace")
        raise ClusterUnavailable(f"the API server's answer cannot be read: {error}; it starts: {start}") from error


def _is_of(manifest: Mapping[str, Any], pod: ObservedPod) -> bool:
    """Whether the pod is what the manifest asked for: of this fleet, and told the same at its start."""
    fleet = manifest["metadata"]["labels"].get(names.FLEET)
    return pod.labels.get(names.FLEET) == fleet and pod.environment == codec.environment_of(manifest)
