"""What kube/cluster.py promises, on the sandbox or on a real cluster: `pytest tests/kube --kubeconfig PATH`."""

from collections.abc import Callable

import pytest
from kit.clusters import FINALIZER, IMAGE, NEWER_IMAGE, Cluster, Json, RealCluster, SandboxCluster, a_pod

from syncctl.core import names
from syncctl.core.errors import (
    AccessDenied,
    LeaseLost,
    NamespaceNotFound,
    PodExists,
    PodNotFound,
    PodRejected,
    PreconditionFailed,
    QuotaExceeded,
)
from syncctl.core.model import ObservedPod, Resources
from syncctl.kube.api import ApiCluster
from syncctl.kube.config import connect
from syncctl.kube.readonly import ReadOnlyCluster

OURS, THEIRS = "0d5b6f2e-5c0a-4d5e-9a55-6f1c3a1f7b11", "b7a1f9c4-0d7e-4b53-8f0e-3c6d1a5e2f90"
NOBODYS_UID = "00000000-0000-0000-0000-000000000000"
MORE = {"requests": {"cpu": "30m", "memory": "32Mi"}, "limits": {"cpu": "30m", "memory": "32Mi"}}


@pytest.fixture
def api(cluster: Cluster) -> ApiCluster:
    return cluster.api(page_size=2)


def named(pods: list[ObservedPod]) -> list[str]:
    return sorted(pod.name for pod in pods)


def resized(resources: Json) -> Json:
    return {"spec": {"containers": [{"name": names.CONTAINER, "resources": resources}]}}


# Reading --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5])
def test_a_list_is_complete_however_many_pages_it_has(api: ApiCluster, number: int) -> None:
    for place in range(number):
        api.create_pod(a_pod(f"vwap-{place}", fleet=OURS))
    assert named(api.list_pods(names.fleet_selector(OURS))) == [f"vwap-{place}" for place in range(number)]
    assert named(api.list_others(names.fleet_selector(OURS))) == [f"vwap-{place}" for place in range(number)]


@pytest.fixture
def mixed(api: ApiCluster) -> ApiCluster:
    api.create_pod(a_pod("vwap-1", fleet=OURS, client_id=1))
    api.create_pod(a_pod("twap-1", fleet=OURS, client_id=1, algorithm="twap"))
    api.create_pod(a_pod("hft-2", fleet=OURS, client_id=2, algorithm="hft"))
    api.create_pod(a_pod("hft-12", fleet=OURS, client_id=12, algorithm="hft"))
    api.create_pod(a_pod("vwap-3", fleet=THEIRS))
    api.create_pod(a_pod("web", labels={"app.kubernetes.io/managed-by": "Helm"}))
    api.create_pod(a_pod("vmap-4"))
    return api


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        (names.fleet_selector(OURS), ["hft-12", "hft-2", "twap-1", "vwap-1"]),
        (names.fleet_selector(NOBODYS_UID), []),
        (names.clients_selector(OURS, [1, 2]), ["hft-2", "twap-1", "vwap-1"]),
        (names.clients_selector(OURS, [12]), ["hft-12"]),
        (names.clients_selector(THEIRS, [1]), []),
        (names.foreign_selector(OURS), ["vmap-4", "vwap-3", "web"]),
        (names.unowned_selector(), ["vmap-4", "web"]),
    ],
)
def test_a_selector_finds_the_pods_that_it_names_and_no_others(
    mixed: ApiCluster, selector: str, found: list[str]
) -> None:
    assert named(mixed.list_pods(selector)) == found
    assert named(mixed.list_others(selector)) == found


def test_owners_are_told_in_words(mixed: ApiCluster) -> None:
    assert {pod.name: pod.owner for pod in mixed.list_others(names.foreign_selector(OURS))} == {
        "vwap-3": f"a pod of another fleet ({THEIRS})",
        "web": "a pod managed by Helm",
        "vmap-4": "a pod that syncctl did not make",
    }


def test_a_selector_that_cannot_be_one_is_an_error_and_no_empty_list(api: ApiCluster) -> None:
    with pytest.raises(PodRejected, match="cannot list pods: unable to parse requirement"):
        api.list_pods("syncctl.io/fleet in (")


