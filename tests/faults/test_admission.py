"""C1, C2: a cluster whose admission rewrites what it is asked for, or takes away what pods are known by."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from syncctl.core import names
from syncctl.core.exits import ExitCode
from syncctl.core.report import Result
from syncctl.core.steps import Cause, StepKind
from syncctl.operations.lease import HeldLease
from syncctl.sandbox import PODS

from .world import IMAGE, NAMESPACE, NEW_IMAGE, World, add_rows, change_row

MIRROR = "mirror.example.com/"
Rewrite = Callable[[dict[str, Any]], None]


def admit(world: World, create: Rewrite = lambda _: None, update: Rewrite = lambda _: None) -> None:
    """Let the cluster's admission rewrite what is created, and what is patched."""
    store = world.sandbox.store
    made, patched = type(store).create, type(store).patch

    def created(resource: Any, namespace: str, content: Any, **how: Any) -> Any:
        body = json.loads(content)
        create(body)
        return made(store, resource, namespace, json.dumps(body).encode(), **how)

    def changed(resource: Any, namespace: str, name: str, content: bytes, *rest: Any, **how: Any) -> Any:
        body = json.loads(content)
        update(body)
        return patched(store, resource, namespace, name, json.dumps(body).encode(), *rest, **how)

    store.create, store.patch = created, changed  # type: ignore[method-assign]


def mirrored(body: dict[str, Any]) -> None:
    for container in body.get("spec", {}).get("containers", ()):
        if not container.get("image", MIRROR).startswith(MIRROR):
            container["image"] = MIRROR + container["image"]


def with_memory(amount: str) -> Rewrite:
    """Let everything have so much memory."""

    def rewrite(body: dict[str, Any]) -> None:
        for quantities in body["spec"]["containers"][0]["resources"].values():
            quantities["memory"] = amount

    return rewrite


capped = with_memory("64Mi")


def without(part: str, key: str) -> Rewrite:
    def rewrite(body: dict[str, Any]) -> None:
        (body["metadata"].get(part) or {}).pop(key, None)

    return rewrite


def with_set(part: str, key: str, value: str) -> Rewrite:
    def rewrite(body: dict[str, Any]) -> None:
        if key in body["metadata"].get(part, {}):
            body["metadata"][part][key] = value

    return rewrite


def image_of(world: World, name: str) -> str:
    return str(world.pods()[name].content["spec"]["containers"][0]["image"])


def resources_of(world: World, name: str) -> dict[str, str]:
    limits: dict[str, str] = world.pods()[name].content["spec"]["containers"][0]["resources"]["limits"]
    return limits


