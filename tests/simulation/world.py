"""What happens to rows and pods while nobody looks: people, nodes, other programs; by one source of chance."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, text

from syncctl.core.errors import ClientExists
from syncctl.core.model import Algorithm, ClientChanges, NewClient
from syncctl.db.engine import writing
from syncctl.operations import algorithms, clients
from syncctl.sandbox import ANNOTATION, PODS, ApiError, DeleteOptions, Kubelet, Record, Store

from .driven import NAMESPACE, DrivenTime
from .judge import Judge
from .rows import (
    ALGORITHM,
    BAD_CPU,
    BAD_IMAGES,
    BAD_MEMORY,
    BROKEN_IMAGE,
    CLIENT_ID,
    FLEET,
    GOOD_CPU,
    GOOD_IMAGES,
    GOOD_MEMORY,
    go_service_names,
    key_of,
    read_rows,
)

MERGE = "application/merge-patch+json"
FATES = (
    "Failed", "Failed", "Succeeded", "Evicted", "DeadlineExceeded", "NodeLost", "CrashLoopBackOff", "ImagePullBackOff",
    "NotReady", "Stuck",
)  # fmt: skip
TEMPLATE = """\
apiVersion: v1
kind: Pod
metadata: {{labels: {{desk: "{label}"}}}}
spec:
  terminationGracePeriodSeconds: {grace}
  containers: [{{name: algorithm, env: [{{name: TEMPLATE, value: "{revision}"}}]}}]
