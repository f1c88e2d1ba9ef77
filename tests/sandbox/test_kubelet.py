"""The toy kubelet: every fate a pod can have, driven by the clock."""

import json

import pytest

from syncctl.sandbox import ANNOTATION, PODS, DeleteOptions, Kubelet, Store
from syncctl.sandbox.http.printers import COLUMNS
from syncctl.sandbox.kubelet.podlife import CONDITIONS
from syncctl.sandbox.objects import Record

from .support import MERGE, Json, ManualClock, make, pod


def settle(kubelet: Kubelet, clock: ManualClock, seconds: float = 1.0) -> None:
    clock.advance(seconds)
    kubelet.tick()


def status(store: Store, name: str = "p1") -> Json:
    found: Json = store.get(PODS, "trading", name).json["status"]
    return found


def container(store: Store, name: str = "p1") -> Json:
    found: Json = status(store, name)["containerStatuses"][0]
    return found


def condition(store: Store, kind: str, name: str = "p1") -> Json:
    found: Json = next(one for one in status(store, name)["conditions"] if one["type"] == kind)
    return found


def annotate(store: Store, value: str | None, name: str = "p1") -> None:
    body = {"metadata": {"annotations": {ANNOTATION: value}}}
    store.patch(PODS, "trading", name, json.dumps(body).encode(), MERGE)


def row(record: Record, now: float) -> str:
    """Ready, Status and Restarts as kubectl shows them."""
    return " ".join(COLUMNS[PODS].cells(record.json, now)[1:4])


