"""A fleet to be harmed: a database, a sandbox over HTTP, and time that passes only while somebody waits.

A watch on the store judges every change of a pod: one pod a key, nothing foreign touched, nothing deleted that nobody
asked to be deleted.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, delete, insert, select, update

from syncctl.core import names
from syncctl.core.errors import SyncctlError
from syncctl.core.exits import ExitCode, exit_code_of_error, exit_code_of_report
from syncctl.core.judge import JudgedPlan
from syncctl.core.model import Algorithm
from syncctl.core.report import Outcome, Report, Result
from syncctl.db.clients import list_clients
from syncctl.db.engine import reading, writing
from syncctl.db.tables import algorithm_status, clients, fleet, lease
from syncctl.kube.api import ApiCluster
from syncctl.kube.config import Connection, connect
from syncctl.operations.clients import delete_client
from syncctl.operations.clock import Clock
from syncctl.operations.planning import PassOptions, plan_sync
from syncctl.operations.sync import sync_once
from syncctl.sandbox import ANNOTATION, NAMESPACES, NODES, PODS, Record, Sandbox, Store
from syncctl.sandbox.objects import Event, Json, Resource
from syncctl.settings import Settings

NAMESPACE = "trading"
IMAGE = "registry.example.com/desk/vwap:1.4.2"
NEW_IMAGE = "registry.example.com/desk/vwap:1.5.0"
DEFAULTS = {"image": IMAGE, "cpu": "500m", "memory": "64Mi"}
FIVE_MINUTES = 300.0
Objects = list[tuple[Resource, Json]]
NO_OPTIONS = PassOptions()


class DrivenTime:
    """Seconds that pass while somebody waits; those who wait at the same time wait side by side."""

    def __init__(self) -> None:
        self._seconds = 1_795_557_600.0
        self._lock = threading.Lock()
        self.on_change: Callable[[], object] = lambda: None

    def __call__(self) -> float:
        return self._seconds

    def pass_(self, seconds: float) -> None:
        """Let so much time pass from the moment of the call on."""
        until = self._seconds + seconds
        with self._lock:
            self._seconds = max(self._seconds, until)
            self.on_change()

    def clock(self) -> Clock:
        """Return the clock of a pass. Only the lease goes by the machine's, as the database does."""
        return Clock(now=lambda: datetime.fromtimestamp(self(), UTC), monotonic=self.__call__, sleep=self.pass_)


