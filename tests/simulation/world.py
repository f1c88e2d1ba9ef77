"""What happens to rows and pods while nobody looks: people, nodes, other programs; by one source of chance."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import Engine, text

from syncctl.core.errors import ClientExists
from syncctl.core.model import Algorithm, ClientChanges, NewClient
from syncctl.db.engine import writing
from syncctl.operations import algorithms, clients, suspensions
from syncctl.operations.author import Author, written_by
from syncctl.sandbox import ANNOTATION, NAMESPACES, PODS, DeleteOptions, Kubelet, Record, Store
from syncctl.sandbox.http.messages import Request
from syncctl.sandbox.objects import Event

from .driven import NAMESPACE, Call, DrivenTime
from .judge import Judge, Violation
from .rows import (
    ALGORITHM,
    ALGORITHMS,
    BAD_CPU,
    BAD_IMAGES,
    BAD_MEMORY,
    BROKEN_IMAGE,
    BUCKET,
    BY_HAND,
    CLIENT_ID,
    FLEET,
    GENERATION,
    GOOD_CPU,
    GOOD_IMAGES,
    GOOD_MEMORY,
    INSTANCE,
    MANAGED_BY,
    MIRROR,
    REPLACED,
    SPEC,
    SPEC_HASH,
    Rows,
    environment,
    go_service_names,
    read_rows,
)

MERGE = "application/merge-patch+json"
FATES = (
    "Failed", "Failed", "Succeeded", "Evicted", "DeadlineExceeded", "NodeLost", "CrashLoopBackOff", "ImagePullBackOff",
    "NotReady", "Stuck",
)  # fmt: skip
NO_HASH = "what?"
TEMPLATE = """\
apiVersion: v1
kind: Pod
metadata: {{labels: {{desk: "{label}"}}}}
spec:
  terminationGracePeriodSeconds: {grace}
  containers: [{{name: algorithm, env: [{{name: TEMPLATE, value: "{revision}"}}]}}]
