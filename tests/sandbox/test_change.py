"""What patches change, and what they may not."""

import json
from typing import Any

import pytest

from syncctl.sandbox import NAMESPACES, PODS, ApiError, Store

from .support import MERGE, STRATEGIC, Json, make, pod


def patch(store: Store, body: Any, content_type: str = STRATEGIC, **options: Any) -> Json:
    return store.patch(PODS, "trading", "p1", json.dumps(body).encode(), content_type, **options).record.json


def refused(store: Store, body: Any, content_type: str = STRATEGIC, **options: Any) -> ApiError:
    with pytest.raises(ApiError) as error:
        patch(store, body, content_type, **options)
    return error.value


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
def test_a_patch_merges_maps_and_null_deletes(store: Store, content_type: str) -> None:
    made = make(store, labels={"a": "1", "b": "2"}).json
    changed = patch(store, {"metadata": {"labels": {"a": None, "c": "3"}, "annotations": {"x": "y"}}}, content_type)
    assert changed["metadata"]["labels"] == {"b": "2", "c": "3"}
    assert changed["metadata"]["annotations"] == {"x": "y"}
    assert changed["metadata"]["generation"] == made["metadata"]["generation"]
    assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    assert changed["spec"] == made["spec"]


def test_a_patch_that_changes_nothing_is_no_new_version(store: Store) -> None:
    made = make(store, labels={"a": "1"}).json
    assert patch(store, {"metadata": {"labels": {"a": "1"}}}) == made


def test_a_strategic_patch_finds_containers_by_name(store: Store) -> None:
    make(store)
    changed = patch(store, {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}})
    assert changed["spec"]["containers"][0]["image"] == "nginx:2"
    assert changed["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "500m", "memory": "64Mi"}
    assert changed["metadata"]["generation"] == 2


def test_a_merge_patch_replaces_the_whole_list_of_containers(store: Store) -> None:
    make(store)
    error = refused(store, {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}, MERGE)
    assert "pod updates may not change fields other than" in error.message


def test_finalizers_are_merged_as_a_set(store: Store) -> None:
    make(store, finalizers=["x/a"])
    assert patch(store, {"metadata": {"finalizers": ["x/b", "x/a"]}})["metadata"]["finalizers"] == ["x/a", "x/b"]
    patched = patch(store, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/a"]}})
    assert patched["metadata"]["finalizers"] == ["x/b"]
    assert "finalizers" not in patch(store, {"metadata": {"finalizers": None}})["metadata"]


def test_a_patch_of_another_kind_is_415(store: Store) -> None:
    make(store)
    for content_type in ("application/json", "application/apply-patch+yaml", ""):
        assert refused(store, {}, content_type).status == 415


def test_a_patch_that_is_no_json_is_400(store: Store) -> None:
    make(store)
    with pytest.raises(ApiError) as error:
        store.patch(PODS, "trading", "p1", b"{", MERGE)
    assert error.value.status == 400


def test_only_the_mutable_part_of_a_spec_changes(store: Store) -> None:
    made = make(store).json
    patch(store, {"spec": {"activeDeadlineSeconds": 60}})
    more = [*made["spec"]["tolerations"], {"key": "new", "operator": "Exists"}]
    changed = patch(store, {"spec": {"tolerations": more}})
    assert changed["spec"]["tolerations"] == more
    assert changed["metadata"]["generation"] == 3


FORBIDDEN: list[Json] = [
    {"nodeName": "elsewhere"},
    {"restartPolicy": "Never"},
    {"terminationGracePeriodSeconds": 5},
    {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]},
    {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}]},
    {"containers": [{"name": "second", "image": "nginx:1"}]},
]


@pytest.mark.parametrize("spec", FORBIDDEN, ids=str)
def test_the_rest_of_a_spec_may_not_change(store: Store, spec: Json) -> None:
    make(store)
    error = refused(store, {"spec": spec})
    assert (error.status, error.reason) == (422, "Invalid")
    assert error.message.startswith(
        'Pod "p1" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,'
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
    )
    assert error.details is not None
    assert [cause["reason"] for cause in error.details["causes"]] == ["FieldValueForbidden"]


def test_a_toleration_may_not_go(store: Store) -> None:
    body = pod()
    body["spec"]["tolerations"] = [{"key": "desk", "operator": "Exists"}]
    store.create(PODS, "trading", body)
    assert "existing toleration can not be modified" in refused(store, {"spec": {"tolerations": []}}, MERGE).message


def test_a_deadline_may_only_come_closer(store: Store) -> None:
    make(store)
    patch(store, {"spec": {"activeDeadlineSeconds": 60}})
    assert refused(store, {"spec": {"activeDeadlineSeconds": 61}}).status == 422
    assert refused(store, {"spec": {"activeDeadlineSeconds": None}}).status == 422
    assert patch(store, {"spec": {"activeDeadlineSeconds": 59}})["spec"]["activeDeadlineSeconds"] == 59


def test_status_and_server_metadata_are_not_changed_by_a_patch(store: Store) -> None:
    made = make(store).json
    sent = {"metadata": {"generation": 9, "creationTimestamp": "2020-01-01T00:00:00Z"}, "status": {"phase": "Running"}}
    assert patch(store, sent) == made


def test_another_uid_in_a_patch_is_invalid(store: Store) -> None:
    make(store)
    error = refused(store, {"metadata": {"uid": "zzz", "labels": {"a": "b"}}})
    assert (error.status, error.message) == (
        422,
        'Pod "p1" is invalid: metadata.uid: Invalid value: "zzz": field is immutable',
    )


def test_the_right_uid_and_version_in_a_patch_pass(store: Store) -> None:
    metadata = make(store).json["metadata"]
    sent = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], "labels": {"a": "b"}}
    assert patch(store, {"metadata": sent})["metadata"]["labels"] == {"a": "b"}
    assert refused(store, {"metadata": sent}).status == 409


def test_another_name_or_namespace_in_a_patch_is_400(store: Store) -> None:
    make(store)
    assert refused(store, {"metadata": {"name": "p2"}}).message == (
        "the name of the object (p2) does not match the name on the URL (p1)"
    )
    assert refused(store, {"metadata": {"namespace": "default"}}).status == 400


def test_a_patch_that_makes_no_pod_is_422(store: Store) -> None:
    make(store)
    assert refused(store, {"metadata": {"labels": {"a": 1}}}).status == 422
    assert refused(store, {"metadata": {"labels": {"a": "b!"}}}).status == 422


def test_a_dry_run_patch_answers_and_stores_nothing(store: Store) -> None:
    made = make(store).json
    changed = patch(store, {"metadata": {"labels": {"a": "b"}}}, dry_run=True)
    assert changed["metadata"]["labels"] == {"a": "b"}
    assert store.get(PODS, "trading", "p1").json == made
    assert refused(store, {"spec": {"nodeName": "x"}}, dry_run=True).status == 422


def test_an_unknown_field_in_a_patch_is_refused_when_strict(store: Store) -> None:
    make(store)
    assert refused(store, {"spec": {"bogus": 1}}, field_validation="Strict").status == 400


def test_a_namespace_can_be_labelled(store: Store) -> None:
    body = json.dumps({"metadata": {"labels": {"team": "desk"}}}).encode()
    changed = store.patch(NAMESPACES, "", "trading", body, MERGE).record.json
    assert changed["metadata"]["labels"] == {"kubernetes.io/metadata.name": "trading", "team": "desk"}


def test_a_missing_pod_is_404(store: Store) -> None:
    assert refused(store, {}).status == 404
