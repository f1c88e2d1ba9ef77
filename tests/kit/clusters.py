"""Clusters for tests: the sandbox in this process by a clock of its own, and any real one that --kubeconfig names.

Both look alike to a test. What only one of them can do is said by `real`, and its tests are skipped on the other.
"""

import base64
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import yaml

from syncctl.core import names
from syncctl.core.manifest import Blueprint
from syncctl.core.template import make_template
from syncctl.kube.api import ApiCluster
from syncctl.kube.config import Connection, connect
from syncctl.operations.clock import SYSTEM, Clock
from syncctl.sandbox import NAMESPACES, PODS, Sandbox

Json = dict[str, Any]

IMAGE = "registry.k8s.io/pause:3.10"
NEWER_IMAGE = "registry.k8s.io/pause:3.10.1"
"""Small, public, and content with Pod Security "restricted": they run on any real cluster."""
FINALIZER = "example.com/held-by-a-test"
PATIENCE = 60.0
"""Seconds that a real cluster, or a real process, may take for one thing."""


class Cluster(Protocol):
    """A cluster that a test may do anything to; it is empty at first, and gone afterwards."""

    real: bool
    namespace: str
    kubeconfig: Path
    clock: Clock
    """By which a pass on this cluster goes."""

    def api(self, **options: Any) -> ApiCluster:
        """Return the cluster as syncctl sees it; every call opens connections of its own."""

    def uid(self) -> str:
        """Return the namespace's uid."""

    def powerless(self) -> ApiCluster:
        """Return the cluster as somebody without any right sees it."""

    def until(self, reached: Callable[[], object]) -> None:
        """Let the kubelet work until it is so; fail when that takes too long."""

    def set_status(self, name: str, **status: Any) -> None:
        """Let the kubelet say this of a pod, beside what it has said already."""

    def limit_pods(self, number: int) -> None:
        """Put the namespace under a quota."""

    def pods(self) -> dict[str, Json]:
        """Return all pods of the namespace by name, as the API server has them."""


class SandboxCluster:
    """The sandbox. Its time is `now` and moves only by `clock.sleep`, during which the kubelet works."""

    real = False
    namespace = "trading"

    def __init__(self, folder: Path) -> None:
        self.now = datetime(2026, 3, 2, 14, 30, tzinfo=UTC).timestamp()
        self._ticking = threading.Lock()
        self.sandbox = Sandbox(clock=lambda: self.now)
        self.clock = Clock(
            now=lambda: datetime.fromtimestamp(self.now, UTC), monotonic=lambda: self.now, sleep=self.pass_time
        )
        self._folder = folder

    @property
    def kubeconfig(self) -> Path:
        return self.sandbox.kubeconfig(self._folder / "kubeconfig", self.namespace)

    def pass_time(self, seconds: float) -> None:
        with self._ticking:
            self.now += seconds
            self.sandbox.kubelet.tick()

    def connection(self) -> Connection:
        return connect(str(self.kubeconfig), None, None, 4)

    def api(self, **options: Any) -> ApiCluster:
        return ApiCluster(self.connection(), **{"sleep": self.pass_time, **options})

    def uid(self) -> str:
        return self.sandbox.store.get(NAMESPACES, "", self.namespace).uid

    def powerless(self) -> ApiCluster:
        self.sandbox.faults.add(status=403, times=None, message='User "nobody" cannot do that to resource "pods"')
        return self.api()

    def until(self, reached: Callable[[], object]) -> None:
        for _ in range(200):
            if reached():
                return
            self.pass_time(0.5)
        raise AssertionError("has not come to pass in the sandbox")

    def set_status(self, name: str, **status: Any) -> None:
        known = self.sandbox.store.get(PODS, self.namespace, name).json["status"]
        self.sandbox.store.write_status(self.namespace, name, {**known, **status})

    def limit_pods(self, number: int) -> None:
        self.sandbox.store.set_quota(self.namespace, number)

    def pods(self) -> dict[str, Json]:
        return {record.name: record.json for record in self.sandbox.store.list(PODS, self.namespace).records}

    def fate(self, name: str, condition: str) -> None:
        """Let one of the sandbox's own fates befall a pod, by the annotation that asks for it."""
        self._annotate(name, "sandbox.syncctl.io/condition", condition)

    def answer_resize(self, name: str, answer: str) -> None:
        """Let the node answer a resize of this pod so."""
        self._annotate(name, "sandbox.syncctl.io/resize", answer)

    def _annotate(self, name: str, key: str, value: str) -> None:
        patch = {"metadata": {"annotations": {key: value}}}
        self.sandbox.store.patch(PODS, self.namespace, name, json.dumps(patch).encode())
        self.pass_time(0.5)

    def asked(self) -> dict[str, int]:
        """Return how often each verb was asked for since the last call."""
        found: dict[str, int] = {}
        for (_, path, verb), number in self.sandbox.requests.items():
            spelt = f"{verb}/resize" if path.endswith("/resize") else verb
            found[spelt] = found.get(spelt, 0) + number
        self.sandbox.requests.clear()
        return found


