"""Pods as a real API server sends them (pods/*.json), and what syncctl reads of them."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from syncctl.core import names
from syncctl.core.health import pod_health
from syncctl.core.model import NO_RESOURCES, ContainerState, Environment, ObservedPod, Resources
from syncctl.kube import codec

PODS = Path(__file__).parent / "pods"
FLEET = "0d5b6f2e-5c0a-4d5e-9a55-6f1c3a1f7b11"
EVICTED = (
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. Container algorithm was using "
    "270Mi, request is 256Mi, has larger consumption of memory. "
)
NO_ROOM = (
    "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found "
    "for incoming pod."
)
RUNNING = ContainerState("algorithm", ready=True)

HEALTH = {
    "controlled": "Healthy",
    "crash-loop": "Degraded: CrashLoopBackOff: last run ended with Error, exit code 1",
    "evicted": f"Degraded: Evicted: {EVICTED}",
    "failed": "Degraded: Failed: algorithm: Error (exit code 1)",
    "go-service": "Healthy",
    "image-pull-back-off": 'Degraded: ImagePullBackOff: Back-off pulling image "registry.example.com/desk/vwap:1.4.2"',
    "init-container-failed": "Degraded: Error: vault: permission denied",
    "node-lost": "Degraded: NodeLost: Node node-1 which was running pod vwap-1 is unresponsive",
    "node-not-ready": "Degraded: not ready: NodeNotReady",
    "not-ready": "Progressing: not ready",
    "nothing-but-a-name": "Progressing: starting",
    "nulls": "Progressing: starting",
    "out-of-memory": "Degraded: CrashLoopBackOff: last run ended with OOMKilled, exit code 137",
    "resize-deferred": "Healthy",
    "resize-error": "Degraded: not resized: Error: attempting to set pod memory limit below current usage",
    "resize-in-progress": "Healthy",
    "resize-infeasible": "Healthy",
    "running": "Healthy",
    "sidecar-first": "Degraded: ErrImagePull: not found",
    "terminating": "Terminating",
    "unschedulable": f"Degraded: Unschedulable: {NO_ROOM}",
}


def body(case: str) -> bytes:
    return (PODS / f"{case}.json").read_bytes()


def read(case: str) -> ObservedPod:
    return codec.read_pod(body(case))


@pytest.mark.parametrize("case", sorted(path.stem for path in PODS.glob("*.json")))
def test_a_pods_health_is_read_off_what_the_server_says(case: str) -> None:
    pod = read(case)
    now = datetime.fromisoformat(pod.deleted_at or "2026-11-24T11:00:00Z")
    health = pod_health(pod, now)
    assert ": ".join(filter(None, (health.code, health.message))) == HEALTH[case]


def test_a_running_pod_is_read_with_all_that_the_planner_compares() -> None:
    pod, document = read("running"), json.loads(body("running"))
    metadata = document["metadata"]
    assert (pod.name, pod.uid, pod.created_at) == ("vwap-1", metadata["uid"], metadata["creationTimestamp"])
    assert (pod.labels, pod.annotations) == (metadata["labels"], metadata["annotations"])
    assert pod.image == "registry.example.com/desk/vwap:1.4.2"
    assert pod.resources == Resources("500m", "256Mi", "500m", "256Mi")
    assert (pod.phase, pod.node, pod.grace_seconds, pod.containers) == ("Running", "node-1", 60, (RUNNING,))
    assert (pod.terminating, pod.controlled, pod.unready, pod.resize_refused) == (False, False, "", "")
    assert (pod.resizing, pod.resizing_since) == ("", "")


@pytest.mark.parametrize("case", ["evicted", "failed", "node-lost"])
def test_a_pod_that_has_ended_is_finished(case: str) -> None:
    assert read(case).finished


@pytest.mark.parametrize("case", sorted(HEALTH.keys() - {"evicted", "failed", "node-lost"}))
def test_a_pod_that_may_yet_run_is_not_finished(case: str) -> None:
    assert not read(case).finished


def test_a_terminating_pod_tells_by_when_it_is_to_be_gone_and_what_holds_it() -> None:
    pod = read("terminating")
    assert pod.terminating
    assert pod.finalizers == ("example.com/hold",)
    assert pod.grace_seconds == 60
    assert pod.deleted_at is not None
    assert pod_health(pod, datetime.fromisoformat(pod.deleted_at) + timedelta(hours=1)).message == (
        "should have been gone 3600 s ago: held by finalizer example.com/hold"
    )


def test_the_grace_that_a_deletion_was_given_counts_more_than_the_pods_own() -> None:
    document = json.loads(body("terminating"))
    document["metadata"]["deletionGracePeriodSeconds"] = 0
    assert codec.read_pod(json.dumps(document).encode()).grace_seconds == 0


def test_a_refused_resize_is_told_in_the_nodes_words() -> None:
    assert read("resize-infeasible").resize_refused == "Infeasible: Node didn't have enough capacity"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (
            "resize-deferred",
            "Deferred: Node didn't have enough resource: cpu",
        ),
        ("resize-in-progress", "in progress"),
        ("resize-error", "Error: attempting to set pod memory limit below current usage"),
    ],
)
def test_e4_a_resize_that_is_not_done_is_told_in_the_nodes_words_and_since_when(case: str, words: str) -> None:
    pod = read(case)
    assert (pod.resize_refused, pod.resizing, pod.resizing_since) == ("", words, "2026-11-24T10:59:37Z")


def with_conditions(*conditions: dict[str, str]) -> ObservedPod:
    document = json.loads(body("running"))
    document["status"]["conditions"] += conditions
    return codec.read_pod(json.dumps(document).encode())


def test_e4_of_two_resizes_the_one_in_error_is_told_else_the_later_one() -> None:
    deferred = {"type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "no room"}
    error = {"type": "PodResizeInProgress", "status": "True", "reason": "Error", "message": "in use"}
    at_work = {"type": "PodResizeInProgress", "status": "True"}
    assert with_conditions(deferred, error).resizing == "Error: in use"
    assert with_conditions(deferred, at_work).resizing == "Deferred: no room"
    assert with_conditions(deferred).resizing_since == ""
    refused = with_conditions({**deferred, "reason": "Infeasible"}, error)
    assert (refused.resize_refused, refused.resizing) == ("Infeasible: no room", "")


@pytest.mark.parametrize("kind", ["PodResizePending", "PodResizeInProgress"])
@pytest.mark.parametrize("reason", ["Deferred", "Infeasible", "Error"])
def test_e4_a_condition_that_is_false_says_that_nothing_is_resized(kind: str, reason: str) -> None:
    pod = with_conditions({"type": kind, "status": "False", "reason": reason, "message": "as it was"})
    assert (pod.resize_refused, pod.resizing) == ("", "")


def test_the_algorithms_container_is_found_by_name_and_not_by_place() -> None:
    pod = read("sidecar-first")
    assert pod.image == "registry.example.com/desk/vwap:1.4.2"
    assert pod.resources.cpu_request == "500m"
    assert [container.name for container in pod.containers] == ["log-shipper", "algorithm"]
    assert pod.restarts == 2


def test_a_pod_of_the_go_service_has_none_of_what_syncctl_sets() -> None:
    pod = read("go-service")
    assert (pod.labels, pod.annotations, pod.image, pod.resources) == ({}, {}, "", NO_RESOURCES)
    assert names.owner(pod.labels) == "a pod that syncctl did not make"


def of_variables(*variables: dict[str, object]) -> Environment:
    """Return what is read of a container that has these variables, beside a sidecar that has others."""
    pod = json.loads((PODS / "running.json").read_text())
    own = {"name": "algorithm", "image": "x", "env": list(variables)}
    sidecar = {"name": "sidecar", "image": "x", "env": [{"name": "CLIENT_ID", "value": "9"}]}
    pod["spec"]["containers"] = [sidecar, own]
    return codec.read_pod(json.dumps(pod).encode()).environment


def test_a1_the_environment_is_that_of_the_container_by_its_name_and_of_a_doubled_variable_the_last_counts() -> None:
    told = [
        {"name": "ALGORITHM", "value": "vwap"},
        {"name": "CLIENT_ID", "value": "7"},
        {"name": "SYNCCTL_SPEC", "value": "a"},
    ]
    assert of_variables(*told) == ("vwap", "7", "a")
    again = [{**variable, "value": f"{variable['value']} again"} for variable in told]
    assert of_variables(*told, *again) == ("vwap again", "7 again", "a again")
    # There, and with no literal value, is not the same as not there.
    assert of_variables(told[0], {"name": "SYNCCTL_SPEC", "valueFrom": {"fieldRef": {}}}) == ("vwap", None, "")
    assert of_variables() == (None, None, None)


def test_a_pod_of_a_replica_set_is_controlled() -> None:
    assert read("controlled").controlled


@pytest.mark.parametrize("case", ["nothing-but-a-name", "nulls"])
def test_what_is_missing_or_null_is_read_as_nothing(case: str) -> None:
    pod = read(case)
    assert (pod.labels, pod.annotations, pod.containers, pod.finalizers) == ({}, {}, (), ())
    assert (pod.node, pod.created_at, pod.deleted_at, pod.resources) == ("", "", None, NO_RESOURCES)
    assert pod.grace_seconds == 30


def test_whatever_is_missing_the_rest_is_read() -> None:
    for path in PODS.glob("*.json"):
        document = json.loads(path.read_text())
        name = document["metadata"]["name"]
        for part in ("metadata", "spec", "status"):
            for field in document.get(part, {}).keys() - {"name"}:
                rest = {key: value for key, value in document[part].items() if key != field}
                assert codec.read_pod(json.dumps({**document, part: rest}).encode()).name == name
                # Go writes what is empty as null when its type has no "omitempty".
                if not isinstance(document[part][field], str | int):
                    nothing = {**document[part], field: None}
                    assert codec.read_pod(json.dumps({**document, part: nothing}).encode()).name == name


# Pages ----------------------------------------------------------------------------------------------------------------


def page(*cases: str, **metadata: str) -> bytes:
    listed = b",".join(body(case) for case in cases)
    head = json.dumps({"resourceVersion": "811", **metadata}).encode()
    return b'{"kind":"PodList","apiVersion":"v1","metadata":' + head + b',"items":[' + listed + b"]}"


def test_a_page_is_read_with_the_token_of_the_next() -> None:
    pods, token = codec.read_page(page("running", "nothing-but-a-name", **{"continue": "abc"}))
    assert (pods, token) == ([read("running"), read("nothing-but-a-name")], "abc")
    assert codec.read_page(page("running")) == ([read("running")], "")
    assert codec.read_page(page()) == ([], "")
    assert codec.read_page(b'{"metadata":{},"items":null}') == ([], "")


def test_a_page_of_others_is_read_from_metadata_alone() -> None:
    others, token = codec.read_others_page(page("running", "go-service", **{"continue": "abc"}))
    assert [(pod.name, pod.owner, pod.plain) for pod in others] == [
        ("vwap-1", f"a pod of another fleet ({FLEET})", False),
        ("vmap-3", "a pod that syncctl did not make", True),
    ]
    assert token == "abc"


def test_c3_of_a_pod_that_is_not_well_it_is_known_when_a_condition_changed_last() -> None:
    def changed_at(case: str) -> str:
        document = json.loads(body(case))
        for place, condition in enumerate(document["status"]["conditions"]):
            condition["lastTransitionTime"] = f"2026-03-02T14:0{place}:00Z"
        return codec.read_pod(json.dumps(document).encode()).changed_at

    last = len(json.loads(body("not-ready"))["status"]["conditions"]) - 1
    assert changed_at("not-ready") == f"2026-03-02T14:0{last}:00Z"
    assert changed_at("running") == ""


@pytest.mark.parametrize("length", range(0, 2000, 97))
def test_a_page_that_ends_early_is_an_error_and_no_shorter_page(length: int) -> None:
    whole = page("running")
    assert length < len(whole)
    with pytest.raises(ValueError, match=r".+"):
        codec.read_page(whole[:length])


@pytest.mark.parametrize(
    "answer", [b"", b"null", b"[]", b'"words"', b"<html>", b'{"items":[{}],"metadata":{}}', b"\xff"]
)
def test_what_is_no_page_is_an_error(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        codec.read_page(answer)


# Failures -------------------------------------------------------------------------------------------------------------


def test_a_status_is_read_with_its_reason() -> None:
    told = codec.read_status(b'{"kind":"Status","message":"pods \\"x\\" not found","reason":"NotFound","details":{}}')
    assert (told.message, told.reason) == ('pods "x" not found', "NotFound")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"Too many requests, please try again later.\n", "Too many requests, please try again later."),
        (b"", ""),
        (b"upstream \xff timed out", "upstream \N{REPLACEMENT CHARACTER} timed out"),
        (b"x" * 5000, "x" * 300),
        (b'"a JSON text"', '"a JSON text"'),
    ],
)
def test_an_answer_that_is_no_status_becomes_the_message(answer: bytes, message: str) -> None:
    assert codec.read_status(answer).message == message
