"""The digest of a saved plan: it changes with what the plan was made from, and with nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from syncctl.core import names
from syncctl.core.manifest import Blueprint, pod_manifest
from syncctl.core.model import Client, ContainerState, ObservedPod, Resources
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.saved import plan_digest
from syncctl.core.steps import Hold, HoldKind
from syncctl.core.template import make_template

from .builders import BLUEPRINT, FLEET, NOW, a_client, as_observed, desired_by, others, pod_of

Rows = list[Client]
Pods = list[ObservedPod]
LEAVING = "2026-03-02T14:30:30Z"
OFF = a_client(1, enabled="").algorithms


CLUSTER = "namespace trading of https://10.0.0.1:6443"


def digest(rows: Rows, pods: Pods, blueprint: Blueprint = BLUEPRINT, **fields: Any) -> str:
    """Return the digest of the plan of these rows and pods."""
    beside = others(*fields.get("others", ()))
    return plan_digest(make_plan(desired_by(*rows, blueprint=blueprint), pods, fields.get("now", NOW), beside), CLUSTER)


def a_fleet() -> tuple[Rows, Pods]:
    """Return a fleet that needs something of each kind, in client order.

    1 keep, 2 create, 3 restart, 4 image, 5 rename, 6 terminating, 7 switched off, 8 orphan, 9 failed.
    """
    rows = [a_client(number) for number in range(1, 10)]
    pods = [pod_of(row) for row in rows if row.id != 2]
    rows[2] = replace(rows[2], restart_generation=3)
    rows[3] = replace(rows[3], image="desk/vwap:2")
    rows[4] = replace(rows[4], name="other")
    pods[4] = replace(pods[4], deleted_at=LEAVING)
    rows[6] = replace(rows[6], algorithms=replace(rows[6].algorithms or OFF, on=()))  # type: ignore[type-var]
    pods[7] = replace(pods[7], phase="Failed")
    del rows[7]
    return rows, pods


def row(place: int, **fields: Any) -> Callable[[Rows, Pods], None]:
    """Return what changes a row."""

    def change(rows: Rows, _pods: Pods) -> None:
        rows[place] = replace(rows[place], **fields)

    return change


def pod(place: int, **fields: Any) -> Callable[[Rows, Pods], None]:
    """Return what changes a pod."""

    def change(_rows: Rows, pods: Pods) -> None:
        pods[place] = replace(pods[place], **fields)

    return change


def changed_by(change: Callable[[Rows, Pods], None]) -> bool:
    """Whether the digest is another one after the change."""
    rows, pods = a_fleet()
    before = digest(rows, pods)
    change(rows, pods)
    return digest(rows, pods) != before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rows, _pods: rows.append(a_client(20)), id="a client more"),
        pytest.param(lambda rows, _pods: rows.append(a_client(20, cpu="1,5")), id="an invalid client more"),
        pytest.param(lambda rows, _pods: rows.pop(0), id="a client less"),
        pytest.param(lambda rows, _pods: rows.pop(1), id="a client less that has no pod yet"),
        pytest.param(row(0, name="renamed"), id="a new name"),
        pytest.param(row(0, version=4), id="a new version"),
        pytest.param(row(0, image="desk/vwap:9"), id="another image"),
        pytest.param(row(1, image="desk/vwap:9"), id="another image of a pod to be created"),
        pytest.param(row(3, image="desk/vwap:3"), id="another image of a pod to be updated"),
        pytest.param(row(0, cpu="2"), id="other cpu"),
        pytest.param(row(1, memory="2Gi"), id="other memory of a pod to be created"),
        pytest.param(row(0, restart_generation=3), id="a restart"),
        pytest.param(row(2, restart_generation=4), id="a second restart"),
        pytest.param(row(1, algorithms=a_client(2, enabled="vwap hft").algorithms), id="an algorithm switched on"),
        pytest.param(row(0, algorithms=OFF), id="an algorithm switched off"),
        pytest.param(row(1, algorithms=a_client(2, status_id=777).algorithms), id="another status row: another name"),
        pytest.param(row(0, algorithms=None), id="a status row lost"),
        pytest.param(row(0, cpu="1,5"), id="a row becomes invalid"),
        pytest.param(lambda _rows, pods: pods.pop(0), id="a pod has vanished"),
        pytest.param(lambda _rows, pods: pods.pop(5), id="a pod that was to go has vanished"),
        pytest.param(lambda _rows, pods: pods.append(pod_of(a_client(2))), id="a pod has come"),
        pytest.param(lambda _rows, pods: pods.append(pod_of(a_client(30))), id="an orphan has come"),
        pytest.param(
            lambda _rows, pods: pods.append(replace(pod_of(a_client(1)), name="vwap-1-again", uid="u2")),
            id="a second pod of a key",
        ),
        *(pytest.param(pod(place, uid="another"), id=f"the pod at {place} is another one") for place in range(8)),
        pytest.param(pod(0, deleted_at=LEAVING), id="a kept pod was told to go"),
        pytest.param(pod(5, deleted_at=LEAVING), id="a pod to be deleted was told to go"),
        pytest.param(pod(4, deleted_at=None), id="a pod that goes is another that stays"),
        pytest.param(pod(0, phase="Failed"), id="a kept pod has failed"),
        pytest.param(pod(7, phase="Running"), id="a failed pod runs"),
        pytest.param(pod(0, image="desk/vwap:hotfix"), id="somebody has patched an image"),
        pytest.param(pod(3, image="desk/vwap:hotfix"), id="somebody has patched the image of a pod to be updated"),
        pytest.param(pod(0, resources=Resources("1", "1Gi", "2", "1Gi")), id="somebody has resized"),
        pytest.param(pod(0, labels={**pod_of(a_client(1)).labels, names.INSTANCE: "x"}), id="a label was changed"),
        pytest.param(pod(0, annotations={}), id="annotations were lost"),
        pytest.param(pod(0, labels={names.FLEET: FLEET}), id="a pod names no client any more"),
    ],
)
def test_the_digest_changes_with_every_row_and_pod_that_matters(change: Callable[[Rows, Pods], None]) -> None:
    assert changed_by(change)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _rows, _pods: None, id="nothing"),
        pytest.param(lambda rows, _pods: rows.reverse(), id="the order of the rows"),
        pytest.param(lambda _rows, pods: pods.reverse(), id="the order of the pods"),
        pytest.param(row(0, updated_at=NOW, spawned_at=NOW), id="a row's times"),
        pytest.param(row(0, cpu="1.5"), id="the same cpu in other words"),
        pytest.param(row(0, memory="1024Mi"), id="the same memory in other words"),
        pytest.param(lambda rows, _pods: rows.append(a_client(40, enabled="")), id="a client who runs nothing"),
        pytest.param(pod(0, phase="Pending"), id="a pod is starting"),
        pytest.param(pod(0, node="node-2", message="x"), id="a pod's status"),
        pytest.param(
            pod(0, containers=(ContainerState("algorithm", restarts=7, waiting="CrashLoopBackOff"),)),
            id="a container's restarts",
        ),
        pytest.param(pod(0, unready="NodeNotReady"), id="a pod's readiness"),
        pytest.param(pod(7, reason="Evicted"), id="why a pod has ended"),
    ],
)
def test_the_digest_changes_with_nothing_else(change: Callable[[Rows, Pods], None]) -> None:
    assert not changed_by(change)


def test_a_terminating_pod_that_becomes_stuck_by_waiting_alone_changes_nothing() -> None:
    rows, pods = a_fleet()
    later = NOW.replace(hour=23)
    assert digest(rows, pods, now=later) == digest(rows, pods)


def test_a_name_that_somebody_else_has_taken_changes_it() -> None:
    rows, pods = a_fleet()
    assert digest(rows, pods, others=("vwap-102",)) != digest(rows, pods)


@pytest.mark.parametrize(
    "blueprint",
    [
        Blueprint(BLUEPRINT.template, "8d5b6f2e-5c0a-4d5e-9a55-6f1c3a1f7b11", "desk"),
        Blueprint(BLUEPRINT.template, FLEET, "another desk"),
        Blueprint(make_template({"apiVersion": "v1", "kind": "Pod", "spec": {"dnsPolicy": "Default"}}), FLEET, "desk"),
        Blueprint(
            make_template({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"team": "x"}}}), FLEET, "desk"
        ),
        Blueprint(
            make_template({"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": {"team": "x"}}}),
            FLEET,
            "desk",
        ),
    ],
    ids=["fleet", "fleet's name", "template", "template's labels", "template's annotations"],
)
def test_what_new_pods_are_made_of_changes_it_even_when_there_is_nothing_to_do(blueprint: Blueprint) -> None:
    rows = [a_client(1)]
    (wanted,) = desired_by(*rows, blueprint=blueprint).pods.values()
    pods = [as_observed(pod_manifest(blueprint, wanted))]
    assert digest(rows, pods, blueprint) != digest(rows, [pod_of(rows[0])])
    assert digest([], [], blueprint) != digest([], [])


def test_what_is_held_changes_it_and_in_which_words_does_not() -> None:
    plan = make_plan(desired_by(a_client(1)), [], NOW, Others())
    holds = [Hold(HoldKind.DEFERRED, "a"), Hold(HoldKind.DEFERRED, "b"), Hold(HoldKind.REFUSED, "a")]
    free, a, b, refused = (
        plan_digest(plan, CLUSTER),
        *(plan_digest(plan.holding({"vwap-101": hold}), CLUSTER) for hold in holds),
    )
    assert a == b
    assert len({free, a, refused}) == 3


clients = st.lists(
    st.builds(
        a_client, st.integers(1, 4), image=st.sampled_from(["a/b:1", "a/b:2"]), restart_generation=st.integers(1, 2)
    ),
    unique_by=lambda client: client.id,
)


@given(clients, clients, st.randoms())
def test_the_order_in_which_things_are_read_never_matters(rows: Rows, running: Rows, random: Any) -> None:
    pods = [pod_of(one) for one in running]
    before = digest(rows, pods)
    random.shuffle(rows)
    random.shuffle(pods)
    assert digest(rows, pods) == before


def test_a_plan_is_for_one_cluster_and_namespace() -> None:
    plan = make_plan(desired_by(a_client(1)), (), NOW, Others())
    assert plan_digest(plan, CLUSTER) != plan_digest(plan, CLUSTER.replace("trading", "research"))