@dataclass
class Witness:
    """Keeps what it hears, and may do something when it hears of the plan or the report."""

    judged: JudgedPlan | None = None
    report: Report | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    on_plan: Callable[[], object] = lambda: None
    on_report: Callable[[], object] = lambda: None

    def planned(self, judged: JudgedPlan) -> None:
        self.judged = judged
        self.on_plan()

    def settled(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def reported(self, report: Report) -> None:
        self.report = report
        self.on_report()


@dataclass(frozen=True)
class Ended:
    """How a pass ended."""

    code: ExitCode
    report: Report | None = field(repr=False)
    error: SyncctlError | None
    writes: int
    seconds: float

    def results(self) -> dict[str, Result]:
        """Return what became of each pod, `unchanged` left out."""
        assert self.report
        return {
            outcome.step.name: outcome.result
            for outcome in self.report.outcomes
            if outcome.result is not Result.UNCHANGED
        }

    def details(self) -> dict[str, str]:
        """Return why, for each pod that something else became of than was planned."""
        assert self.report
        return {outcome.step.name: outcome.detail for outcome in self.report.outcomes if outcome.detail}


class World:
    """One fleet and its cluster. `may_go` holds the uids of pods that somebody wants deleted or replaced."""

    def __init__(self, engine: Engine, folder: Path, *, saved: Objects | None = None, live: bool = False) -> None:
        """Make a world.

        Args:
            engine: of a database with our tables.
            folder: for a kubeconfig.
            saved: what the cluster holds at first.
            live: for passes of other processes: the cluster goes by real time, and by itself.
        """
        self.engine = engine
        self.time = DrivenTime()
        store = Store(time.time if live else self.time, saved=saved or (), version=100_000)
        delays = {"start_delay": 0.05, "stop_delay": 0.05} if live else {"start_delay": 0.2, "stop_delay": 0.2}
        self.sandbox = Sandbox(store=store, background_kubelet=live, **delays)
        if not live:
            self.time.on_change = self.sandbox.kubelet.tick
        self.settings = Settings(page_size=3, concurrency=4, request_timeout=10.0)
        self.violations: list[str] = []
        self.may_go: set[str] = set()
        self.made: Counter[str] = Counter()
        self.folder = folder
        self._connections: dict[str, Connection] = {}
        self._fleet = ""
        store.subscribe(self._judge)

    def __enter__(self) -> "World":
        self.sandbox.__enter__()
        with reading(self.engine) as connection:
            self._fleet = str(connection.execute(select(fleet.c.uuid)).scalar_one())
        return self

    def __exit__(self, *_: object) -> None:
        self.sandbox.__exit__(None, None, None)

    # Passes

    def kubeconfig(self) -> str:
        """Return the path of a kubeconfig as of now."""
        return str(self.sandbox.kubeconfig(self.folder / "kubeconfig"))

    def cluster(self, **changed: Any) -> ApiCluster:
        """Return a cluster under these settings, whose back-offs pass in driven time."""
        settings = msgspec.structs.replace(self.settings, **changed)
        token = self.sandbox.server.token
        if token not in self._connections:
            kubeconfig = self.kubeconfig()
            self._connections[token] = connect(kubeconfig, None, NAMESPACE, 16)
        return ApiCluster(
            self._connections[token],
            page_size=settings.page_size,
            request_timeout=settings.request_timeout,
            sleep=self.time.pass_,
        )

    def run(self, options: PassOptions = NO_OPTIONS, *, witness: Witness | None = None, **settings: Any) -> Ended:
        """Run one pass; an error of ours is one way to end."""
        witness = witness or Witness()
        report = error = None
        writes, began = self.writes(), self.time()
        chosen = msgspec.structs.replace(self.settings, **settings)
        try:
            report = sync_once(self.engine, self.cluster(**settings), chosen, options, witness, self.time.clock())
        except SyncctlError as raised:
            error = raised
        code = exit_code_of_report(report) if report else exit_code_of_error(error) if error else ExitCode.DONE
        return Ended(code, report or witness.report, error, self.writes() - writes, self.time() - began)

    def plan(self, options: PassOptions = NO_OPTIONS, **settings: Any) -> JudgedPlan:
        """Return what a pass would do."""
        chosen = msgspec.structs.replace(self.settings, **settings)
        return plan_sync(self.engine, self.cluster(), chosen, options, self.time.clock())

    def settle(self, seconds: float = FIVE_MINUTES) -> None:
        """Let the time between two passes pass."""
        self.time.pass_(seconds)
        self.sandbox.kubelet.tick()

    def converges(self, within: int = 2) -> int:
        """Run passes without faults until nothing is left to do; return how many it took."""
        self.sandbox.faults.clear()
        self.sandbox.server.on_request = None
        for passes in range(1, within + 1):
            self.settle()
            outlive_lease(self.engine)
            ended = self.run()
            assert ended.code is ExitCode.DONE, ended
            self.settle(10.0)
            if not self.plan().plan.drifted:
                return passes
        left = [f"{step.kind} {step.name}: {step.reason}, {step.held}" for step in self.plan().plan.drifted]
        raise AssertionError(f"not converged after {within} passes: {left}")

    def writes(self) -> int:
        """Return how many requests have asked for a change so far."""
        return sum(number for (method, _, _), number in self.sandbox.requests.items() if method != "GET")

    # Pods

    def pods(self) -> dict[str, Record]:
        """Return our pods by name."""
        return {pod.name: pod for pod in self._all() if pod.labels.get(names.FLEET) == self._fleet}

    def unrecorded(self) -> set[str]:
        """Return our pods of which the client's spawned_at knows nothing: it is earlier than the pod, or never."""
        with reading(self.engine) as connection:
            spawned = {str(client.id): client.spawned_at for client in list_clients(connection)}
        made = {pod.name: pod.content["metadata"]["creationTimestamp"] for pod in self.pods().values()}
        known = {name: spawned.get(pod.labels[names.CLIENT_ID]) for name, pod in self.pods().items()}
        return {name for name, at in known.items() if at is None or at < datetime.fromisoformat(made[name])}

    def uid(self, name: str) -> str:
        """Return the uid of a pod."""
        return self.sandbox.store.get(PODS, NAMESPACE, name).uid

    def stray(self, name: str, **labels: str) -> str:
        """Make a pod that is not ours and return its uid."""
        container = {
            "name": names.GO_CONTAINER,
            "image": names.GO_IMAGE,
            "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}},
        }
        pod = {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [container]}}
        return self.sandbox.store.create(PODS, NAMESPACE, pod).record.uid

    def befall(self, name: str, fate: str) -> None:
        """Let one of the kubelet's conditions befall a pod."""
        patch = {"metadata": {"annotations": {ANNOTATION: fate}}}
        self.sandbox.store.patch(PODS, NAMESPACE, name, json.dumps(patch).encode())
        self.settle(1.0)

    def objects(self) -> Objects:
        """Return all that the cluster holds, for another one to begin with."""
        found = self.sandbox.store
        return [(kind, one.content) for kind in (NAMESPACES, NODES, PODS) for one in found.list(kind).records]

    def _all(self) -> list[Record]:
        return self.sandbox.store.list(PODS, NAMESPACE).records

    # The watch

    def _judge(self, event: Event) -> None:
        record, previous = event.record, event.previous
        if record.resource is not PODS:
            return
        ours = record.labels.get(names.FLEET) == self._fleet
        if previous is None and ours:
            key = names.pod_key(record.labels)
            number = sum(
                names.pod_key(pod.labels) == key for pod in self._all() if pod.labels.get(names.FLEET) == self._fleet
            )
            self.made[record.name] += 1
            if number > 1:
                self.violations.append(f"{record.name}: {number} pods of {key}")
        goes = event.type == "DELETED" or (record.terminating and previous is not None and not previous.terminating)
        if goes and record.uid not in self.may_go:
            self.violations.append(f"{record.name} was told to go, and nobody had asked for it")
        if not ours and (goes or _changed(record, previous)):
            self.violations.append(f"{record.name} was touched, and is not ours")