"""
LABELS: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (CLIENT_ID, ("1", "2", "5", "9", "007", "nobody", None)),
    (ALGORITHM, ("vwap", "twap", "hft", "martingale", None)),
    (FLEET, ("another", None, None)),
    (BUCKET, ("0", "1", "2", "7", "255", "256", "none", None)),
    (INSTANCE, ("another", None)),
    (MANAGED_BY, ("somebody", None)),
    ("desk", ("x", None)),
)
"""What people write on pods, by the label; None takes it away."""
MARKS = (MANAGED_BY, INSTANCE, SPEC_HASH, "syncctl.io/version", "syncctl.io/admitted", FLEET)
"""What a policy may take away."""
ANNOTATIONS: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (SPEC_HASH, ("x", "0123456789abcdef", None)),
    (GENERATION, ("7", "0", "x", None)),
    ("syncctl.io/template", ("x", None)),
    (REPLACED, ("2026-01-01T00:00:00+00:00", "x", None)),
    ("syncctl.io/admitted", ("x", None)),
    ("syncctl.io/client-name", ("somebody", None)),
    ("syncctl.io/version", ("x", None)),
)


class World:
    """Everything around the passes. `generations` counts the restarts that people have asked for, by client."""

    generations: dict[int, int]

    def __init__(
        self, chance: random.Random, engine: Engine, store: Store, kubelet: Kubelet, judge: Judge, time: DrivenTime
    ) -> None:  # fmt: skip
        self._chance = chance
        self._engine = engine
        self._store = store
        self._kubelet = kubelet
        self._judge = judge
        self._time = time
        self._database = str(engine.url.database)
        self._template = ""
        self.generations: dict[int, int] = {}
        self._names = 0
        self._buried: list[dict[str, Any]] = []
        # Rows of a backup; ids of rows of algorithm_status as they were before a restore moved them, by client.
        self._backup: list[dict[str, Any]] = []
        self._ids_before: dict[int, int] = {}
        self._copies = 0
        # What the Go service would do: whether it is at work, and whether somebody has said that it is gone for good.
        self.go_service_runs = False
        # Until when the webhook of all creations is away, and of which; how large the quota is and how far it lags.
        self.webhook_away = 0.0
        self.webhook_of = "both"
        # Whether another webhook has all images come from a mirror.
        self.mirrors = False
        # Which mark of ours a policy takes away, "" while there is none.
        self.takes_away = ""
        self.quota: int | None = None
        self.quota_lag = 0.0
        self.quota_conflicts = 0.0
        self._gone: list[float] = []

    def remember(self) -> Callable[[], None]:
        """Return what puts back all that follows from the rows: for a database that loses the last seconds."""
        generations, buried, before = dict(self.generations), list(self._buried), dict(self._ids_before)

        def put_back() -> None:
            self.generations, self._buried, self._ids_before = generations, buried, before

        return put_back

    # Rows

    def add_client(self) -> str:
        self._names += 1
        flags = frozenset(one for one in Algorithm if self._chance.random() < 0.6)
        new = NewClient(f"client {self._names}", *self._parts(), priority=float(self._chance.randint(-3, 3)),
                        algorithms=flags)  # fmt: skip
        before = read_rows(self._database)
        client = clients.add_client(self._engine, new)
        assert client.algorithms is not None
        if client.id in before.deleted | {one for one in before.adopted.values() if one is not None}:
            raise Violation(f"client {client.id} has the id of one that was there before")
        if client.algorithms.id in before.by_status.keys() | before.adopted.keys():
            raise Violation(f"client {client.id} has pods by the names of another's: {client.algorithms.id}")
        self.generations[client.id] = 0
        return f"added client {client.id} with {'/'.join(sorted(flags))}"

    def update_client(self) -> str:
        client = self._client()
        image, cpu, memory = self._parts()
        what = self._chance.choice(("image", "image", "cpu", "both", "name", "priority", "version"))
        changes = {
            "image": ClientChanges(image=image),
            "cpu": ClientChanges(cpu=cpu or "250m", memory=memory),
            "both": ClientChanges(image=image or "desk/algo:9", cpu=cpu or "750m"),
            "name": ClientChanges(name=f"renamed {self._chance.randint(1, 30)}"),
            "priority": ClientChanges(priority=float(self._chance.randint(-3, 3))),
            "version": ClientChanges(version=self._chance.randint(1, 99)),
        }[what]
        try:
            clients.update_client(self._engine, str(client), changes)
        except ClientExists:
            return "found the name taken"
        return f"changed {what} of client {client}"

    def release_image(self) -> str:
        """Everybody gets a new image, and it may be broken."""
        image = self._chance.choice((*GOOD_IMAGES[:3], BROKEN_IMAGE))
        self._sql("UPDATE clients SET image = :image", image=image)
        return f"released {image} to everybody"

    def flip_flags(self) -> str:
        client = self._client()
        flags = {one: self._chance.random() < 0.6 for one in Algorithm if self._chance.random() < 0.6}
        if not flags:
            return "switched nothing"
        algorithms.set_algorithms(self._engine, str(client), flags)
        return f"switched client {client}: {flags}"

    def close_the_day(self) -> str:
        self._sql("UPDATE algorithm_status SET vwap = false, twap = false, hft = false")
        return "switched everything off"

    def open_the_day(self) -> str:
        self._sql("UPDATE algorithm_status SET vwap = true, hft = true")
        return "switched vwap and hft on everywhere"

    def stop_clients(self) -> str:
        """The red button, for some or for all."""
        some = None if self._chance.random() < 0.3 else [str(self._client()), str(self._client())]
        found = clients.stop_clients(self._engine, some)
        return f"stopped {[client.id for client in found]}"

    def restart(self) -> str:
        client = self._client()
        if client not in read_rows(self._database).asked:
            self.generations[client] += 1
        clients.restart_client(self._engine, str(client))
        return f"asked for a restart of client {client}"

    def restart_all(self) -> str:
        asked = read_rows(self._database)
        for client in asked.clients - asked.asked:
            self.generations[client] += 1
        self._sql("UPDATE clients SET need_restart = true")
        return "asked for a restart of all"

    def delete_client(self) -> str:
        client = self._client()
        clients.delete_client(self._engine, str(client))
        return f"deleted client {client}"

    def lose_client(self) -> str:
        client = self._client()
        self._bury("c.id = :client", client=client)
        return f"lost the row of client {client}"

    def lose_many(self) -> str:
        self._bury("c.id % 2 = :half", half=self._chance.randint(0, 1))
        return "lost half of the rows"

    def lose_all(self) -> str:
        self._bury("true")
        return "lost all rows"

    def restore_rows(self) -> str:
        for row in self._buried:
            known = self._sql("SELECT 1 FROM clients WHERE id = :id OR client_name = :client_name", **row)
            if not known:
                self._sql(
                    "INSERT INTO clients (id, client_name, version, image, cpu, memory, priority, need_restart,"
                    " restart_generation) VALUES (:id, :client_name, :version, :image, :cpu, :memory, :priority,"
                    " :need_restart, :restart_generation)",
                    **row,
                )
                if row["status"] is not None and not self._sql(
                    "SELECT 1 FROM algorithm_status WHERE id = :status", **row
                ):
                    self._sql(
                        "INSERT INTO algorithm_status (id, client_id, vwap, twap, hft)"
                        " VALUES (:status, :id, :vwap, :twap, :hft)",
                        **row,
                    )
                self.generations[row["id"]] = row["restart_generation"] + row["need_restart"]
        restored, self._buried = len(self._buried), []
        return f"restored {restored} rows"

    def spoil_client(self) -> str:
        client = self._client()
        column, value = self._chance.choice(
            [("image", self._chance.choice(BAD_IMAGES)), ("cpu", self._chance.choice(BAD_CPU)),
             ("memory", self._chance.choice(BAD_MEMORY)), ("priority", float("inf"))]
        )  # fmt: skip
        self._sql(f"UPDATE clients SET {column} = :value WHERE id = :client", value=value, client=client)
        return f"spoilt {column} of client {client}"

    def mend_clients(self) -> str:
        for column, bad in (("image", BAD_IMAGES), ("cpu", BAD_CPU), ("memory", BAD_MEMORY)):
            for value in bad:
                self._sql(f"UPDATE clients SET {column} = '' WHERE {column} = :value", value=value)
        self._sql("UPDATE clients SET priority = 1.0 WHERE priority > 1e300")
        return "mended all clients"

    def lose_status(self) -> str:
        client = self._client()
        self._sql("DELETE FROM algorithm_status WHERE client_id = :client", client=client)
        return f"lost the algorithms of client {client}"

    def renumber(self) -> str:
        """A client's pods get other names."""
        client = self._client()
        found = self._sql("SELECT vwap, twap, hft FROM algorithm_status WHERE client_id = :client", client=client)
        if found:
            self._sql("DELETE FROM algorithm_status WHERE client_id = :client", client=client)
            self._sql(
                "INSERT INTO algorithm_status (client_id, vwap, twap, hft) VALUES (:client, :vwap, :twap, :hft)",
                client=client, **found[0],
            )  # fmt: skip
        return f"renumbered the pods of client {client}"

    def move_ids(self) -> str:
        """A restore gives clients other ids in algorithm_status: swapped, or all shifted."""
        known = read_rows(self._database).known
        if len(known) < 2:
            raise NothingThere
        if self._chance.random() < 0.6:
            one, other = self._chance.sample(sorted(known), 2)
            moved = {one: known[other], other: known[one]}
        else:
            numbers = sorted(known.values())
            moved = dict(zip(sorted(known, key=known.__getitem__), [*numbers[1:], numbers[0]], strict=True))
        self._renumbered(moved)
        self._ids_before = {**{client: known[client] for client in moved}, **self._ids_before}
        return f"moved the ids of {sorted(moved)}"

    def put_ids_back(self) -> str:
        rows = read_rows(self._database)
        taken = {number for client, number in rows.known.items() if client not in self._ids_before}
        moved = {
            client: number
            for client, number in self._ids_before.items()
            if client in rows.known and number not in taken
        }
        self._renumbered(moved)
        self._ids_before = {}
        return f"put back the ids of {sorted(moved)}"

    def _renumbered(self, numbers: dict[int, int]) -> None:
        # By way of numbers that nobody has, for no two rows may have the same one.
        for client, number in [*((client, -number) for client, number in numbers.items()), *numbers.items()]:
            self._sql(
                "UPDATE algorithm_status SET id = :number WHERE client_id = :client", number=number, client=client
            )

    def back_up(self) -> str:
        self._backup = self._rows_of("true")
        return f"made a backup of {len(self._backup)} clients"

    def restore_backup(self) -> str:
        """The rows become those of a backup: who came later has vanished, who was deleted is there again."""
        if not self._backup:
            raise NothingThere
        self._sql("DELETE FROM clients")
        self._buried, (kept, self._buried) = [], (self._buried, self._backup)
        self.restore_rows()
        self._buried = kept
        return f"restored a backup of {len(self._backup)} clients"

    def change_template(self) -> str:
        if self._chance.random() < 0.6 or not self._template:
            self._template = str(self._chance.randint(1, 4))
        grace, label = 5 * (1 + int(self._template) % 3), self._chance.choice("ab")
        text = TEMPLATE.format(revision=self._template, grace=grace, label=label)
        self._sql("UPDATE fleet SET pod_template = :text", text=text)
        return f"wrote template {self._template}{label}"

    def forget_settings(self) -> str:
        """The fleet is one that was upgraded from a syncctl whose processes each had settings of their own."""
        self._sql("UPDATE fleet SET fleet_name = NULL")
        return "the fleet's settings are unset"

    def set_settings(self) -> str:
        if not read_rows(self._database).unset:
            raise NothingThere
        self._sql("UPDATE fleet SET fleet_name = 'default'")
        return "the fleet's settings are set"

    # Pods

    def play_fate(self) -> str:
        pod = self._pod()
        fate = self._chance.choice(FATES)
        self._annotate(pod, {ANNOTATION: fate})
        return f"{pod.name} is {fate}"

    def lose_node(self) -> str:
        names = [pod for pod in self._judge.pods() if self._chance.random() < 0.4]
        for pod in names:
            self._annotate(pod, {ANNOTATION: "NodeLost"})
        return f"lost a node with {len(names)} pods"

    def delete_pod(self) -> str:
        pod = self._pod()
        grace = self._chance.choice((None, 0, 3))
        self._store.delete(PODS, NAMESPACE, pod.name, DeleteOptions(grace))
        return f"{pod.name} was deleted by somebody with grace {grace}"

    def hold_by_finalizer(self) -> str:
        pod = self._pod()
        if pod.terminating:
            return "left finalizers alone"
        self._patch(pod, {"metadata": {"finalizers": ["desk.example.com/hold"]}})
        return f"{pod.name} has a finalizer"

    def label_pod(self) -> str:
        return self._edit("labels", LABELS, [self._pod()])

    def label_pods(self) -> str:
        """`kubectl label pods --all --overwrite`, or those of a selector."""
        return self._edit("labels", LABELS, self._many())

    def move_buckets(self) -> str:
        return self._edit("labels", LABELS[3:4], self._many())

    def annotate_pod(self) -> str:
        return self._edit("annotations", ANNOTATIONS, [self._pod()])

    def annotate_pods(self) -> str:
        return self._edit("annotations", ANNOTATIONS, self._many())

    def _edit(self, what: str, table: tuple[tuple[str, tuple[str | None, ...]], ...], pods: list[Record]) -> str:
        key, values = self._chance.choice(table)
        edit = {key: self._chance.choice(values)}
        for pod in pods:
            self._patch(pod, {"metadata": {what: edit}})
        return f"{', '.join(pod.name for pod in pods)} got the {what} {edit}"

    def copy_pod(self) -> str:
        """`kubectl get pod -o yaml`, another name, `kubectl create`."""
        pod = self._pod()
        self._copies += 1
        name = self._chance.choice(
            (f"{pod.name}-debug{self._copies}", f"copy-{self._copies}", f"twap-{900 + self._copies}")
        )
        content = pod.content
        if self._chance.random() < 0.3:
            content["metadata"].get("labels", {}).pop(FLEET, "")
        return self._make(name, content["metadata"], content["spec"])

    def make_pod_by_hand(self) -> str:
        """A pod with labels like ours, and an environment that says nothing, the same, or something else."""
        rows = read_rows(self._database)
        if not rows.known:
            raise NothingThere
        self._copies += 1
        client, status = self._chance.choice(sorted(rows.known.items()))
        algorithm = self._chance.choice(ALGORITHMS)
        name = self._chance.choice(
            (f"{algorithm}-{status}", f"{algorithm}-{status}", f"hand-{self._copies}", f"hft-{800 + self._copies}")
        )
        labels = {
            FLEET: rows.fleet,
            CLIENT_ID: str(client),
            ALGORITHM: algorithm,
            MANAGED_BY: "syncctl",
            BUCKET: str(client % 256),
        }
        said = [{"name": "ALGORITHM", "value": algorithm}, {"name": "CLIENT_ID", "value": str(client)}]
        env = self._chance.choice((
            [], [], said[:1], said, [*said, {"name": SPEC, "value": NO_HASH}],
            [{"name": "CLIENT_ID", "value": "1"}, {"name": "ALGORITHM", "value": "hft"}, *said],
        ))  # fmt: skip
        container = {"name": self._chance.choice(("algorithm", "algorithm", "main")), "image": BY_HAND, "env": env}
        return self._make(name, {"labels": labels}, {"containers": [container]})

    def remake_as_before(self) -> str:
        """All pods become such as the syncctl before this one has made: they do not say of what they are made."""
        made = 0
        for pod in self._judge.pods():
            content = pod.content
            if not self._judge.ours(pod.labels) or pod.terminating or SPEC not in environment(content):
                continue
            for container in content["spec"]["containers"]:
                container["env"] = [one for one in container.get("env") or () if one["name"] != SPEC]
            self._patch(pod, {"metadata": {"finalizers": None}})
            self._store.delete(PODS, NAMESPACE, pod.name, DeleteOptions(0))
            self._make(pod.name, content["metadata"], content["spec"])
            made += 1
        return f"{made} pods are of the version before"

    def _make(self, name: str, metadata: dict[str, Any], spec: dict[str, Any]) -> str:
        if self._store.find(PODS, NAMESPACE, name):
            return f"{name} is there already"
        kept = {part: metadata[part] for part in ("labels", "annotations") if part in metadata}
        kept.get("annotations", {}).pop(ANNOTATION, "")
        spec = {part: value for part, value in spec.items() if part not in ("nodeName", "priority")}
        self._store.create(PODS, NAMESPACE, {"metadata": {"name": name, **kept}, "spec": spec})
        return f"somebody made {name} with {kept.get('labels')}"

    def edit_image(self) -> str:
        """`kubectl set image`."""
        pod = self._pod()
        if "algorithm" in [one["name"] for one in pod.content["spec"]["containers"]]:
            image = {"containers": [{"name": "algorithm", "image": BY_HAND}]}
            body = msgspec.json.encode({"spec": image})
            self._store.patch(PODS, NAMESPACE, pod.name, body, "application/strategic-merge-patch+json")
        return f"{pod.name} got another image by hand"

    def start_go_service(self) -> str:
        """The Go service makes a pod for a row, if the name is free."""
        names = self._go_names(read_rows(self._database))
        if not names:
            return "no row for the Go service"
        return self._foreign(self._chance.choice(names), {}, self._chance.random() < 0.1)

    def start_go_service_for_all(self) -> str:
        """The Go service has been running all the while, and has made pods by either spelling."""
        names = self._go_names(read_rows(self._database))
        made = [self._foreign(name, {}, controlled=False) for name in names if self._chance.random() < 0.5]
        return f"the Go service was started: {len(made)} pods"

    def start_go_service_for_good(self) -> str:
        self.go_service_runs = True
        return "the Go service runs, and nobody stops it"

    def stop_go_service(self) -> str:
        self.go_service_runs = False
        return "the Go service was stopped"

    def let_go_service_work(self) -> str:
        """It makes what its rows ask for, as it knows them: those that were taken out of its table too."""
        rows, made = read_rows(self._database), []
        for client, algorithm in sorted(rows.wanted.keys() | rows.invalid):
            word = "vmap" if algorithm == "vwap" else algorithm
            taken_out = [number for number, of in sorted(rows.adopted.items()) if of == client]
            made += [
                self._foreign(f"{word}-{number}", {}, controlled=False) for number in (rows.known[client], *taken_out)
            ]
        return f"the Go service made pods: {made}"

    def _go_names(self, rows: Rows) -> list[str]:
        """Names of its pods by rows that are there, that were doubled, and of clients that were deleted."""
        numbers = sorted(rows.by_status.keys() | rows.adopted.keys())
        return [f"{word}-{number}" for number in numbers for word in ("vmap", "twap", "hft")]

    def adopt_database(self) -> None:
        """The database was the Go service's: there were rows in excess, and rows of nobody."""
        highest = self._sql("SELECT max(id) AS id FROM algorithm_status")[0]["id"] or 0
        for number in range(highest + 1, highest + 1 + self._chance.randint(1, 4)):
            client = self._client() if self._chance.random() < 0.7 else self._chance.choice((None, 77))
            # Its number was given, and will not be given again.
            self._sql(
                "UPDATE sqlite_sequence SET seq = max(seq, :number) WHERE name = 'algorithm_status'", number=number
            )
            self._sql("UPDATE sqlite_sequence SET seq = max(seq, 77) WHERE name = 'clients'")
            self._sql(
                "INSERT INTO adopted_algorithm_status (id, client_id, reason, original, adopted_at)"
                " VALUES (:number, :client, 'merged', '{}', '2026-01-01 00:00:00')", number=number, client=client,
            )  # fmt: skip
        uid = self._store.get(NAMESPACES, "", NAMESPACE).uid
        self._sql("UPDATE fleet SET go_service = true, home = :uid, home_name = 'here'", uid=uid)
        self._judge.looks_for_go = True

    def forget_go_service(self) -> None:
        """A person says that the Go service is gone for good."""
        self._sql("UPDATE fleet SET go_service = false")
        self._judge.looks_for_go = False

    def take_name(self) -> str:
        """A pod of another fleet, or of nobody in particular, takes a name of ours."""
        wanted = list(read_rows(self._database).wanted.values())
        if not wanted:
            return "no name to be taken"
        labels = {FLEET: "another"} if self._chance.random() < 0.5 else {FLEET: "other", ALGORITHM: "twap"}
        return self._foreign(self._chance.choice(wanted).name, labels, controlled=False)

    def _foreign(self, name: str, labels: dict[str, str], controlled: bool) -> str:
        if self._store.find(PODS, NAMESPACE, name):
            return f"{name} is taken already"
        metadata: dict[str, Any] = {"name": name, "labels": labels}
        if controlled:
            metadata["ownerReferences"] = [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "1-2", "controller": True}
            ]
        container = {"name": "algorithm-container", "image": "algorithm-image"}
        body = {"metadata": metadata, "spec": {"containers": [container], "terminationGracePeriodSeconds": 5}}
        self._store.create(PODS, NAMESPACE, body)
        return f"somebody made {name} with {labels}"

    # Suspensions

    def suspend(self) -> str:
        """Somebody leaves a client, a part of it or the fleet alone, or stops a client, for some time."""
        algorithms: tuple[Algorithm, ...] = ()
        client, stops = None, False
        if self._chance.random() < 0.8:
            client, stops = self._client(), self._chance.random() < 0.4
            algorithms = (self._chance.choice(list(Algorithm)),) if self._chance.random() < 0.4 else ()
        seconds = self._chance.choice((20.0, 310.0, 310.0, 1500.0, 86400.0, None))
        suspensions.suspend(
            written_by(self._engine, Author("anna", "simulation", "the exchange asked")),
            suspensions.Target(client, None if client is None else f"client {client}", algorithms),
            lambda now: None if seconds is None else now + timedelta(seconds=seconds),
            stops=stops,
        )
        whose = "the fleet" if client is None else f"{'/'.join(algorithms) or 'all'} of client {client}"
        return f"{'stopped' if stops else 'suspended'} {whose} for {seconds} s"

    def resume(self) -> str:
        found = self._sql("SELECT id FROM suspensions WHERE ended_at IS NULL")
        if not found:
            raise NothingThere
        one = self._chance.choice(found)["id"]
        self._end_suspensions(f"id = {one}")
        return f"ended suspension {one}"

    def _end_suspensions(self, which: str) -> None:
        self._sql(f"UPDATE suspensions SET ended_at = '2026-01-01 00:00:00' WHERE ended_at IS NULL AND {which}")

    # The cluster

    def change_kubelet(self) -> str:
        self._kubelet.stop_delay = self._chance.choice((0.2, 0.5, 3.0, 14.0, 60.0))
        self._kubelet.start_delay = self._chance.choice((0.2, 2.0, 40.0))
        self._kubelet.resize_answer = self._chance.choice(("", "", "", "Infeasible", "Deferred", "InProgress", "Error"))
        self._store.supports_resize = self._chance.random() < 0.8
        return f"the kubelet stops pods in {self._kubelet.stop_delay} s"

    def change_quota(self) -> str:
        """The quota may be as large as the fleet, its status may lag, and two servers may be in each other's way."""
        living = len(self._judge.pods())
        self.quota = self._chance.choice((None, 5, 12, living, living, living + 1))
        self.quota_lag = self._chance.choice((0.0, 3.0, 20.0, 115.0))
        self.quota_conflicts = self._chance.choice((0.0, 0.2))
        return f"the quota is {self.quota}, {self.quota_lag} s late"

    def over_quota(self) -> str:
        """Say what the quota answers to a creation now, "" when it lets it pass."""
        if self.quota is None:
            return ""
        if self._chance.random() < self.quota_conflicts:
            return "quota conflict"
        now = self._time.cluster()
        self._gone = [when for when in self._gone if now - when < self.quota_lag]
        living = sum(pod.phase not in ("Failed", "Succeeded") for pod in self._judge.pods())
        return "quota" if living + len(self._gone) >= self.quota else ""

    def hear(self, change: Event) -> None:
        """Remember when pods went, for the quota hears of it late."""
        if change.type == "DELETED":
            self._gone.append(self._time.cluster())

    def lose_webhook(self) -> str:
        seconds = self._chance.choice((5.0, 12.0, 60.0, 200.0))
        self.webhook_away = self._time.cluster() + seconds
        self.webhook_of = self._chance.choice(("both", "creations", "dry runs"))
        return f"the webhook is away for {seconds} s, for {self.webhook_of}"

    def switch_mirror(self) -> str:
        self.mirrors = not self.mirrors
        return f"images {'come' if self.mirrors else 'no longer come'} from a mirror"

    def admit(self, call: Call) -> Request:
        """Return a request as admission has it."""
        if call.verb not in ("create", "patch") or not (self.mirrors or self.takes_away):
            return call.request
        body = json.loads(call.request.body)
        for container in body["spec"]["containers"] if self.mirrors and call.verb == "create" else ():
            container["image"] = MIRROR + container["image"].removeprefix(MIRROR)
        for marks in ("labels", "annotations"):
            (body["metadata"].get(marks) or {}).pop(self.takes_away, "")
        return replace(call.request, body=json.dumps(body).encode())

    def change_policy(self) -> str:
        self.takes_away = self._judge.takes_away = "" if self.takes_away else self._chance.choice(MARKS)
        return f"a policy takes away {self.takes_away or 'nothing any more'}"

    def step_database_clock(self) -> str:
        step = self._chance.choice((-3600.0, -90.0, -5.0, 5.0, 90.0, 3600.0, 86400.0, -86400.0))
        self._time.database_skew += step
        return f"the database's clock went {step:+} s"

    def compact(self) -> str:
        self._store.expire()
        return "compacted: continue tokens have expired"

    def skew(self) -> str:
        self._time.skew = self._chance.choice((0.0, -7200.0, 7200.0, 86400.0, -3.0))
        return f"the clock of the passes is {self._time.skew:+} s off"

    def image_fates(self) -> None:
        """Pods with the broken image do not start; pods that got a good one do."""
        for pod in self._judge.pods():
            content = pod.content
            image = content["spec"]["containers"][0]["image"].removeprefix(MIRROR)
            fate = content["metadata"].get("annotations", {}).get(ANNOTATION)
            if image == BROKEN_IMAGE and fate is None:
                self._annotate(pod, {ANNOTATION: "ImagePullBackOff"})
            elif image != BROKEN_IMAGE and fate == "ImagePullBackOff":
                self._annotate(pod, {ANNOTATION: None})

    def calm_down(self) -> None:
        """Everything that only a person or a machine can mend is mended; the rows stay as they are."""
        self._kubelet.stop_delay = self._kubelet.start_delay = 0.5
        self._kubelet.resize_answer = ""
        self._store.supports_resize = True
        self.quota, self.webhook_away, self.go_service_runs = None, 0.0, False
        self.takes_away = self._judge.takes_away = ""
        self._sql("UPDATE fleet SET fleet_name = 'default'")
        self._end_suspensions("true")
        if self._chance.random() < 0.5:
            self.put_ids_back()
        rows = read_rows(self._database)
        names = {one for wanted in rows.wanted.values() for one in go_service_names(wanted.name)}
        for pod in self._judge.pods():
            ours, who = self._judge.ours(pod.labels), self._judge.identity(rows, pod)
            in_the_way = pod.name in names and (not ours or who.key in rows.invalid)
            # Of the Go service, or without the label of a fleet that it had: the passes leave it to a person.
            foreign = FLEET not in pod.labels and (rows.named(pod.name) or pod.labels.get(MANAGED_BY) == "syncctl")
            # Nobody knows how such a pod was made, so it is kept for a person to look at.
            unreadable = environment(pod.content).get(SPEC) == NO_HASH
            if in_the_way or foreign or unreadable or (ours and who.key is None) or pod.terminating:
                self._patch(pod, {"metadata": {"finalizers": None}})
                if self._store.find(PODS, NAMESPACE, pod.name):
                    self._store.delete(PODS, NAMESPACE, pod.name, DeleteOptions(0))
            elif ours:
                self._patch(pod, {"metadata": {"finalizers": None, "annotations": {ANNOTATION: None}}})
        self._sql("UPDATE clients SET image = :good WHERE image = :broken", good=GOOD_IMAGES[0], broken=BROKEN_IMAGE)

    BETWEEN_PASSES: tuple[tuple[int, Callable[["World"], str]], ...] = (
        (6, add_client), (8, update_client), (2, release_image), (8, flip_flags), (1, close_the_day),
        (1, open_the_day), (6, restart), (1, restart_all), (3, delete_client), (3, lose_client), (1, lose_many),
        (1, lose_all), (4, restore_rows), (3, spoil_client), (2, mend_clients), (1, lose_status), (2, renumber),
        (2, move_ids), (2, put_ids_back), (3, back_up), (2, restore_backup),
        (3, change_template), (1, forget_settings), (6, set_settings),
        (10, play_fate), (1, lose_node), (5, delete_pod), (2, hold_by_finalizer),
        (4, label_pod), (2, label_pods), (2, move_buckets), (2, annotate_pod), (2, annotate_pods), (2, edit_image),
        (2, copy_pod), (2, make_pod_by_hand), (1, remake_as_before),
        (4, start_go_service), (2, start_go_service_for_all), (1, start_go_service_for_good), (1, stop_go_service),
        (3, take_name), (4, change_kubelet), (3, change_quota), (2, lose_webhook), (1, compact),
        (2, switch_mirror), (2, change_policy),
        (2, skew), (2, step_database_clock), (8, suspend), (3, resume), (2, stop_clients),
    )  # fmt: skip
    """With weights."""
    DURING_A_PASS: tuple[Callable[["World"], str], ...] = (
        add_client, update_client, flip_flags, restart, delete_client, lose_client, lose_many, spoil_client, renumber,
        change_template, play_fate, play_fate, delete_pod, delete_pod, lose_node, take_name, change_kubelet, compact,
        skew, change_quota, lose_webhook, lose_webhook, suspend, resume, stop_clients,
    )  # fmt: skip
    """What changes nobody's identity behind the back of a pass that has just looked."""

    def _many(self) -> list[Record]:
        """All pods, or a part of them."""
        share = self._chance.choice((1.0, 1.0, 0.5))
        pods = [pod for pod in self._judge.pods() if self._chance.random() <= share]
        if not pods:
            raise NothingThere
        return pods

    def _client(self) -> int:
        found = sorted(read_rows(self._database).clients)
        if not found:
            self.add_client()
            found = sorted(read_rows(self._database).clients)
        return self._chance.choice(found)

    def _pod(self) -> Record:
        pods = self._judge.pods()
        if not pods:
            raise NothingThere
        return self._chance.choice(pods)

    def _parts(self) -> tuple[str, str, str]:
        images = (*GOOD_IMAGES, *GOOD_IMAGES, BROKEN_IMAGE)
        return self._chance.choice(images), self._chance.choice(GOOD_CPU), self._chance.choice(GOOD_MEMORY)

    def _bury(self, which: str, **values: Any) -> None:
        self._buried += self._rows_of(which, **values)
        self._sql(f"DELETE FROM clients AS c WHERE {which}", **values)

    def _rows_of(self, which: str, **values: Any) -> list[dict[str, Any]]:
        return self._sql(
            "SELECT c.*, a.id AS status, vwap, twap, hft FROM clients c LEFT JOIN algorithm_status a"
            f" ON a.client_id = c.id WHERE {which}",
            **values,
        )

    def _sql(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        with writing(self._engine) as connection:
            result = connection.execute(text(statement), values)
            return [dict(row._mapping) for row in result] if result.returns_rows else []

    def _annotate(self, pod: Record, annotations: dict[str, str | None]) -> None:
        self._patch(pod, {"metadata": {"annotations": annotations}})

    def _patch(self, pod: Record, patch: dict[str, Any]) -> None:
        if self._store.find(PODS, NAMESPACE, pod.name):
            self._store.patch(PODS, NAMESPACE, pod.name, msgspec.json.encode(patch), MERGE)


class NothingThere(Exception):
    """There is no pod to which something could happen."""
