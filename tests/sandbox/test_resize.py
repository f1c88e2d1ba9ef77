"""In-place resize: what the subresource takes, and what the node makes of it."""

import json

import pytest

from syncctl.sandbox import PODS, RESIZE_ANNOTATION, ApiError, Kubelet, Sandbox, Store

from .support import PODS_PATH, STRATEGIC, Client, Json, ManualClock, make


def wanted(cpu: str, memory: str = "64Mi", *, requests: bool = True, **container: object) -> bytes:
    amounts = {"cpu": cpu, "memory": memory}
    resources = {"limits": amounts, **({"requests": amounts} if requests else {})}
    return json.dumps({"spec": {"containers": [{"name": "c", "resources": resources, **container}]}}).encode()


@pytest.fixture
def running(store: Store, kubelet: Kubelet, clock: ManualClock) -> Store:
    make(store)
    clock.advance(1)
    kubelet.tick()
    return store


def resize(store: Store, body: bytes) -> Json:
    return store.patch(PODS, "trading", "p1", body, resize=True).record.json


def granted(store: Store) -> Json:
    (one,) = store.get(PODS, "trading", "p1").json["status"]["containerStatuses"]
    assert one["allocatedResources"] == one["resources"]["requests"]
    assert one["restartCount"] == 0
    amounts: Json = one["resources"]["limits"]
    return amounts


def pending(store: Store) -> list[Json]:
    conditions = store.get(PODS, "trading", "p1").json["status"]["conditions"]
    return [one for one in conditions if one["type"].startswith("PodResize")]


def test_a_resize_changes_the_spec_and_then_the_running_container(running: Store, kubelet: Kubelet) -> None:
    changed = resize(running, wanted("0.75", "128Mi"))
    assert changed["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "750m", "memory": "128Mi"}
    assert changed["metadata"]["generation"] == 2
    assert granted(running) == {"cpu": "500m", "memory": "64Mi"}
    kubelet.tick()
    assert granted(running) == {"cpu": "750m", "memory": "128Mi"}


@pytest.mark.parametrize("answer", ["Infeasible", "Deferred", "InProgress", "Error"])
@pytest.mark.parametrize("by", ["annotation", "switch"])
def test_a_node_may_refuse_or_put_off_a_resize(running: Store, kubelet: Kubelet, answer: str, by: str) -> None:
    if by == "switch":
        kubelet.resize_answer = answer
    else:
        body = {"metadata": {"annotations": {RESIZE_ANNOTATION: answer}}}
        running.patch(PODS, "trading", "p1", json.dumps(body).encode())
    resize(running, wanted("2"))
    kubelet.tick()
    assert granted(running)["cpu"] == "500m"
    (condition,) = pending(running)
    kind = "PodResizePending" if answer in ("Infeasible", "Deferred") else "PodResizeInProgress"
    assert (condition["type"], condition["status"]) == (kind, "True")
    assert condition.get("reason") == (None if answer == "InProgress" else answer)
    kubelet.resize_answer = ""
    body = {"metadata": {"annotations": {RESIZE_ANNOTATION: None}}}
    running.patch(PODS, "trading", "p1", json.dumps(body).encode())
    resize(running, wanted("3"))
    kubelet.tick()
    assert granted(running)["cpu"] == "3"
    assert pending(running) == []


@pytest.mark.parametrize(("answer", "made"), [("Deferred", True), ("Error", True), ("Infeasible", False)])
def test_a_resize_that_was_put_off_the_node_tries_again_by_itself(
    running: Store, kubelet: Kubelet, clock: ManualClock, answer: str, made: bool
) -> None:
    kubelet.resize_answer = answer
    resize(running, wanted("2"))
    kubelet.tick()
    (first,) = pending(running)
    clock.advance(60)
    kubelet.tick()
    assert pending(running) == [first], "it says since when"
    kubelet.resize_answer = ""
    clock.advance(60)
    kubelet.tick()
    assert (granted(running)["cpu"] == "2", pending(running) == []) == (made, made)


REFUSED = [
    (wanted("1", "64Mi", requests=False), "Pod QOS Class may not change as a result of resizing"),
    (wanted("1", image="nginx:2"), "only cpu and memory resources are mutable"),
    (wanted("1").replace(b'"c"', b'"d"'), "containers may not be renamed or reordered on resize"),
    (b'{"spec":{"containers":[{"name":"c","resources":{"limits":null,"requests":null}}]}}', "limits cannot be removed"),
    (
        b'{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"2"}}}]}}',
        "must be less than or equal to cpu",
    ),
]


@pytest.mark.parametrize(("body", "words"), REFUSED)
def test_a_resize_may_change_nothing_else(running: Store, body: bytes, words: str) -> None:
    before = running.get(PODS, "trading", "p1").json
    with pytest.raises(ApiError) as error:
        resize(running, body)
    assert error.value.status == 422
    assert words in error.value.message
    assert running.get(PODS, "trading", "p1").json == before


def test_an_old_kubelet_cannot_resize(running: Store) -> None:
    status = running.get(PODS, "trading", "p1").json["status"]
    del status["containerStatuses"][0]["resources"]
    running.write_status("trading", "p1", status)
    with pytest.raises(ApiError) as error:
        resize(running, wanted("1"))
    assert error.value.message == (
        'Pod "p1" is invalid: spec: Forbidden: Pod running on node without support for resize'
    )


def test_a_pod_that_does_not_run_yet_can_be_resized(store: Store) -> None:
    make(store)
    assert resize(store, wanted("1"))["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "1"


def test_an_old_server_has_no_resize(api: Client, sandbox: Sandbox) -> None:
    make(sandbox.store)
    path = f"{PODS_PATH}/p1/resize"
    assert api("PATCH", path, wanted("1"), Content_Type=STRATEGIC).status == 200
    sandbox.store.supports_resize = False
    answer = api("PATCH", path, wanted("2"), Content_Type=STRATEGIC)
    assert (answer.status, answer.json["message"]) == (404, "the server could not find the requested resource")