class RealCluster:
    """A throw-away namespace of a real cluster, whose Pod Security is "restricted"."""

    real = True
    clock = SYSTEM

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.namespace = f"syncctl-test-{uuid.uuid4().hex[:12]}"
        self._connection = connect(str(kubeconfig), None, self.namespace, 4)
        self._folder = folder
        self.kubeconfig = self._with_namespace(kubeconfig)

    def api(self, **options: Any) -> ApiCluster:
        return ApiCluster(connect(str(self.kubeconfig), None, None, 16), **options)

    def uid(self) -> str:
        return str(self._send("GET", f"namespaces/{self.namespace}")["metadata"]["uid"])

    def powerless(self) -> ApiCluster:
        self.call("POST", "serviceaccounts", {"metadata": {"name": "nobody"}})
        answer = self.call("POST", "serviceaccounts/nobody/token", {"spec": {"expirationSeconds": 600}})
        configuration = connect(str(self.kubeconfig), None, None, 1).configuration
        configuration.api_key["BearerToken"] = f"Bearer {answer['status']['token']}"
        configuration.cert_file = configuration.key_file = configuration.refresh_api_key_hook = None
        from kubernetes.client.rest import RESTClientObject

        return ApiCluster(Connection(configuration, RESTClientObject(configuration).pool_manager, self.namespace))

    def until(self, reached: Callable[[], object]) -> None:
        poll(reached)

    def set_status(self, name: str, **status: Any) -> None:
        self.call("PATCH", f"pods/{name}/status", {"status": status})

    def limit_pods(self, number: int) -> None:
        self.call("POST", "resourcequotas", {"metadata": {"name": "few"}, "spec": {"hard": {"pods": str(number)}}})
        # The API server knows the quota when its status has been counted.
        poll(lambda: self.call("GET", "resourcequotas/few")["status"].get("used"))

    def pods(self) -> dict[str, Json]:
        return {pod["metadata"]["name"]: pod for pod in self.call("GET", "pods")["items"]}

    def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """Send a request for anything in the namespace."""
        return self._send(method, f"namespaces/{self.namespace}/{path}", body)

    def __enter__(self) -> "RealCluster":
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self._send("POST", "namespaces", {"metadata": {"name": self.namespace, "labels": labels}})
        # Made by a controller of its own a moment later, and no pod can be without it.
        poll(lambda: "default" in {one["metadata"]["name"] for one in self.call("GET", "serviceaccounts")["items"]})
        return self

    def __exit__(self, *_: object) -> None:
        for name, pod in self.pods().items():
            if pod["metadata"].get("finalizers"):
                self.call("PATCH", f"pods/{name}", {"metadata": {"finalizers": None}})
        self._send("DELETE", f"namespaces/{self.namespace}")

    def _send(self, method: str, path: str, body: Json | None = None) -> Json:
        headers = {one["key"]: one["value"] for one in self._connection.configuration.auth_settings().values()}
        headers["content-type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
        url = f"{self._connection.configuration.host}/api/v1/{path}"
        sent = None if body is None else json.dumps(body).encode()
        answer = self._connection.pool.request(method, url, body=sent, headers=headers, timeout=30.0)
        assert answer.status < 300, answer.data
        content: Json = json.loads(answer.data)
        return content

    def _with_namespace(self, kubeconfig: Path) -> Path:
        document = yaml.safe_load(kubeconfig.read_text())
        for context in document["contexts"]:
            context["context"]["namespace"] = self.namespace
        file = self._folder / "kubeconfig"
        file.write_text(yaml.safe_dump(document))
        file.chmod(0o600)
        return file


def poll(reached: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < until, f"has not come to pass within {seconds:g} s"
        time.sleep(0.05)


@contextmanager
def open_cluster(kubeconfig: str | None, folder: Path) -> Iterator[SandboxCluster | RealCluster]:
    """Open the cluster that --kubeconfig names, else a sandbox."""
    if kubeconfig:
        with RealCluster(Path(kubeconfig), folder) as real:
            yield real
    else:
        cluster = SandboxCluster(folder)
        with cluster.sandbox:
            yield cluster


def a_pod(name: str, *, fleet: str = "", client_id: int = 7, algorithm: str = "vwap", **metadata: Any) -> Json:
    """Return the manifest of a small pod: of this fleet, told what it runs, or of nobody."""
    template = Blueprint(make_template(), fleet, "default").template
    labels = {names.FLEET: fleet, names.CLIENT_ID: str(client_id), names.ALGORITHM: algorithm} if fleet else {}
    amounts = {"cpu": "20m", "memory": "32Mi"}
    container = {**template.container, "image": IMAGE, "resources": {"requests": amounts, "limits": amounts}}
    if fleet:
        told = {names.ALGORITHM_VARIABLE: algorithm, names.CLIENT_ID_VARIABLE: str(client_id)}
        container["env"] = [{"name": name, "value": value} for name, value in told.items()]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata, "labels": {**labels, **metadata.get("labels", {})}},
        "spec": {**template.spec, "terminationGracePeriodSeconds": 2, "containers": [container]},
    }


def a_go_pod(name: str, **metadata: Any) -> Json:
    """Return the manifest of a pod as the Go service makes them."""
    pod = a_pod(name, **metadata)
    pod["spec"]["containers"][0] |= {"name": names.GO_CONTAINER, "image": names.GO_IMAGE}
    return pod


def b64(text: str) -> str:
    """Return what a kubeconfig or a secret holds of a text."""
    return base64.b64encode(text.encode()).decode()