def _changed(record: Record, previous: Record | None) -> bool:
    """Whether a pod is another than before in more than what the kubelet does to it."""
    if previous is None:
        return False
    old, new = previous.content, record.content
    placed = {"nodeName"}
    specs = [{key: value for key, value in each["spec"].items() if key not in placed} for each in (old, new)]
    metadata = [{key: each["metadata"].get(key) for key in ("labels", "annotations")} for each in (old, new)]
    return specs[0] != specs[1] or metadata[0] != metadata[1]


# Rows


def outlive_lease(engine: Engine) -> None:
    """Let so much time pass for the lease that it ends by itself: nobody can drive the database's clock."""
    with writing(engine) as connection:
        connection.execute(update(lease).values(expires_at=datetime(2000, 1, 1, tzinfo=UTC)))


def add_rows(engine: Engine, enabled: Mapping[int, str], **columns: Any) -> None:
    """Add clients by id, each with the algorithms that it wants running; its row of algorithms has the same number."""
    rows = [{"id": id_, "client_name": f"client {id_}", **DEFAULTS, **columns} for id_ in enabled]
    off = {algorithm.value: False for algorithm in Algorithm}
    flags = [
        {"id": id_, "client_id": id_, **off, **dict.fromkeys(which.split(), True)} for id_, which in enabled.items()
    ]
    with writing(engine) as connection:
        connection.execute(insert(clients), rows)
        connection.execute(insert(algorithm_status), flags)


def change_row(engine: Engine, client_id: int, **columns: Any) -> None:
    """Change a client's row."""
    with writing(engine) as connection:
        connection.execute(update(clients).where(clients.c.id == client_id).values(columns))


def switch(engine: Engine, client_id: int, **flags: bool) -> None:
    """Switch a client's algorithms."""
    with writing(engine) as connection:
        connection.execute(update(algorithm_status).where(algorithm_status.c.client_id == client_id).values(flags))


def vanish(engine: Engine, *client_ids: int) -> None:
    """Let rows vanish as raw SQL does, without a tombstone."""
    with writing(engine) as connection:
        connection.execute(delete(clients).where(clients.c.id.in_(client_ids)))


# A fleet that needs each kind of step


def prepare(world: World) -> None:
    """Let a fleet run and then change it, so that the next pass has a step of each kind to do.

    1 and 11 stay, 2 is renamed, 3 has a new image, 4 more cpu, 5 is restarted, 6 has failed, 7 is switched off,
    8 deleted, 9 an orphan, 10 new. Two pods are somebody else's.
    """
    engine = world.engine
    add_rows(engine, {1: "vwap twap", **dict.fromkeys(range(2, 10), "vwap"), 11: "vwap"})
    assert world.run().code is ExitCode.DONE
    world.settle()
    world.stray("vwap-99")
    world.stray("other", **{names.FLEET: "8d5b6f2e-5c0a-4d5e-9a55-6f1c3a1f7b11", names.CLIENT_ID: "3"})
    change_row(engine, 2, client_name="another name")
    change_row(engine, 3, image=NEW_IMAGE)
    change_row(engine, 4, cpu="750m")
    change_row(engine, 5, need_restart=True)
    world.befall("vwap-6", "Evicted")
    switch(engine, 7, vwap=False)
    delete_client(engine, "8")
    vanish(engine, 9)
    add_rows(engine, {10: "vwap"})


TO_DO = {
    "vwap-7": Result.DELETED,
    "vwap-8": Result.DELETED,
    "vwap-9": Result.DELETED,
    "vwap-5": Result.REPLACED,
    "vwap-6": Result.REPLACED,
    "vwap-10": Result.CREATED,
    "vwap-2": Result.UPDATED,
    "vwap-3": Result.UPDATED,
    "vwap-4": Result.UPDATED,
}
"""What a pass without faults makes of it."""
GOING = ("vwap-5", "vwap-6", "vwap-7", "vwap-8", "vwap-9")
LEFT = {"vwap-1", "twap-1", "vwap-2", "vwap-3", "vwap-4", "vwap-5", "vwap-6", "vwap-10", "vwap-11"}
"""What there is at the end."""
