"""How objects go: grace, preconditions, finalizers, namespaces."""

import pytest

from syncctl.sandbox import NAMESPACES, PODS, ApiError, DeleteOptions, Kubelet, Store

from .support import MERGE, Json, ManualClock, make, pod


@pytest.fixture
def running(store: Store, kubelet: Kubelet, clock: ManualClock) -> Store:
    """A store with a running pod p1."""
    make(store)
    clock.advance(1)
    kubelet.tick()
    return store


def metadata(store: Store, name: str = "p1") -> Json:
    found: Json = store.get(PODS, "trading", name).json["metadata"]
    return found


def gone(store: Store, name: str = "p1") -> bool:
    return store.find(PODS, "trading", name) is None


def test_a_scheduled_pod_stays_until_the_kubelet_confirms(running: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    answered = running.delete(PODS, "trading", "p1").json["metadata"]
    assert answered["deletionGracePeriodSeconds"] == 30
    assert answered["deletionTimestamp"] == "2026-11-24T22:00:31Z"
    assert answered["generation"] == 2
    kubelet.tick()
    assert metadata(running) == answered
    clock.advance(0.5)
    kubelet.tick()
    assert gone(running)


def test_the_kubelet_waits_no_longer_than_the_grace(store: Store, clock: ManualClock) -> None:
    kubelet = Kubelet(store, start_delay=0, stop_delay=100)
    make(store)
    kubelet.tick()
    store.delete(PODS, "trading", "p1")
    clock.advance(29)
    kubelet.tick()
    assert not gone(store)
    clock.advance(1)
    kubelet.tick()
    assert gone(store)


def test_grace_zero_removes_at_once(running: Store) -> None:
    answered = running.delete(PODS, "trading", "p1", DeleteOptions(0)).json["metadata"]
    assert answered["deletionGracePeriodSeconds"] == 0
    assert gone(running)


def test_a_second_delete_may_only_shorten_the_grace(running: Store) -> None:
    running.delete(PODS, "trading", "p1")
    first = metadata(running)
    running.delete(PODS, "trading", "p1", DeleteOptions(60))
    running.delete(PODS, "trading", "p1")
    assert metadata(running) == first
    running.delete(PODS, "trading", "p1", DeleteOptions(5))
    assert metadata(running)["deletionGracePeriodSeconds"] == 5
    assert metadata(running)["deletionTimestamp"] == "2026-11-24T22:00:06Z"
    assert metadata(running)["generation"] == first["generation"]
    running.delete(PODS, "trading", "p1", DeleteOptions(0))
    assert gone(running)


def test_a_negative_grace_is_one_second(running: Store) -> None:
    assert running.delete(PODS, "trading", "p1", DeleteOptions(-5)).json["metadata"]["deletionGracePeriodSeconds"] == 1


def test_a_pod_that_has_ended_goes_at_once(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    make(store, condition="Failed")
    clock.advance(1)
    kubelet.tick()
    store.delete(PODS, "trading", "p1")
    assert gone(store)


@pytest.mark.parametrize("which", ["uid", "resource_version"])
def test_a_precondition_that_fails_is_a_conflict(running: Store, which: str) -> None:
    record = running.get(PODS, "trading", "p1")
    wrong = DeleteOptions(uid="zzz") if which == "uid" else DeleteOptions(resource_version="1")
    with pytest.raises(ApiError) as error:
        running.delete(PODS, "trading", "p1", wrong)
    assert (error.value.status, error.value.reason) == (409, "Conflict")
    sentences = {
        "uid": f"the UID in the precondition (zzz) does not match the UID in record ({record.uid}). "
        "The object might have been deleted and then recreated",
        "resource_version": "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record "
        f"({record.version}). The object might have been modified",
    }
    assert error.value.message == f'Operation cannot be fulfilled on Pod "p1": {sentences[which]}'
    assert not running.get(PODS, "trading", "p1").terminating


def test_preconditions_that_hold_let_the_pod_go(running: Store) -> None:
    record = running.get(PODS, "trading", "p1")
    running.delete(PODS, "trading", "p1", DeleteOptions(0, record.uid, str(record.version)))
    assert gone(running)


def test_a_dry_run_delete_deletes_nothing(running: Store) -> None:
    answered = running.delete(PODS, "trading", "p1", DeleteOptions(dry_run=True))
    assert answered.terminating
    assert not running.get(PODS, "trading", "p1").terminating


def test_a_missing_pod_is_404(store: Store) -> None:
    with pytest.raises(ApiError, match='pods "p1" not found'):
        store.delete(PODS, "trading", "p1")


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_finalizer_holds_a_pod_until_it_is_taken_off(
    store: Store, kubelet: Kubelet, clock: ManualClock, scheduled: bool
) -> None:
    make(store, finalizers=["syncctl.io/hold"])
    if scheduled:
        kubelet.tick()
    store.delete(PODS, "trading", "p1")
    clock.advance(60)
    kubelet.tick()
    assert metadata(store)["deletionGracePeriodSeconds"] == 0
    with pytest.raises(ApiError, match="no new finalizers can be added if the object is being deleted"):
        store.patch(PODS, "trading", "p1", b'{"metadata":{"finalizers":["x/y"]}}')
    store.patch(PODS, "trading", "p1", b'{"metadata":{"finalizers":null}}', MERGE)
    assert gone(store)


def test_a_finalizer_taken_off_early_leaves_the_grace_running(running: Store) -> None:
    running.patch(PODS, "trading", "p1", b'{"metadata":{"finalizers":["x/y"]}}')
    running.delete(PODS, "trading", "p1")
    running.patch(PODS, "trading", "p1", b'{"metadata":{"finalizers":null}}', MERGE)
    assert metadata(running)["deletionGracePeriodSeconds"] == 30


def test_a_deleted_namespace_takes_its_pods_with_it(store: Store, kubelet: Kubelet, clock: ManualClock) -> None:
    store.create(NAMESPACES, "", {"metadata": {"name": "desk"}})
    store.create(PODS, "desk", pod())
    kubelet.tick()
    answered = store.delete(NAMESPACES, "", "desk").json
    assert answered["status"] == {"phase": "Terminating"}
    with pytest.raises(ApiError) as error:
        store.create(PODS, "desk", pod("p2"))
    assert error.value.status == 403
    assert "because it is being terminated" in error.value.message
    clock.advance(1)
    kubelet.tick()
    assert store.find(PODS, "desk", "p1") is None
    assert store.find(NAMESPACES, "", "desk") is None


def test_an_empty_namespace_goes_at_once_and_default_never(store: Store) -> None:
    store.delete(NAMESPACES, "", "trading")
    assert store.find(NAMESPACES, "", "trading") is None
    with pytest.raises(ApiError, match="this namespace may not be deleted"):
        store.delete(NAMESPACES, "", "default")


def test_a_namesake_made_later_is_another_pod(running: Store) -> None:
    uid = metadata(running)["uid"]
    running.delete(PODS, "trading", "p1", DeleteOptions(0))
    make(running)
    assert metadata(running)["uid"] != uid
    running.confirm_deletion("trading", "p1", uid)
    assert not gone(running)
