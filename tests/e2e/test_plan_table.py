"""Every row of the planner's table, seen to happen in a real pass.

The rows are read from the docstring of core/plan.py: one that is added there without a scenario here is an error.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import pytest
from kit.clusters import IMAGE, NEWER_IMAGE, Json, a_go_pod, a_pod

from syncctl.core import names, plan
from syncctl.core.report import Result
from syncctl.core.shard import Shard
from syncctl.core.steps import Cause, StepKind

from .desk import Desk, outcome_of, pod_of, vwap


class Row(NamedTuple):
    desired: str
    observed: str
    step: str
    cause: str

    def __str__(self) -> str:
        return f"{self.desired}, {self.observed}"


def rows() -> list[Row]:
    lines = [line.split("|") for line in (plan.__doc__ or "").splitlines() if line.count("|") == 3]
    return [Row(*(cell.strip() for cell in line)) for line in lines[1:]]


Scenario = Callable[[Desk], tuple[str, dict[str, object]]]
SCENARIOS: dict[str, Scenario] = {}
"""Each brings about its row, and returns the pod that it is about and the options of the pass."""

RESULTS = {
    StepKind.CREATE: Result.CREATED,
    StepKind.REPLACE: Result.REPLACED,
    StepKind.UPDATE: Result.UPDATED,
    StepKind.DELETE: Result.DELETED,
    StepKind.WAIT: Result.WAITING,
    StepKind.CONFLICT: Result.CONFLICT,
    StepKind.KEEP: Result.UNCHANGED,
}


def without_environment(manifest: Json) -> Json:
    del manifest["spec"]["containers"][0]["env"]
    return manifest


def brings_about(row: str) -> Callable[[Scenario], Scenario]:
    def register(scenario: Scenario) -> Scenario:
        SCENARIOS[row] = scenario
        return scenario

    return register


@pytest.mark.parametrize("row", rows(), ids=str)
def test_a_pass_does_what_the_table_says(desk: Desk, row: Row) -> None:
    pod, options = SCENARIOS[str(row)](desk)
    outcome = outcome_of(desk.run(**options), pod, row.step)
    assert (outcome.step.kind, outcome.step.cause) == (row.step, row.cause)
    kept_stopped = outcome.step.cause is Cause.STOPPED and outcome.step.observed is None
    assert outcome.result is (Result.SUSPENDED if kept_stopped else RESULTS[outcome.step.kind]), outcome.detail


def test_every_scenario_is_of_a_row_and_every_cause_has_one() -> None:
    assert SCENARIOS.keys() == {str(row) for row in rows()}
    assert {row.cause for row in rows()} == set(Cause)
    assert {row.step for row in rows()} == set(StepKind)


@brings_about("yes, none")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    return vwap(desk.add()), {}


@brings_about("yes, none, and its replacement was begun")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    desk.template("spec: {terminationGracePeriodSeconds: 1}")
    pod = vwap(desk.add())
    desk.started()
    desk.hold(pod)
    desk.restart()
    assert outcome_of(desk.run(), pod).result is Result.WAITING
    desk.let_go(pod)
    return pod, {}


@brings_about("yes, none, and another pod may be it")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.api.create_pod(a_pod(pod))
    return pod, {}


@brings_about("yes, none, and a pod of which little is known")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    client = desk.add()
    desk.api.create_pod(without_environment(a_pod("by-hand", fleet=desk.fleet, client_id=client.id)))
    return vwap(client), {}


@brings_about("yes, terminating")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.hold(pod)
    desk.remove(pod)
    return pod, {}


@brings_about("any, terminating, long past its grace")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod, _ = SCENARIOS["yes, terminating"](desk)
    desk.later = timedelta(minutes=10)
    return pod, {}


@brings_about("yes, Failed, Succeeded, Evicted, node lost")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.cluster.set_status(pod, phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    return pod, {}


@brings_about("yes, same hash, same live image and resources")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    return pod, {}


@brings_about("yes, only labels or annotations differ")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.change(name="acme & sons")
    return pod, {}


@brings_about("yes, only the live image differs")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.change(image=NEWER_IMAGE)
    return pod, {}


@brings_about("yes, the same, and admission rewrites it")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    annotate(desk, pod, f"mirror/{IMAGE} 20m 32Mi -> {IMAGE} 20m 32Mi 20m 32Mi")
    desk.change(image=NEWER_IMAGE)
    return pod, {}


@brings_about("yes, the same, and admission rewrites them")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    annotate(desk, pod, f"{IMAGE} 1 32Mi -> {IMAGE} 20m 32Mi 20m 32Mi")
    desk.change(cpu="30m")
    return pod, {}


def annotate(desk: Desk, pod: str, note: str) -> None:
    """Let a pod have a note that admission has rewritten it."""
    desk.api.patch_pod(pod, desk.uid(pod), {"metadata": {"annotations": {names.ADMITTED: note}}})


@brings_about("yes, only the live resources differ")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.change(cpu="30m")
    return pod, {}


@brings_about("yes, the node refuses other resources")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod, _ = SCENARIOS["yes, only the live resources differ"](desk)
    assert outcome_of(desk.run(), pod).result is Result.UPDATED
    desk.refuse_resize(pod)
    return pod, {}


@brings_about("yes, the node has not yet given them")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod, _ = SCENARIOS["yes, only the live resources differ"](desk)
    assert outcome_of(desk.run(), pod).result is Result.UPDATED
    desk.refuse_resize(pod, "Deferred")
    return pod, {}


@brings_about("yes, another restart generation")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.restart()
    return pod, {}


@brings_about("yes, more of the spec differs")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.template("spec: {terminationGracePeriodSeconds: 7}")
    return pod, {}


@brings_about("yes, under another name")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    client = desk.add()
    desk.api.create_pod(a_pod("vwap-by-hand", fleet=desk.fleet, client_id=client.id))
    return "vwap-by-hand", {"allow_pods": frozenset({"vwap-by-hand"})}


@brings_about("yes, a pod of the Go service, with --adopt")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    seed = vwap(desk.add()).replace("vwap", "vmap")
    desk.api.create_pod(a_go_pod(seed))
    return seed, {"adopt": True}


@brings_about("yes, SYNCCTL_SPEC is there and cannot be read")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    client = desk.add()
    manifest = a_pod(vwap(client), fleet=desk.fleet, client_id=client.id)
    manifest["spec"]["containers"][0]["env"].append({"name": names.SPEC_VARIABLE, "value": "as it was"})
    desk.api.create_pod(manifest)
    return vwap(client), {}


@brings_about("any, beside one of a Go service that is at work")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.sql("UPDATE fleet SET go_service = true")
    seed = pod.replace("vwap", "vmap")
    desk.api.create_pod(a_go_pod(seed))
    return seed, {}


@brings_about("any, made by syncctl, without a fleet's label")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.api.patch_pod(pod, desk.uid(pod), {"metadata": {"labels": {names.FLEET: None}}})
    desk.switch(vwap=False)
    desk.add("globex")
    return pod, {}


@brings_about("any, name and environment say another key each")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    client, other = desk.add(enabled=""), desk.add("globex")
    desk.api.create_pod(a_pod(vwap(client), fleet=desk.fleet, client_id=other.id))
    return vwap(client), {}


@brings_about("any, the same, and it has ended")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod, _ = SCENARIOS["any, name and environment say another key each"](desk)
    desk.until_running()
    desk.cluster.set_status(pod, phase="Failed")
    return pod, {}


@brings_about("any, in the care of another shard")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    client = desk.add()
    desk.started()
    pod, shard = vwap(client), Shard((client.id + 1) % 2, 2)
    desk.api.patch_pod(pod, desk.uid(pod), {"metadata": {"labels": {names.BUCKET: str(shard.index)}}})
    return pod, {"shard": shard}


@brings_about("yes, to be replaced, beside another that may be it")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.api.create_pod(a_pod(pod.replace("vwap", "vmap")))
    desk.restart()
    return pod, {}


@brings_about("yes, a second pod of the same key")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    client = desk.add()
    desk.started()
    desk.api.create_pod(a_pod("vwap-once-more", fleet=desk.fleet, client_id=client.id))
    return "vwap-once-more", {"allow_pods": frozenset({"vwap-once-more"})}


@brings_about("yes, there, and a suspension stops it")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.suspend(stops=True)
    return pod, {}


@brings_about("yes, the same, and none")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.suspend(stops=True)
    return pod, {}


@brings_about("no, running or finished")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.switch(vwap=False)
    return pod, {}


@brings_about("no, terminating")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod, _ = SCENARIOS["yes, terminating"](desk)
    desk.switch(vwap=False)
    return pod, {}


@brings_about("deleted, running, and there is a tombstone")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.delete()
    return pod, {}


@brings_about("gone, running, and there is no tombstone")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    client = desk.add()
    desk.add("globex", enabled="vwap twap hft")
    desk.started()
    desk.sql("DELETE FROM clients WHERE id = :id", id=client.id)
    return vwap(client), {}


@brings_about("invalid, running")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    pod = vwap(desk.add())
    desk.started()
    desk.sql("UPDATE clients SET image = 'UPPER case'")
    return pod, {}


@brings_about("invalid, none")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    client = desk.add(enabled="hft")
    desk.sql("UPDATE clients SET memory = '64mi'")
    return pod_of(client, "hft"), {}


@brings_about("any, neither name nor environment says a key")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    desk.api.create_pod(without_environment(a_pod("stray", fleet=desk.fleet)))
    return "stray", {}


@brings_about("yes, none, and a former client's pod is there")
def _(desk: Desk) -> tuple[str, dict[str, object]]:
    desk.add("acme")
    desk.started()
    desk.delete("acme")
    return vwap(desk.add("acme")), {}