def annotate(world: World, name: str, **annotations: str | None) -> None:
    """Edit annotations of ours, as a person does."""
    edits = {f"syncctl.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    world.sandbox.store.patch(PODS, NAMESPACE, name, json.dumps({"metadata": {"annotations": edits}}).encode())


@pytest.fixture
def one(world: World) -> World:
    """A fleet of one client."""
    add_rows(world.engine, {1: "vwap"})
    return world


def test_c2_what_admission_makes_of_a_pod_is_noted_in_the_request_that_makes_it(one: World) -> None:
    admit(one, mirrored)
    # A pass that is killed right after the creation patches nothing any more.
    one.sandbox.faults.add(verb="patch", status=401, times=None)
    assert one.run().code is ExitCode.DONE
    note = one.pods()["vwap-1"].content["metadata"]["annotations"][names.ADMITTED]
    assert note == f"{IMAGE} 500m 64Mi -> {MIRROR}{IMAGE} 500m 64Mi 500m 64Mi"
    one.settle()
    assert one.plan().plan.drifted == ()


def test_c2_a_pod_that_is_rewritten_though_the_first_was_not_is_noted_after_it_was_made(one: World) -> None:
    add_rows(one.engine, {2: "vwap"}, image="other/vwap:1", priority=-1.0)

    def some(body: dict[str, Any]) -> None:
        if body["spec"]["containers"][0]["image"].startswith("other/"):
            mirrored(body)

    admit(one, some)
    assert one.run().code is ExitCode.DONE
    assert image_of(one, "vwap-2") == f"{MIRROR}other/vwap:1"
    one.settle()
    assert one.plan().plan.drifted == ()


def test_c2_a_pod_that_is_made_just_before_the_lease_is_lost_is_told_of(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rows(one.engine, {2: "vwap"}, image="other/vwap:1", priority=-1.0)
    held: list[HeldLease] = []
    check = HeldLease.check
    monkeypatch.setattr(HeldLease, "check", lambda lease: (held.append(lease), check(lease))[1])

    def some(body: dict[str, Any]) -> None:
        if body["metadata"]["name"] == "vwap-2":
            mirrored(body)
            held[-1]._lost = "the lease was lost"

    admit(one, some)
    ended = one.run()
    assert ended.results() == {"vwap-1": Result.CREATED, "vwap-2": Result.FAILED}
    assert ended.details()["vwap-2"] == ("it was made, and what admission made of it is not noted: the lease was lost")
    assert sorted(one.pods()) == ["vwap-1", "vwap-2"]


def test_c2_where_an_image_is_rewritten_a_new_one_is_a_new_pod(one: World) -> None:
    admit(one, mirrored)
    one.run()
    one.settle()
    change_row(one.engine, 1, image=NEW_IMAGE)
    one.may_go.add(one.uid("vwap-1"))
    (step,) = one.plan().plan.drifted
    assert (step.kind, step.cause) == (StepKind.REPLACE, Cause.IMAGE_DIFFERS)
    assert step.reason.endswith("; replaced, for the cluster's admission rewrites that")
    assert one.run().results() == {"vwap-1": Result.REPLACED}
    assert image_of(one, "vwap-1") == MIRROR + NEW_IMAGE
    one.settle()
    assert one.plan().plan.drifted == ()


def test_c2_a_cap_of_memory_holds_when_cpu_changes_in_place(one: World) -> None:
    change_row(one.engine, 1, memory="1Gi")
    admit(one, capped)
    one.run()
    one.settle()
    uid = one.uid("vwap-1")
    change_row(one.engine, 1, cpu="250m")
    assert one.run().results() == {"vwap-1": Result.UPDATED}
    assert (one.uid("vwap-1"), resources_of(one, "vwap-1")) == (uid, {"cpu": "250m", "memory": "64Mi"})
    one.settle()
    assert one.plan().plan.drifted == ()
    # What is capped itself is not resized beyond the cap.
    change_row(one.engine, 1, memory="2Gi")
    ended = one.run()
    assert (ended.results(), resources_of(one, "vwap-1")["memory"]) == ({"vwap-1": Result.UPDATED}, "64Mi")
    assert ended.details()["vwap-1"].startswith("is as the cluster's admission makes it")
    assert one.uid("vwap-1") == uid
    one.settle()
    assert one.plan().plan.drifted == ()


def test_c2_a_cap_that_was_not_there_when_the_pod_was_made_holds_too(one: World) -> None:
    one.run()
    one.settle()
    admit(one, capped)
    uid = one.uid("vwap-1")
    change_row(one.engine, 1, memory="1Gi", cpu="250m")
    # What is as admission makes it is noted, and what is left can be changed in place.
    for _ in range(2):
        assert one.run().results() == {"vwap-1": Result.UPDATED}
        one.settle()
    assert (one.uid("vwap-1"), resources_of(one, "vwap-1")) == (uid, {"cpu": "250m", "memory": "64Mi"})
    admit(one, with_memory("128Mi"))
    one.may_go.add(uid)
    change_row(one.engine, 1, memory="2Gi")
    assert one.run().results() == {"vwap-1": Result.REPLACED}
    assert resources_of(one, "vwap-1") == {"cpu": "250m", "memory": "128Mi"}
    one.settle()
    assert one.plan().plan.drifted == ()


@pytest.mark.parametrize(
    "note", [None, "", "nothing of sense", f"desk/other:1 1 1Gi -> {MIRROR}{IMAGE} 500m 64Mi 500m 64Mi"]
)
def test_c2_no_process_is_stopped_for_a_note_that_somebody_edits(one: World, note: str | None) -> None:
    admit(one, mirrored)
    one.run()
    one.settle()
    uid, restarts = one.uid("vwap-1"), image_of(one, "vwap-1")
    annotate(one, "vwap-1", admitted=note)
    ended = one.run()
    assert ended.results() == {"vwap-1": Result.UPDATED}
    assert ended.details()["vwap-1"].startswith("is as the cluster's admission makes it")
    assert (one.uid("vwap-1"), image_of(one, "vwap-1")) == (uid, restarts)
    one.settle()
    assert one.plan().plan.drifted == ()


def test_c2_with_the_note_go_the_marks_that_somebody_has_edited(one: World) -> None:
    admit(one, mirrored)
    one.run()
    one.settle()
    annotate(one, "vwap-1", admitted=None, client_name="somebody else's")
    assert one.run().results() == {"vwap-1": Result.UPDATED}
    assert one.plan().plan.drifted == ()


def test_c2_a_note_that_is_lost_makes_no_replacement_of_a_resize(one: World) -> None:
    admit(one, mirrored)
    one.run()
    one.settle()
    uid = one.uid("vwap-1")
    annotate(one, "vwap-1", admitted=None)
    change_row(one.engine, 1, cpu="250m")
    for _ in range(2):
        assert one.run().results() == {"vwap-1": Result.UPDATED}
        one.settle()
    assert (one.uid("vwap-1"), resources_of(one, "vwap-1")["cpu"]) == (uid, "250m")
    assert one.plan().plan.drifted == ()


def test_c2_what_somebody_sets_while_a_pass_patches_is_not_taken_for_admissions(one: World) -> None:
    one.run()
    one.settle()
    change_row(one.engine, 1, client_name="renamed")
    hotfix = {"spec": {"containers": [{"name": "algorithm", "image": "desk/vwap:hotfix"}]}}

    def hook(_request: object, verb: str) -> None:
        if verb == "patch":
            one.sandbox.server.on_request = None
            one.sandbox.store.patch(PODS, NAMESPACE, "vwap-1", json.dumps(hotfix).encode())

    one.sandbox.server.on_request = hook
    assert one.run().results() == {"vwap-1": Result.UPDATED}
    (step,) = one.plan().plan.drifted
    assert step.cause is Cause.IMAGE_DIFFERS


def test_c2_a_live_image_that_is_wanted_is_in_sync_whatever_is_noted(one: World) -> None:
    one.run()
    one.settle()
    annotate(one, "vwap-1", admitted=f"{IMAGE} 500m 64Mi -> {MIRROR}{IMAGE} 500m 64Mi 500m 64Mi")
    assert one.plan().plan.drifted == ()


@pytest.mark.parametrize("rewrites", [True, False])
def test_c2_what_somebody_sets_by_hand_is_put_back(one: World, rewrites: bool) -> None:
    if rewrites:
        admit(one, mirrored)
    one.run()
    one.settle()
    patch = {"spec": {"containers": [{"name": "algorithm", "image": "desk/vwap:hotfix"}]}}
    one.sandbox.store.patch(PODS, NAMESPACE, "vwap-1", json.dumps(patch).encode())
    one.may_go.add(one.uid("vwap-1"))
    assert one.run().results() == {"vwap-1": Result.REPLACED if rewrites else Result.UPDATED}
    assert image_of(one, "vwap-1") == (MIRROR if rewrites else "") + IMAGE


def test_c2_a_resize_whose_note_is_lost_is_sent_again(one: World) -> None:
    one.run()
    one.settle()
    change_row(one.engine, 1, cpu="250m")
    one.sandbox.faults.add(verb="patch", name="vwap-1", skip=1, status=403, times=None)
    assert one.run().results() == {"vwap-1": Result.FAILED}
    one.sandbox.faults.clear()
    assert resources_of(one, "vwap-1")["cpu"] == "250m"
    assert one.converges() == 1


def test_c2_a_note_that_the_api_server_had_no_time_for_is_sent_again_in_the_same_pass(one: World) -> None:
    one.run()
    one.settle()
    admit(one, update=mirrored)
    change_row(one.engine, 1, image="desk/vwap:2")
    one.sandbox.faults.add(verb="patch", name="vwap-1", skip=1, status=503, times=1)
    assert one.run().results() == {"vwap-1": Result.UPDATED}
    note = one.pods()["vwap-1"].content["metadata"]["annotations"][names.ADMITTED]
    assert note.startswith("desk/vwap:2 500m 64Mi -> ")


# What pods are known by -----------------------------------------------------------------------------------------------


def test_c1_where_the_fleets_label_is_taken_away_no_pod_is_made(one: World) -> None:
    admit(one, without("labels", names.FLEET))
    for _ in range(2):
        ended = one.run()
        assert (ended.code, ended.results()) == (ExitCode.INCOMPLETE, {"vwap-1": Result.FAILED})
        assert ended.details()["vwap-1"] == (
            "not made, for nobody would know it again: the cluster's admission takes away what syncctl knows its pods"
            " by: label syncctl.io/fleet"
        )
        assert one.sandbox.store.list(PODS, NAMESPACE).records == []


def test_c1_a_pod_that_is_made_without_the_fleets_label_is_ended_at_once(one: World) -> None:
    add_rows(one.engine, {2: "vwap"}, priority=-1.0)

    def one_of_them(body: dict[str, Any]) -> None:
        if body["metadata"]["name"] == "vwap-2":
            without("labels", names.FLEET)(body)

    admit(one, one_of_them)
    one.sandbox.store.subscribe(
        lambda event: one.may_go.add(event.record.uid) if event.record.name == "vwap-2" else None
    )
    ended = one.run(concurrency=1)
    assert (ended.code, ended.results()) == (
        ExitCode.INCOMPLETE,
        {"vwap-1": Result.CREATED, "vwap-2": Result.FAILED},
    )
    assert ended.details()["vwap-2"].startswith("made and ended at once, for nobody would know it again: ")
    one.settle()
    assert [record.name for record in one.sandbox.store.list(PODS, NAMESPACE).records] == ["vwap-1"]
    # Pods that are not ours are not to be touched; this one was made by this very pass.
    one.violations.clear()


@pytest.mark.parametrize(
    ("part", "key"), [("annotations", names.SPEC_HASH), ("labels", names.MANAGED_BY), ("labels", names.CLIENT_ID)]
)
def test_c1_a_mark_that_is_taken_away_is_an_error_of_every_pass_and_ends_nothing(
    one: World, part: str, key: str
) -> None:
    admit(one, without(part, key), without(part, key))
    uids = set()
    for _ in range(3):
        ended = one.run()
        assert (ended.code, ended.results()) == (ExitCode.INCOMPLETE, {"vwap-1": Result.FAILED})
        assert ended.details()["vwap-1"] == (
            f"the cluster's admission takes away what syncctl knows its pods by: {part.removesuffix('s')} {key}"
        )
        uids.add(one.uid("vwap-1"))
        one.settle()
    assert len(uids) == 1


def test_c1_no_pod_is_ended_for_one_that_would_lack_what_it_is_known_by(one: World) -> None:
    one.run()
    one.settle()

    def nameless(body: dict[str, Any]) -> None:
        body["spec"]["containers"][0]["env"] = []

    admit(one, nameless)
    change_row(one.engine, 1, need_restart=True)
    ended = one.run()
    assert (ended.code, ended.results()) == (ExitCode.INCOMPLETE, {"vwap-1": Result.FAILED})
    assert ended.details()["vwap-1"] == (
        "left as it is, for its successor would not be taken: the cluster's admission takes away what syncctl knows its"
        " pods by: its container's variables"
    )


@pytest.mark.parametrize(("part", "key"), [("annotations", names.CLIENT_NAME), ("labels", names.INSTANCE)])
@pytest.mark.parametrize("later", [True, False])
def test_c1_what_is_set_otherwise_is_told_once_and_not_fought(one: World, part: str, key: str, later: bool) -> None:
    sets = with_set(part, key, "theirs")
    if later:
        one.run()
        one.settle()
        edit = {"metadata": {part: {key: "theirs"}}}
        one.sandbox.store.patch(PODS, NAMESPACE, "vwap-1", json.dumps(edit).encode())
    admit(one, sets, sets)
    ended = one.run()
    assert ended.results() == {"vwap-1": Result.UPDATED if later else Result.CREATED}
    assert ended.details()["vwap-1"] == (
        f"the cluster's admission sets {part.removesuffix('s')} {key} to theirs; noted on the pod, and left"
    )
    one.settle()
    again = one.run()
    assert (again.code, again.results(), again.writes) == (ExitCode.DONE, {}, 0)
    # What it is asked to be is another by now.
    if key == names.CLIENT_NAME:
        change_row(one.engine, 1, client_name="renamed")
        assert one.run().results() == {"vwap-1": Result.UPDATED}
        assert one.run().results() == {}


def test_c1_a_plain_cluster_is_asked_once_about_what_a_pass_makes(one: World) -> None:
    add_rows(one.engine, dict.fromkeys(range(2, 9), "vwap"))
    asked: list[str] = []
    one.sandbox.server.on_request = lambda request, verb: asked.append("ask" if "dryRun" in request.query else verb)
    assert one.run().code is ExitCode.DONE
    assert (asked.count("ask"), asked.count("create")) == (1, 8)
    one.settle()
    asked.clear()
    for number in range(1, 9):
        change_row(one.engine, number, image=NEW_IMAGE)
    assert one.run(concurrency=1).code is ExitCode.DONE
    assert (asked.count("ask"), asked.count("patch")) == (1, 8)