def test_a_pod_is_read_as_it_was_made(api: ApiCluster) -> None:
    manifest = a_pod("vwap-1", fleet=OURS, annotations={names.CLIENT_NAME: 'Å "free" text\n'}, finalizers=[FINALIZER])
    made = api.create_pod(manifest)
    assert (made.name, made.image, made.grace_seconds) == ("vwap-1", IMAGE, 2)
    assert made.labels == manifest["metadata"]["labels"]
    assert made.annotations == manifest["metadata"]["annotations"]
    assert made.resources == Resources("20m", "32Mi", "20m", "32Mi")
    assert made.finalizers == (FINALIZER,)
    assert made.uid
    assert made.created_at
    assert (made.phase, made.terminating, made.controlled) == ("Pending", False, False)
    (listed,) = api.list_pods(names.fleet_selector(OURS))
    for read in (listed, api.get_pod("vwap-1")):
        assert read is not None
        assert (read.uid, read.labels, read.annotations) == (made.uid, made.labels, made.annotations)


def test_a_pod_that_another_object_owns_is_known_to_be_so(api: ApiCluster) -> None:
    owner = api.create_pod(a_pod("owner"))
    reference = {"apiVersion": "v1", "kind": "Pod", "name": owner.name, "uid": owner.uid}
    assert api.create_pod(a_pod("owned", ownerReferences=[reference])).controlled


def test_a_pod_comes_to_run_on_a_node(cluster: Cluster, api: ApiCluster) -> None:
    api.create_pod(a_pod("vwap-1"))
    cluster.until(lambda: phase_of(api) == "Running")
    pod = api.get_pod("vwap-1")
    assert pod is not None
    assert pod.node
    assert [container.name for container in pod.containers] == [names.CONTAINER]


def phase_of(api: ApiCluster) -> str:
    pod = api.get_pod("vwap-1")
    return pod.phase if pod else ""


def test_a_missing_pod_is_an_answer_and_no_error(api: ApiCluster) -> None:
    assert api.get_pod("vwap-1") is None


def test_the_address_names_server_and_namespace(cluster: Cluster, api: ApiCluster) -> None:
    assert api.address.startswith(f"namespace {cluster.namespace} of http")


def test_the_home_is_the_namespaces_uid(cluster: Cluster, api: ApiCluster) -> None:
    assert api.home() == cluster.uid()
    assert cluster.api().home() == api.home()


def test_a_namespace_that_is_not_there_is_no_home(cluster: Cluster) -> None:
    connection = connect(str(cluster.kubeconfig), None, "nowhere-to-be-found", 1)
    with pytest.raises(NamespaceNotFound, match="there is no namespace nowhere-to-be-found of http"):
        ApiCluster(connection).home()


def test_who_may_not_read_the_namespace_is_told_so(cluster: Cluster) -> None:
    with pytest.raises(AccessDenied, match="cannot get namespace ") as denied:
        cluster.powerless().home()
    assert denied.value.status == 403


# Creating -------------------------------------------------------------------------------------------------------------


def test_a_name_that_is_taken_is_told_and_its_holder_left_alone(api: ApiCluster) -> None:
    first = api.create_pod(a_pod("vwap-1", fleet=THEIRS))
    with pytest.raises(PodExists, match='cannot create pod vwap-1: pods "vwap-1" already exists'):
        api.create_pod(a_pod("vwap-1", fleet=OURS))
    found = api.get_pod("vwap-1")
    assert found is not None
    assert (found.uid, found.labels) == (first.uid, first.labels)


def test_a_name_is_taken_until_its_terminating_holder_is_gone(api: ApiCluster) -> None:
    first = api.create_pod(a_pod("vwap-1", fleet=OURS, finalizers=[FINALIZER]))
    api.delete_pod("vwap-1", first.uid)
    with pytest.raises(PodExists):
        api.create_pod(a_pod("vwap-1", fleet=OURS))


