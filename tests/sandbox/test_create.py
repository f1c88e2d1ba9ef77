"""What creating a pod or a namespace does and refuses."""

from typing import Any

import pytest

from syncctl.sandbox import NAMESPACES, PODS, ApiError, DeleteOptions, Kubelet, Store

from .support import Json, ManualClock, make, pod


def refused(store: Store, body: Json | bytes, namespace: str = "trading", **options: Any) -> ApiError:
    with pytest.raises(ApiError) as error:
        store.create(PODS, namespace, body, **options)
    return error.value


def changed(path: str, value: Any) -> Json:
    """A good pod with one field set; `path` is dotted, numbers are places in a list."""
    body = pod()
    parent: Any = body
    *steps, last = path.split(".")
    for step in steps:
        parent = parent[int(step)] if step.isdecimal() else parent.setdefault(step, {})
    parent[last] = value
    return body


CONTAINER = "spec.containers.0"
INVALID: list[tuple[str, Any, str, str, str]] = [
    ("metadata.name", "", "metadata.name", "FieldValueRequired", "name or generateName is required"),
    ("metadata.name", "a" * 254, "metadata.name", "FieldValueInvalid", "must be no more than 253 bytes"),
    ("metadata.labels", {"a": "b!"}, "metadata.labels", "FieldValueInvalid", "a valid label must be an empty string"),
    ("metadata.labels", {"a": "b" * 64}, "metadata.labels", "FieldValueInvalid", "must be no more than 63 bytes"),
    ("metadata.labels", {"-a": "b"}, "metadata.labels", "FieldValueInvalid", "name part must consist of"),
    ("metadata.labels", {"A_/a": "b"}, "metadata.labels", "FieldValueInvalid", "prefix part a lowercase RFC 1123"),
    ("metadata.annotations", {"a b": ""}, "metadata.annotations", "FieldValueInvalid", "name part must consist of"),
    (
        "metadata.annotations",
        {"a": "x" * 262144},
        "metadata.annotations",
        "FieldValueTooLong",
        "more than 262144 bytes",
    ),
    ("metadata.finalizers", ["a b"], "metadata.finalizers", "FieldValueInvalid", "name part must consist of"),
    ("spec.containers", [], "spec.containers", "FieldValueRequired", "Required value"),
    ("spec.restartPolicy", "Sometimes", "spec.restartPolicy", "FieldValueNotSupported", "supported values: "),
    ("spec.activeDeadlineSeconds", 0, "spec.activeDeadlineSeconds", "FieldValueInvalid", "must be between 1 and"),
    (f"{CONTAINER}.name", "", "spec.containers[0].name", "FieldValueRequired", "Required value"),
    (f"{CONTAINER}.name", "a.b", "spec.containers[0].name", "FieldValueInvalid", "must not contain dots"),
    (f"{CONTAINER}.image", "", "spec.containers[0].image", "FieldValueRequired", "Required value"),
    (f"{CONTAINER}.image", " nginx", "spec.containers[0].image", "FieldValueInvalid", "leading or trailing whitespace"),
    (
        f"{CONTAINER}.imagePullPolicy",
        "No",
        "spec.containers[0].imagePullPolicy",
        "FieldValueNotSupported",
        'supported values: "Always", "IfNotPresent", "Never"',
    ),
    (f"{CONTAINER}.env", [{"value": "x"}], "spec.containers[0].env[0].name", "FieldValueRequired", "Required value"),
    (f"{CONTAINER}.env", [{"name": "A=B"}], "spec.containers[0].env[0].name", "FieldValueInvalid", "printable ASCII"),
    (
        f"{CONTAINER}.resources",
        {"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}},
        "spec.containers[0].resources.requests",
        "FieldValueInvalid",
        'Invalid value: "1500m": must be less than or equal to cpu limit of 1',
    ),
    (
        f"{CONTAINER}.resources",
        {"requests": {"cpu": "-1"}},
        "spec.containers[0].resources.requests[cpu]",
        "FieldValueInvalid",
        "must be greater than or equal to 0",
    ),
]


@pytest.mark.parametrize(("path", "value", "field", "reason", "words"), INVALID, ids=lambda one: str(one)[:40])
def test_an_invalid_pod_is_422_with_its_cause(
    store: Store, path: str, value: Any, field: str, reason: str, words: str
) -> None:
    error = refused(store, changed(path, value))
    assert (error.status, error.reason) == (422, "Invalid")
    assert error.details is not None
    cause = error.details["causes"][0]
    assert (cause["field"], cause["reason"]) == (field, reason)
    assert words in cause["message"]
    assert cause["message"] in error.message


def test_two_containers_of_one_name_are_refused(store: Store) -> None:
    body = pod()
    body["spec"]["containers"] *= 2
    assert 'spec.containers[1].name: Duplicate value: "c"' in refused(store, body).message


BAD_TYPES: dict[bytes, str] = {
    b'{"metadata":{"labels":{"a":1}}}': (
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
    ),
    b'{"spec":{"containers":{}}}': (
        "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"
    ),
    b'{"spec":{"containers":[{"env":[{"name":"A","value":true}]}]}}': (
        "json: cannot unmarshal bool into Go struct field EnvVar.spec.containers.env.value of type string"
    ),
    b'{"spec":{"terminationGracePeriodSeconds":"5"}}': (
        "json: cannot unmarshal string into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64"
    ),
    b'{"spec":{"containers":[{"resources":{"limits":{"cpu":"1 core"}}}]}}': (
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    ),
}


@pytest.mark.parametrize(("body", "sentence"), BAD_TYPES.items())
def test_a_field_of_the_wrong_type_is_400_as_go_words_it(store: Store, body: bytes, sentence: str) -> None:
    error = refused(store, body)
    assert (error.status, error.reason) == (400, "BadRequest")
    assert error.message == f'Pod in version "v1" cannot be handled as a Pod: {sentence}'


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"kind":"Service","apiVersion":"v1"}'])
def test_a_body_that_is_no_pod_is_400(store: Store, body: bytes) -> None:
    assert refused(store, body).status == 400


