"""A fleet whose next pass takes each kind of step once, copied for every point at which that pass is killed."""

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import text

from syncctl.core.errors import LeaseHeld
from syncctl.core.model import Algorithm, ClientChanges, NewClient
from syncctl.core.report import Report
from syncctl.db.engine import Engine, connect, reading, writing
from syncctl.kube.api import ApiCluster
from syncctl.operations import algorithms, clients
from syncctl.operations.connect import open_cluster
from syncctl.operations.planning import PassOptions
from syncctl.operations.sync import sync_once
from syncctl.sandbox import ANNOTATION, NODES, PODS, DeleteOptions, Fault, Kubelet, Sandbox, Store
from syncctl.sandbox.http.messages import Response
from syncctl.sandbox.objects import NAMESPACES, Event
from syncctl.sources import load_settings

from .child import Nobody

ROOT = Path(__file__).parents[2]
NAMESPACE = "trading"
FLEET = "syncctl.io/fleet"
REPLACED = "syncctl.io/replaced"
MERGE = "application/merge-patch+json"
VWAP, TWAP = frozenset({Algorithm.VWAP}), frozenset({Algorithm.VWAP, Algorithm.TWAP})
STEPS = {
    ("create", "missing"), ("update", "metadata-differs"), ("update", "image-differs"), ("update", "resources-differ"),
    ("replace", "restart-asked"), ("replace", "spec-differs"), ("replace", "finished"), ("replace", "adopted"),
    ("delete", "switched-off"), ("delete", "client-deleted"), ("delete", "orphan"), ("wait", "terminating"),
    ("conflict", "name-taken"), ("keep", "in-sync"),
}  # fmt: skip
"""What the pass that is killed has to do."""
MADE = {
    "vwap-1": 1, "twap-1": 1, "vwap-5": 1, "twap-5": 1, "vwap-6": 1, "vwap-7": 1, "vwap-14": 1, "vwap-11": 1,
}  # fmt: skip
"""The pods that are made until all is well, and how often: two created, three replaced, one adopted, one waited for."""
SUCCEEDED = {"vwap-5", "twap-5", "vwap-6", "vwap-7", "vwap-14"}
"""Those of them that are there for one that was ended for them."""
GONE = {"vwap-8", "vwap-9", "vwap-10", "vmap-14"}


class Killing(Fault):
    """A fault of the server that kills a process at a request, and leaves it without an answer."""

    def __init__(self, number: int, after: bool, kill: Callable[[], None]) -> None:
        super().__init__(after=after, skip=number - 1)
        self._kill = kill

    def replacement(self) -> Response:
        """Kill, then close the connection."""
        self._kill()
        return Response(0, b"", reset=True)


@dataclass
class Ground:
    """A database and a cluster in the state from which the pass begins."""

    settings: dict[str, Any]
    engine: Engine
    store: Store
    sandbox: Sandbox
    cluster: ApiCluster
    problems: list[str] = field(default_factory=list)
    made: Counter[str] = field(default_factory=Counter)

    def heard(self, change: Event) -> None:
        """Look at every change of a pod: never two of one key."""
        record = change.record
        if record.resource is not PODS or change.type != "ADDED":
            return
        self.made[record.name] += 1
        if self.query("SELECT home FROM fleet") != [(self.home,)]:
            self.problems.append(f"{record.name} was made before the fleet's home was known")
        key = _key(record.labels)
        for other in self.store.list(PODS, NAMESPACE).records:
            rival = _key(other.labels) == key or (FLEET not in other.labels and other.name == f"vmap-{key[0]}")
            if other.uid != record.uid and rival:
                self.problems.append(f"{record.name} was made beside {other.name}")

    def sync(self) -> Report:
        """Run a pass in this process."""
        return sync_once(
            self.engine, self.cluster, load_settings(self.settings).values, PassOptions(adopt=True), Nobody()
        )

    def query(self, statement: str) -> list[Any]:
        """Read from the database."""
        with reading(self.engine) as connection:
            return list(connection.execute(text(statement)))

    def execute(self, statement: str) -> None:
        """Write to the database."""
        with writing(self.engine) as connection:
            connection.execute(text(statement))

    @property
    def home(self) -> str:
        """The uid of the namespace."""
        return self.store.get(NAMESPACES, "", NAMESPACE).uid

    def lease_is_held(self) -> bool:
        """Whether somebody has the lease."""
        try:
            self.sync()
        except LeaseHeld:
            return True
        raise AssertionError("nobody had the lease, and a pass went through")