def test_a_pod_that_can_never_be_is_rejected_with_the_field(api: ApiCluster) -> None:
    manifest = a_pod("vwap-1")
    manifest["spec"]["restartPolicy"] = "Sometimes"
    with pytest.raises(PodRejected, match=r'spec\.restartPolicy: Unsupported value: "Sometimes"'):
        api.create_pod(manifest)
    assert api.get_pod("vwap-1") is None


def test_a_misspelt_field_is_rejected_and_not_dropped(api: ApiCluster) -> None:
    manifest = a_pod("vwap-1")
    manifest["spec"]["nodeSelectr"] = {"disk": "fast"}
    with pytest.raises(PodRejected, match=r'unknown field "spec\.nodeSelectr"'):
        api.create_pod(manifest)
    assert api.get_pod("vwap-1") is None


def test_a_quota_that_is_used_up_is_told_apart_from_missing_rights(cluster: Cluster, api: ApiCluster) -> None:
    cluster.limit_pods(1)
    api.create_pod(a_pod("vwap-1"))
    with pytest.raises(QuotaExceeded, match=r"cannot create pod vwap-2: .*exceeded quota"):
        api.create_pod(a_pod("vwap-2"))
    assert named(api.list_pods("")) == ["vwap-1"]


ACTIONS: dict[str, Callable[[ApiCluster], object]] = {
    "list pods": lambda api: api.list_pods(""),
    "get pod vwap-1": lambda api: api.get_pod("vwap-1"),
    "create pod vwap-1": lambda api: api.create_pod(a_pod("vwap-1")),
    "patch pod vwap-1": lambda api: api.patch_pod("vwap-1", NOBODYS_UID, {"metadata": {"labels": {"a": "b"}}}),
    "resize pod vwap-1": lambda api: api.resize_pod("vwap-1", NOBODYS_UID, resized(MORE)),
    "delete pod vwap-1": lambda api: api.delete_pod("vwap-1", NOBODYS_UID),
}
WRITES = [doing for doing in ACTIONS if not doing.startswith(("list", "get"))]


def test_a_missing_right_is_told_with_verb_and_resource(cluster: Cluster) -> None:
    powerless = cluster.powerless()
    for doing, act in ACTIONS.items():
        with pytest.raises(AccessDenied, match=rf'cannot {doing}: .*forbidden.*resource "pods') as caught:
            act(powerless)
        assert "k8s-cronjob.yaml has the Role" in str(caught.value.hint)


# Trying ---------------------------------------------------------------------------------------------------------------


def test_a_pod_that_is_tried_is_not_made(api: ApiCluster) -> None:
    tried = api.try_pod(a_pod("vwap-1"))
    assert tried.room
    assert tried.answer is not None
    assert (tried.answer.name, tried.answer.image) == ("vwap-1", IMAGE)
    assert api.get_pod("vwap-1") is None


def test_b1_a_pod_that_is_tried_tells_whether_the_quota_has_room(cluster: Cluster, api: ApiCluster) -> None:
    cluster.limit_pods(1)
    api.create_pod(a_pod("vwap-1"))
    assert api.try_pod(a_pod("vwap-1")) == (False, None)
    assert api.try_pod(a_pod("vwap-2")) == (False, None)


def test_a_pod_can_be_tried_while_another_holds_its_name(api: ApiCluster) -> None:
    held = api.create_pod(a_pod("vwap-1"))
    assert api.try_pod(a_pod("vwap-1")) == (True, None)
    tried = api.try_pod(a_pod("vwap-1", annotations={"note": "by hand"}), beside=True)
    assert tried.answer is not None
    assert tried.answer.annotations == {"note": "by hand"}
    found = api.get_pod("vwap-1")
    assert found is not None
    assert found.uid == held.uid


def test_what_would_not_be_taken_is_told_when_it_is_tried(api: ApiCluster) -> None:
    manifest = a_pod("vwap-1")
    manifest["spec"]["containers"][0]["image"] = ""
    api.create_pod(a_pod("vwap-1"))
    with pytest.raises(PodRejected, match=r"cannot create pod vwap-1: .*image: Required value"):
        api.try_pod(manifest)