def test_a_pod_is_placed_at_once_and_runs_after_a_moment(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    make(store)
    kubelet.tick()
    placed = store.get(PODS, "trading", "p1")
    assert placed.node == "sandbox-1"
    assert row(placed, clock()) == "0/1 ContainerCreating 0"
    settle(kubelet, clock, 0.4)
    assert status(store)["phase"] == "Pending"
    settle(kubelet, clock, 0.1)
    assert row(store.get(PODS, "trading", "p1"), clock()) == "1/1 Running 0"


def test_a_running_pod_has_all_that_a_kubelet_writes(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    uid = make(store).uid
    settle(kubelet, clock)
    amounts = {"cpu": "500m", "memory": "64Mi"}
    started = "2026-11-24T22:00:01Z"
    one = container(store)
    assert one["containerID"].startswith("sandbox://")
    assert one["imageID"].startswith("nginx:1@sha256:")
    del one["containerID"], one["imageID"]
    assert one == {
        "name": "c",
        "state": {"running": {"startedAt": started}},
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": "nginx:1",
        "started": True,
        "allocatedResources": amounts,
        "resources": {"limits": amounts, "requests": amounts},
    }
    found = status(store)
    true = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
    assert [(each["type"], each["status"]) for each in found["conditions"]] == [(kind, "True") for kind in true]
    assert found["phase"] == "Running"
    assert found["qosClass"] == "Guaranteed"
    assert found["startTime"] == started
    assert found["podIPs"] == [{"ip": found["podIP"]}]
    assert store.get(PODS, "trading", "p1").uid == uid


def test_without_a_delay_one_tick_is_enough(store: Store, clock: ManualClock) -> None:
    kubelet = Kubelet(store, start_delay=0, stop_delay=0)
    make(store)
    kubelet.tick()
    assert status(store)["phase"] == "Running"
    store.delete(PODS, "trading", "p1")
    kubelet.tick()
    assert store.find(PODS, "trading", "p1") is None


def test_init_containers_have_ended_when_a_pod_runs(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    body = pod()
    body["spec"]["initContainers"] = [{"name": "init", "image": "busybox:1"}]
    store.create(PODS, "trading", body)
    settle(kubelet, clock)
    (initial,) = status(store)["initContainerStatuses"]
    assert initial["state"]["terminated"]["reason"] == "Completed"


FATES = {
    "Running": ("Running", "1/1 Running 0"),
    "Stuck": ("Running", "1/1 Running 0"),
    "Pending": ("Pending", "0/1 Pending 0"),
    "NotReady": ("Running", "0/1 Running 0"),
    "ImagePullBackOff": ("Pending", "0/1 ImagePullBackOff 0"),
    "CrashLoopBackOff": ("Running", "0/1 CrashLoopBackOff 1 (0s ago)"),
    "OOMKilled": ("Running", "0/1 OOMKilled 1 (0s ago)"),
    "Failed": ("Failed", "0/1 Error 0"),
    "Succeeded": ("Succeeded", "0/1 Completed 0"),
    "Evicted": ("Failed", "0/1 Evicted 0"),
    "DeadlineExceeded": ("Failed", "0/1 DeadlineExceeded 0"),
    "NodeLost": ("Unknown", "1/1 NodeLost 0"),
    "No such fate": ("Running", "1/1 Running 0"),
}


def test_every_fate_is_tested() -> None:
    assert FATES.keys() - {"No such fate"} == CONDITIONS.keys()


@pytest.mark.parametrize("fate", FATES)
def test_an_annotation_decides_a_pod_s_fate(store: Store, kubelet: Kubelet, clock: ManualClock, fate: str) -> None:
    make(store, condition=fate)
    settle(kubelet, clock)
    record = store.get(PODS, "trading", "p1")
    assert (record.phase, row(record, clock())) == FATES[fate]


@pytest.mark.parametrize("fate", FATES)
def test_a_quiet_pod_costs_nothing(store: Store, kubelet: Kubelet, clock: ManualClock, fate: str) -> None:
    make(store, condition=fate)
    settle(kubelet, clock)
    kubelet.tick()
    version = store.version
    assert kubelet.tick() == 0
    settle(kubelet, clock, 5)
    assert store.version == version


@pytest.mark.parametrize("fate", sorted(CONDITIONS.keys() - {"Pending"}))
def test_a_running_pod_can_be_given_a_fate(store: Store, kubelet: Kubelet, clock: ManualClock, fate: str) -> None:
    make(store)
    settle(kubelet, clock)
    annotate(store, fate)
    settle(kubelet, clock)
    shown = row(store.get(PODS, "trading", "p1"), clock())
    expected = FATES[fate][1]
    assert shown.split()[:2] == expected.split()[:2]


def test_an_unschedulable_pod_says_why_and_is_placed_when_it_may(
    store: Store, kubelet: Kubelet, clock: ManualClock
) -> None:
    make(store, condition="Pending")
    settle(kubelet, clock)
    assert store.get(PODS, "trading", "p1").node == ""
    scheduled = condition(store, "PodScheduled")
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    assert scheduled["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")
    annotate(store, None)
    kubelet.tick()
    settle(kubelet, clock, 0.5)
    assert status(store)["phase"] == "Running"


def test_a_crashing_container_restarts_with_growing_pauses(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    make(store, condition="CrashLoopBackOff")
    settle(kubelet, clock)
    restarts = [container(store)["restartCount"]]
    for seconds in (9, 1, 19, 1, 40, 80, 160, 299, 1, 300):
        settle(kubelet, clock, seconds)
        restarts.append(container(store)["restartCount"])
    assert restarts == [1, 1, 2, 2, 3, 4, 5, 6, 6, 7, 8]
    one = container(store)
    assert one["lastState"]["terminated"]["exitCode"] == 1
    uid = store.get(PODS, "trading", "p1").uid
    message = f"back-off 5m0s restarting failed container=c pod=p1_trading({uid})"
    assert one["state"]["waiting"] == {"reason": "CrashLoopBackOff", "message": message}


def test_a_healed_container_runs_and_keeps_its_count(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    make(store, condition="CrashLoopBackOff")
    settle(kubelet, clock)
    annotate(store, None)
    kubelet.tick()
    assert row(store.get(PODS, "trading", "p1"), clock()) == "1/1 Running 2 (0s ago)"
    assert container(store)["lastState"]["terminated"]["reason"] == "Error"


def test_out_of_memory_ends_a_pod_that_never_restarts(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    body = pod(condition="OOMKilled")
    body["spec"]["restartPolicy"] = "Never"
    store.create(PODS, "trading", body)
    settle(kubelet, clock)
    assert status(store)["phase"] == "Failed"
    ended = container(store)["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_an_evicted_pod_carries_the_kubelet_s_message(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    make(store, condition="Evicted")
    settle(kubelet, clock)
    message = (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. Container c was using "
        "210Mi, request is 64Mi, has larger consumption of memory. "
    )
    assert (status(store)["reason"], status(store)["message"]) == ("Evicted", message)
    assert condition(store, "DisruptionTarget")["reason"] == "TerminationByKubelet"


def test_what_has_ended_stays_ended(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    make(store, condition="Failed")
    settle(kubelet, clock)
    annotate(store, "Running")
    settle(kubelet, clock)
    assert status(store)["phase"] == "Failed"


@pytest.mark.parametrize("fate", ["Stuck", "NodeLost"])
def test_a_stuck_pod_is_never_confirmed_but_can_be_forced(
    store: Store, kubelet: Kubelet, clock: ManualClock, fate: str
) -> None:
    make(store, condition=fate)
    settle(kubelet, clock)
    store.delete(PODS, "trading", "p1")
    settle(kubelet, clock, 3600)
    shown = row(store.get(PODS, "trading", "p1"), clock())
    assert shown == {"Stuck": "1/1 Terminating 0", "NodeLost": "1/1 Unknown 0"}[fate]
    store.delete(PODS, "trading", "p1", DeleteOptions(0))
    assert store.find(PODS, "trading", "p1") is None


def test_a_stuck_pod_goes_when_it_is_let_go(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    make(store, condition="Stuck")
    settle(kubelet, clock)
    store.delete(PODS, "trading", "p1")
    settle(kubelet, clock, 60)
    annotate(store, None)
    kubelet.tick()
    assert store.find(PODS, "trading", "p1") is None


def test_an_ending_pod_shows_how_it_ended_before_it_goes(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    make(store)
    settle(kubelet, clock)
    start = store.version
    store.delete(PODS, "trading", "p1")
    kubelet.tick()
    settle(kubelet, clock, 0.5)
    events = store.watch(PODS, "trading", resource_version=str(start)).poll()
    assert [(kind, record.phase) for kind, record in events] == [
        ("MODIFIED", "Running"),
        ("MODIFIED", "Succeeded"),
        ("MODIFIED", "Succeeded"),
        ("DELETED", "Succeeded"),
    ]
    graces = [record.json["metadata"]["deletionGracePeriodSeconds"] for _, record in events]
    assert graces == [30, 30, 0, 0]


def test_a_new_image_restarts_the_container_in_place(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    uid = make(store).uid
    settle(kubelet, clock)
    before = container(store)
    store.patch(PODS, "trading", "p1", b'{"spec":{"containers":[{"name":"c","image":"nginx:2"}]}}')
    settle(kubelet, clock, 60)
    after = container(store)
    assert (after["image"], after["restartCount"], after["ready"]) == ("nginx:2", 1, True)
    assert after["imageID"] != before["imageID"]
    assert after["containerID"] != before["containerID"]
    ended = after["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"], ended["containerID"]) == ("Completed", 0, before["containerID"])
    assert store.get(PODS, "trading", "p1").uid == uid
    assert status(store)["observedGeneration"] == 2


def test_a_condition_s_time_is_when_it_last_changed(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    make(store)
    settle(kubelet, clock)
    since = condition(store, "Ready")["lastTransitionTime"]
    annotate(store, "NotReady")
    settle(kubelet, clock, 60)
    assert condition(store, "Ready")["lastTransitionTime"] == "2026-11-24T22:01:01Z"
    assert condition(store, "PodScheduled")["lastTransitionTime"] == since


def test_a_kubelet_that_comes_later_takes_over_what_is_there(store: Store, clock: ManualClock) -> None:
    make(store)
    make(store, "p2")
    late = Kubelet(store)
    late.tick()
    clock.advance(0.5)
    late.tick()
    assert {record.phase for record in store.list(PODS, "trading").records} == {"Running"}


def test_an_own_thread_ticks_by_real_time() -> None:
    store = Store()
    kubelet = Kubelet(store, start_delay=0)
    kubelet.run()
    try:
        watch = store.watch(PODS, "trading")
        make(store)
        phases = []
        while "Running" not in phases:
            phases += [record.phase for _, record in watch.poll(timeout=10)]
    finally:
        kubelet.stop()
    assert phases == ["Pending", "Pending", "Running"]