UNKNOWN = {
    "bogus": "bogus",
    "metadata.bogus": "metadata.bogus",
    "spec.bogus": "spec.bogus",
    f"{CONTAINER}.bogus": "spec.containers[0].bogus",
    f"{CONTAINER}.resources.bogus": "spec.containers[0].resources.bogus",
    "spec.securityContext.bogus": "spec.securityContext.bogus",
}


@pytest.mark.parametrize(("path", "shown"), UNKNOWN.items())
def test_an_unknown_field_is_refused_only_when_strict(store: Store, path: str, shown: str) -> None:
    error = refused(store, changed(path, "x"), field_validation="Strict")
    assert (error.status, error.message.rpartition(": ")[2]) == (400, f'unknown field "{shown}"')
    assert store.create(PODS, "trading", changed(path, "x"), dry_run=True).warnings == [f'unknown field "{shown}"']
    assert store.create(PODS, "trading", changed(path, "x"), field_validation="Ignore").warnings == []


def test_null_is_as_good_as_absent(store: Store) -> None:
    body = {**pod(), "status": None}
    body["metadata"]["annotations"] = None
    body["spec"]["nodeSelector"] = None
    created = store.create(PODS, "trading", body).record.json
    assert "annotations" not in created["metadata"]
    assert "nodeSelector" not in created["spec"]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(store: Store, image: str, policy: str) -> None:
    created = store.create(PODS, "trading", changed(f"{CONTAINER}.image", image)).record.json
    assert created["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_quantities_are_stored_canonically_and_a_limit_is_also_the_request(store: Store) -> None:
    created = store.create(
        PODS, "trading", changed(f"{CONTAINER}.resources", {"limits": {"cpu": 1.5, "memory": "1024Mi"}})
    )
    amounts = {"cpu": "1500m", "memory": "1Gi"}
    assert created.record.json["spec"]["containers"][0]["resources"] == {"limits": amounts, "requests": amounts}


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
        ({}, "BestEffort"),
    ],
)
def test_the_quality_of_service_follows_the_resources(store: Store, resources: Json, quality: str) -> None:
    created = store.create(PODS, "trading", changed(f"{CONTAINER}.resources", resources)).record.json
    assert created["status"]["qosClass"] == quality