# Changing -------------------------------------------------------------------------------------------------------------


def test_a_patch_changes_what_it_names_and_leaves_the_rest(api: ApiCluster) -> None:
    manifest = a_pod("vwap-1", fleet=OURS, annotations={"note": "by hand", names.CLIENT_NAME: "acme"})
    manifest["spec"]["containers"].append({**manifest["spec"]["containers"][0], "name": "sidecar"})
    made = api.create_pod(manifest)
    container = {"name": names.CONTAINER, "image": NEWER_IMAGE}
    metadata = {"annotations": {names.CLIENT_NAME: "acme & sons"}, "labels": {"tier": "gold"}}
    changed = api.patch_pod("vwap-1", made.uid, {"metadata": metadata, "spec": {"containers": [container]}})
    assert changed.uid == made.uid
    assert changed.image == NEWER_IMAGE
    assert changed.annotations == {"note": "by hand", names.CLIENT_NAME: "acme & sons"}
    assert changed.labels == {**made.labels, "tier": "gold"}
    assert api.get_pod("vwap-1") == changed


def test_a_patch_that_a_pod_cannot_take_is_rejected(api: ApiCluster) -> None:
    made = api.create_pod(a_pod("vwap-1"))
    with pytest.raises(PodRejected, match="pod updates may not change fields other than"):
        api.patch_pod("vwap-1", made.uid, {"spec": {"nodeSelector": {"disk": "fast"}}})


def test_a_resize_changes_the_resources_of_the_running_pod(cluster: Cluster, api: ApiCluster) -> None:
    made = api.create_pod(a_pod("vwap-1"))
    cluster.until(lambda: phase_of(api) == "Running")
    changed = api.resize_pod("vwap-1", made.uid, resized(MORE))
    assert (changed.uid, changed.resources) == (made.uid, Resources("30m", "32Mi", "30m", "32Mi"))


def test_a_resize_that_cannot_be_is_rejected(api: ApiCluster) -> None:
    made = api.create_pod(a_pod("vwap-1"))
    with pytest.raises(PodRejected, match="Pod QOS Class may not change as a result of resizing"):
        api.resize_pod("vwap-1", made.uid, resized({"requests": {"cpu": "10m"}}))
    pod = api.get_pod("vwap-1")
    assert pod is not None
    assert pod.resources == made.resources


@pytest.mark.parametrize("doing", ["patch pod vwap-1", "resize pod vwap-1", "delete pod vwap-1"])
def test_nothing_befalls_a_namesake_of_the_pod_that_was_meant(api: ApiCluster, doing: str) -> None:
    namesake = api.create_pod(a_pod("vwap-1", fleet=OURS))
    with pytest.raises(PreconditionFailed, match=f"cannot {doing}: "):
        ACTIONS[doing](api)
    found = api.get_pod("vwap-1")
    assert found is not None
    assert (found.uid, found.labels, found.resources) == (namesake.uid, namesake.labels, namesake.resources)
    assert not found.terminating


@pytest.mark.parametrize("doing", ["patch pod vwap-1", "resize pod vwap-1"])
def test_a_pod_that_is_gone_cannot_be_changed(api: ApiCluster, doing: str) -> None:
    with pytest.raises(PodNotFound, match=f'cannot {doing}: pods "vwap-1" not found'):
        ACTIONS[doing](api)


# Deleting -------------------------------------------------------------------------------------------------------------


def test_a_deleted_pod_ends_within_its_own_grace(cluster: Cluster, api: ApiCluster) -> None:
    made = api.create_pod(a_pod("vwap-1", finalizers=[FINALIZER]))
    cluster.until(lambda: phase_of(api) == "Running")
    api.delete_pod("vwap-1", made.uid)
    leaving = api.get_pod("vwap-1")
    assert leaving is not None
    assert (leaving.uid, leaving.terminating, leaving.grace_seconds) == (made.uid, True, 2)