class Passes:
    """Forks passes off a warmed process, and tells how they ended."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.crashes.child"]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._pid = 0
        self._known = threading.Event()

    def kill(self) -> None:
        """Kill the pass that runs."""
        assert self._known.wait(10)
        os.kill(self._pid, signal.SIGKILL)

    def run(self, settings: dict[str, Any], commit: int = 0, after: bool = False) -> int:
        """Run a pass and return its exit code, -9 when it was killed."""
        assert self._process.stdin
        assert self._process.stdout
        self._known.clear()
        order = {"settings": settings, "commit": commit, "after": after}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._pid = int(self._process.stdout.readline())
        self._known.set()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the warmed process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class Scenario:
    """The state before the pass, kept to be copied."""

    def __init__(self, sandbox: Sandbox, url: str, copy: Callable[[], str], kubeconfig: Path) -> None:
        self._sandbox = sandbox
        self._copy = copy
        self._kubeconfig = kubeconfig
        self._cluster = open_cluster(load_settings(self._settings(url)).values)
        engine = connect(url)
        store, kubelet = self._stage(Store(namespaces=(NAMESPACE,)))
        ground = Ground(self._settings(url), engine, store, sandbox, self._cluster)
        _add_clients(engine)
        _foreign(store, "vwap-12", {FLEET: "another-fleet"})
        ground.sync()
        kubelet.tick()
        _change(engine, store)
        kubelet.tick()
        _foreign(store, "vmap-14", {})
        kubelet.tick()
        engine.dispose()
        self._saved = [
            (resource, record.json) for resource in (NAMESPACES, NODES, PODS) for record in store.list(resource).records
        ]
        self._version = store.version

    @contextmanager
    def ground(self) -> Iterator[Ground]:
        """Yield a copy of it all."""
        url = self._copy()
        store, _ = self._stage(Store(namespaces=(), nodes=(), saved=self._saved, version=self._version))
        ground = Ground(self._settings(url), connect(url), store, self._sandbox, self._cluster)
        # As an upgrade leaves it: the pass that is killed has a home to store as well.
        ground.execute("UPDATE fleet SET home = NULL, home_name = NULL")
        store.subscribe(ground.heard)
        yield ground
        ground.engine.dispose()
        self._sandbox.faults.clear()

    def _stage(self, store: Store) -> tuple[Store, Kubelet]:
        # The kubelet does its work whenever somebody looks: nobody waits, and nothing depends on how long.
        kubelet = Kubelet(store, start_delay=0.0, stop_delay=0.0)
        self._sandbox.server.store = store
        self._sandbox.server.on_request = lambda _request, _verb: kubelet.tick() and None
        return store, kubelet

    def _settings(self, url: str) -> dict[str, Any]:
        # One request at a time: then request number k is the same each time.
        return {"database_url": url, "kubeconfig": str(self._kubeconfig), "namespace": NAMESPACE, "concurrency": 1}


def copied_file(folder: Path) -> Callable[[], str]:
    """Return what makes copies of the SQLite file in this folder."""

    def copy() -> str:
        shutil.copy(folder / "base.db", folder / "copy.db")
        for journal in folder.glob("copy.db-*"):
            journal.unlink()
        return f"sqlite:///{folder / 'copy.db'}"

    return copy


def _add_clients(engine: Engine) -> None:
    for number in range(1, 17):
        new = NewClient(f"client {number}", "desk/algo:1", "500m", "256Mi", algorithms=VWAP)
        if number in (1, 14):
            new = NewClient(f"client {number}", "desk/algo:1", "500m", "256Mi")
        elif number == 5:
            new = NewClient(f"client {number}", "desk/algo:1", "500m", "256Mi", algorithms=TWAP)
        clients.add_client(engine, new)


def _change(engine: Engine, store: Store) -> None:
    algorithms.set_algorithms(engine, "1", {Algorithm.VWAP: True, Algorithm.TWAP: True})
    clients.update_client(engine, "2", ClientChanges(name="renamed"))
    clients.update_client(engine, "3", ClientChanges(image="desk/algo:2"))
    clients.update_client(engine, "4", ClientChanges(cpu="750m"))
    clients.restart_client(engine, "5")
    _make_as_by_another_template(store, "vwap-6")
    _annotate(store, "vwap-7", {ANNOTATION: "Failed"})
    algorithms.set_algorithms(engine, "8", {Algorithm.VWAP: False})
    clients.delete_client(engine, "9")
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM clients WHERE id = 10"))
    _annotate(store, "vwap-11", {ANNOTATION: "Stuck"})
    store.delete(PODS, NAMESPACE, "vwap-11")
    algorithms.set_algorithms(engine, "14", {Algorithm.VWAP: True})


def release(store: Store) -> None:
    """Let the pod go that the pass has waited for."""
    store.delete(PODS, NAMESPACE, "vwap-11", DeleteOptions(0))


def _annotate(store: Store, name: str, annotations: dict[str, str]) -> None:
    store.patch(PODS, NAMESPACE, name, msgspec.json.encode({"metadata": {"annotations": annotations}}), MERGE)


def _make_as_by_another_template(store: Store, name: str) -> None:
    pod = store.find(PODS, NAMESPACE, name)
    assert pod is not None
    body = copy.deepcopy(pod.content)
    (container,) = body["spec"]["containers"]
    for variable in container["env"]:
        if variable["name"] == "SYNCCTL_SPEC":
            variable["value"] = "0123456789abcdef"
    metadata = {field: body["metadata"][field] for field in ("name", "labels", "annotations")}
    spec = {**body["spec"], "nodeName": ""}
    store.delete(PODS, NAMESPACE, name, DeleteOptions(0))
    store.create(PODS, NAMESPACE, {"metadata": metadata, "spec": spec})


def _foreign(store: Store, name: str, labels: dict[str, str]) -> None:
    spec = {"containers": [{"name": "algorithm-container", "image": "algorithm-image"}]}
    store.create(PODS, NAMESPACE, {"metadata": {"name": name, "labels": labels}, "spec": spec})


def _key(labels: dict[str, str]) -> tuple[str, str]:
    return labels.get("syncctl.io/client-id", ""), labels.get("app.kubernetes.io/name", "")