"""


class World:
    """Everything around the passes. `generations` counts the restarts that people have asked for, by client."""

    def __init__(
        self, chance: random.Random, engine: Engine, store: Store, kubelet: Kubelet, judge: Judge, time: DrivenTime,
        folder: Path,
    ) -> None:  # fmt: skip
        self._chance = chance
        self._engine = engine
        self._store = store
        self._kubelet = kubelet
        self._judge = judge
        self._time = time
        self._database = str(engine.url.database)
        self.template_file = folder / "template.yaml"
        self.template = ""
        self.generations: dict[int, int] = {}
        self._names = 0
        self._buried: list[dict[str, Any]] = []
        self.change_template()

    # Rows

    def add_client(self) -> str:
        self._names += 1
        flags = frozenset(one for one in Algorithm if self._chance.random() < 0.6)
        new = NewClient(f"client {self._names}", *self._parts(), priority=float(self._chance.randint(-3, 3)),
                        algorithms=flags)  # fmt: skip
        client = clients.add_client(self._engine, new)
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
                if row["status"] is not None:
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

    def change_template(self) -> str:
        if self._chance.random() < 0.6 or not self.template:
            self.template = str(self._chance.randint(1, 4))
        grace, label = 5 * (1 + int(self.template) % 3), self._chance.choice("ab")
        self.template_file.write_text(TEMPLATE.format(revision=self.template, grace=grace, label=label))
        return f"wrote template {self.template}{label}"

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

    def drop_fleet_label(self) -> str:
        pod = self._pod()
        self._patch(pod, {"metadata": {"labels": {FLEET: None}}})
        self._judge.hand_edited.add(pod.uid)
        return f"{pod.name} lost its fleet label"

    def mislabel(self) -> str:
        pod = self._pod()
        labels = self._chance.choice(
            [{CLIENT_ID: str(self._chance.randint(1, 12))}, {ALGORITHM: self._chance.choice(("vwap", "twap", "hft"))},
             {ALGORITHM: "martingale"}, {CLIENT_ID: "007"}, {"app.kubernetes.io/managed-by": "somebody"}, {"desk": "x"}]
        )  # fmt: skip
        self._patch(pod, {"metadata": {"labels": labels}})
        self._judge.hand_edited.add(pod.uid)
        return f"{pod.name} was labelled {labels}"

    def annotate_by_hand(self) -> str:
        pod = self._pod()
        key = self._chance.choice(("syncctl.io/spec-hash", "syncctl.io/restart-generation", "syncctl.io/client-name"))
        self._annotate(pod, {key: self._chance.choice((None, "by hand"))})
        self._judge.hand_edited.add(pod.uid)
        return f"{key} of {pod.name} was changed by hand"

    def edit_image(self) -> str:
        """`kubectl set image`."""
        pod = self._pod()
        if "algorithm" in [one["name"] for one in pod.content["spec"]["containers"]]:
            image = {"containers": [{"name": "algorithm", "image": "by/hand:1"}]}
            body = msgspec.json.encode({"spec": image})
            self._store.patch(PODS, NAMESPACE, pod.name, body, "application/strategic-merge-patch+json")
        return f"{pod.name} got another image by hand"

    def start_go_service(self) -> str:
        """The Go service makes a pod for a row, if the name is free."""
        rows = read_rows(self._database)
        names = [f"{word}-{status}" for status in rows.known.values() for word in ("vmap", "vwap", "twap", "hft")]
        if not names:
            return "no row for the Go service"
        return self._foreign(self._chance.choice(names), {}, self._chance.random() < 0.1)

    def start_go_service_for_all(self) -> str:
        """The Go service has been running all the while, and has made pods by either spelling."""
        made = [
            self._foreign(f"{word}-{status}", {}, controlled=False)
            for status in read_rows(self._database).known.values()
            for word in ("vmap", "vwap", "twap")
            if self._chance.random() < 0.6
        ]
        return f"the Go service was started: {len(made)} pods"

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
        try:
            self._store.create(PODS, NAMESPACE, body)
        except ApiError:
            return f"the quota let nobody make {name}"
        return f"somebody made {name} with {labels}"

    # The cluster

    def change_kubelet(self) -> str:
        self._kubelet.stop_delay = self._chance.choice((0.2, 0.5, 3.0, 14.0, 60.0))
        self._kubelet.start_delay = self._chance.choice((0.2, 2.0, 40.0))
        self._kubelet.resize_answer = self._chance.choice(("", "", "", "Infeasible", "Deferred", "InProgress", "Error"))
        self._store.supports_resize = self._chance.random() < 0.8
        return f"the kubelet stops pods in {self._kubelet.stop_delay} s"

    def change_quota(self) -> str:
        quota = self._chance.choice((None, None, 5, 12))
        self._store.set_quota(NAMESPACE, quota)
        return f"the quota is {quota}"

    def compact(self) -> str:
        self._store.expire()
        return "compacted: continue tokens have expired"

    def skew(self) -> str:
        self._time.skew = self._chance.choice((0.0, -7200.0, 7200.0, 86400.0, -3.0))
        return f"the clock of the passes is {self._time.skew:+} s off"

    def skew_database(self) -> str:
        self._time.database_skew = self._chance.choice((0.0, -3600.0, 3600.0, 86400.0))
        return f"the database's clock is {self._time.database_skew:+} s off"

    def image_fates(self) -> None:
        """Pods with the broken image do not start; pods that got a good one do."""
        for pod in self._judge.pods():
            content = pod.content
            image = content["spec"]["containers"][0]["image"]
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
        self._store.set_quota(NAMESPACE, None)
        rows = read_rows(self._database)
        names = {one for wanted in rows.wanted.values() for one in go_service_names(wanted.name)}
        for pod in self._judge.pods():
            ours, key = self._judge.ours(pod.labels), key_of(pod.labels)
            in_the_way = pod.name in names and (not ours or key in rows.invalid)
            if in_the_way or (ours and key is None) or pod.terminating:
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
        (3, change_template), (10, play_fate), (1, lose_node), (5, delete_pod), (2, hold_by_finalizer),
        (2, drop_fleet_label), (4, mislabel), (2, annotate_by_hand), (2, edit_image), (4, start_go_service),
        (2, start_go_service_for_all),
        (3, take_name), (4, change_kubelet), (2, change_quota), (1, compact), (2, skew),
        (2, skew_database),
    )  # fmt: skip
    """With weights."""
    DURING_A_PASS: tuple[Callable[["World"], str], ...] = (
        add_client, update_client, flip_flags, restart, delete_client, lose_client, lose_many, spoil_client, renumber,
        change_template, play_fate, play_fate, delete_pod, delete_pod, lose_node, take_name, change_kubelet, compact,
        skew,
    )  # fmt: skip
    """What changes nobody's identity behind the back of a pass that has just looked."""

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
        rows = self._sql(
            "SELECT c.*, a.id AS status, vwap, twap, hft FROM clients c LEFT JOIN algorithm_status a"
            f" ON a.client_id = c.id WHERE {which}",
            **values,
        )
        self._buried += rows
        self._sql(f"DELETE FROM clients AS c WHERE {which}", **values)

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