def test_a_deleted_pod_is_gone_in_the_end_and_its_name_free(cluster: Cluster, api: ApiCluster) -> None:
    made = api.create_pod(a_pod("vwap-1"))
    cluster.until(lambda: phase_of(api) == "Running")
    api.delete_pod("vwap-1", made.uid)
    cluster.until(lambda: api.get_pod("vwap-1") is None)
    assert api.create_pod(a_pod("vwap-1")).uid != made.uid


def test_deleting_what_is_terminating_or_gone_is_no_error(cluster: Cluster, api: ApiCluster) -> None:
    made = api.create_pod(a_pod("vwap-1", finalizers=[FINALIZER]))
    api.delete_pod("vwap-1", made.uid)
    api.delete_pod("vwap-1", made.uid)
    api.patch_pod("vwap-1", made.uid, {"metadata": {"finalizers": None}})
    cluster.until(lambda: api.get_pod("vwap-1") is None)
    api.delete_pod("vwap-1", made.uid)


def test_a_grace_of_nothing_frees_the_name_at_once(cluster: Cluster, api: ApiCluster) -> None:
    made = api.create_pod(a_pod("vwap-1"))
    cluster.until(lambda: phase_of(api) == "Running")
    api.delete_pod("vwap-1", made.uid, grace_seconds=0)
    assert api.get_pod("vwap-1") is None


# Permission, and none -------------------------------------------------------------------------------------------------


def patient(_seconds: float) -> bool:
    return True


def test_permission_is_asked_before_every_write_and_no_reading(api: ApiCluster) -> None:
    asked: list[str] = []
    permitted = api.working_under(lambda: asked.append("may I?"), patient)
    made = permitted.create_pod(a_pod("vwap-1"))
    assert len(asked) == 1
    permitted.patch_pod("vwap-1", made.uid, {"metadata": {"labels": {"a": "b"}}})
    assert len(asked) == 2
    permitted.resize_pod("vwap-1", made.uid, resized(MORE))
    assert len(asked) == 3
    permitted.delete_pod("vwap-1", made.uid)
    assert len(asked) == 4
    permitted.list_pods("")
    permitted.list_others("")
    permitted.get_pod("vwap-1")
    permitted.home()
    assert len(asked) == 4


@pytest.mark.parametrize("doing", WRITES)
def test_without_permission_nothing_is_written(api: ApiCluster, doing: str) -> None:
    def refuse() -> None:
        raise LeaseLost("the lease was lost")

    before = api.create_pod(a_pod("vwap-1"))
    with pytest.raises(LeaseLost):
        ACTIONS[doing](api.working_under(refuse, patient))
    found = api.get_pod("vwap-1")
    assert found is not None
    assert (found.uid, found.labels, found.resources) == (before.uid, before.labels, before.resources)
    assert not found.terminating


@pytest.mark.parametrize("doing", WRITES)
def test_a_read_only_cluster_writes_nothing_and_calls_it_a_bug(api: ApiCluster, doing: str) -> None:
    read_only = ReadOnlyCluster(api)
    with pytest.raises(AssertionError, match=f"a read-only pass tried to {doing}"):
        ACTIONS[doing](read_only.working_under(lambda: None, patient))  # type: ignore[arg-type] # the same methods
    assert read_only.list_pods("") == []


def test_a_read_only_cluster_reads_as_the_cluster_does(mixed: ApiCluster) -> None:
    read_only = ReadOnlyCluster(mixed)
    assert named(read_only.list_pods("")) == named(mixed.list_pods(""))
    assert named(read_only.list_others("")) == named(mixed.list_others(""))
    assert read_only.get_pod("vwap-9") is None
    assert read_only.home() == mixed.home()
    assert read_only.address == mixed.address


def test_each_page_is_one_request(sandbox: SandboxCluster) -> None:
    api = sandbox.api(page_size=2)
    for place in range(5):
        api.create_pod(a_pod(f"vwap-{place}", fleet=OURS))
    sandbox.asked()
    api.list_pods(names.fleet_selector(OURS))
    assert sandbox.asked() == {"list": 3}


def test_the_suite_ran_where_it_was_told_to(cluster: SandboxCluster | RealCluster, pytestconfig: pytest.Config) -> None:
    assert cluster.real == bool(pytestconfig.getoption("--kubeconfig"))