def test_a_negative_grace_becomes_one_second(store: Store) -> None:
    created = store.create(PODS, "trading", changed("spec.terminationGracePeriodSeconds", -3)).record.json
    assert created["spec"]["terminationGracePeriodSeconds"] == 1


def test_a_generated_name_has_the_prefix_and_five_letters(store: Store) -> None:
    body = pod()
    body["metadata"] = {"generateName": "algo-"}
    name = store.create(PODS, "trading", body).record.name
    assert name.startswith("algo-")
    assert len(name) == len("algo-") + 5


def test_versions_grow_over_the_whole_store(store: Store) -> None:
    first = store.create(NAMESPACES, "", {"metadata": {"name": "other"}}).record
    second = make(store)
    third = store.create(PODS, "other", pod()).record
    assert first.version < second.version < third.version == store.version


def test_what_is_handed_out_is_a_copy(store: Store) -> None:
    body = pod()
    record = store.create(PODS, "trading", body).record
    record.json["metadata"]["name"] = "changed"
    body["spec"]["containers"][0]["image"] = "changed"
    assert store.get(PODS, "trading", "p1").json == record.json
    assert record.json["spec"]["containers"][0]["image"] == "nginx:1"


def test_a_dry_run_checks_everything_and_stores_nothing(store: Store) -> None:
    before = store.version
    answered = store.create(PODS, "trading", pod(), dry_run=True).record
    assert answered.json["status"] == {"phase": "Pending", "qosClass": "Guaranteed"}
    assert answered.uid
    assert refused(store, changed(f"{CONTAINER}.image", ""), dry_run=True).status == 422
    assert store.version == before
    make(store)
    assert refused(store, pod(), dry_run=True).reason == "AlreadyExists"


def test_a_terminating_namesake_holds_the_name(store: Store, kubelet: Kubelet) -> None:
    make(store)
    kubelet.tick()
    store.delete(PODS, "trading", "p1")
    error = refused(store, pod())
    assert (error.status, error.reason) == (409, "AlreadyExists")
    assert error.message == 'object is being deleted: pods "p1" already exists'


def test_a_missing_namespace_is_404_before_anything_is_checked(store: Store) -> None:
    error = refused(store, changed(f"{CONTAINER}.image", ""), namespace="nowhere")
    assert (error.status, error.message) == (404, 'namespaces "nowhere" not found')


def test_another_namespace_in_the_body_is_400(store: Store) -> None:
    error = refused(store, pod(namespace="default"))
    assert error.message == "the namespace of the provided object does not match the namespace sent on the request"


def test_a_quota_counts_pods_that_have_not_ended(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    store.set_quota("trading", pods=2, name="desk")
    make(store, "a")
    make(store, "b", condition="Succeeded")
    error = refused(store, pod("c"))
    assert (error.status, error.reason) == (403, "Forbidden")
    assert error.message == (
        'pods "c" is forbidden: exceeded quota: desk, requested: pods=1, used: pods=2, limited: pods=2'
    )
    clock.advance(1)
    kubelet.tick()
    make(store, "c")
    assert refused(store, pod("d")).reason == "Forbidden"
    store.delete(PODS, "trading", "a", DeleteOptions(0))
    make(store, "d")
    store.set_quota("trading", pods=None)
    make(store, "e")


def test_an_unknown_priority_class_is_403(store: Store) -> None:
    error = refused(store, changed("spec.priorityClassName", "gold"))
    assert (error.status, error.message) == (403, 'pods "p1" is forbidden: no PriorityClass with name gold was found')
    store.priority_classes["gold"] = 1000
    created = store.create(PODS, "trading", changed("spec.priorityClassName", "gold")).record.json
    assert created["spec"]["priority"] == 1000


def test_a_priority_number_of_one_s_own_is_403(store: Store) -> None:
    assert "must not be provided in pod spec" in refused(store, changed("spec.priority", 5)).message


def test_a_namespace_is_created_active(store: Store) -> None:
    created = store.create(NAMESPACES, "", {"metadata": {"name": "desk"}}).record.json
    assert created["status"] == {"phase": "Active"}
    assert created["metadata"]["labels"] == {"kubernetes.io/metadata.name": "desk"}
    with pytest.raises(ApiError, match="a lowercase RFC 1123 label"):
        store.create(NAMESPACES, "", {"metadata": {"name": "Desk"}})
