"""The planner, row by row of the table in its docstring, and what the table is too short for."""

from dataclasses import dataclass
from itertools import product

import pytest
from msgspec.structs import replace

from syncctl.core import names, plan
from syncctl.core.admission import note_of
from syncctl.core.desired import DesiredState
from syncctl.core.manifest import Blueprint, pod_manifest
from syncctl.core.model import NO_ENVIRONMENT, NO_RESOURCES, Environment, ObservedPod, Resources
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.shard import Shard
from syncctl.core.steps import Cause, Plan, Step, StepKind
from syncctl.core.suspensions import suspensions_of
from syncctl.core.template import make_template

from .builders import (
    BEGUN,
    BLUEPRINT,
    FLEET,
    NOW,
    a_client,
    a_suspension,
    as_observed,
    desired_by,
    desired_pod,
    key,
    labelled,
    others,
    pod_of,
)

NO_OTHERS = Others()
CLIENT = a_client(7)
POD = pod_of(CLIENT)
LEAVING = "2026-03-02T14:30:30Z"
TERMINATING = replace(POD, deleted_at=LEAVING)
STUCK = replace(POD, deleted_at="2026-03-02T14:00:00Z")
RESIZING = replace(POD, resizing="Deferred: no room", resizing_since="2026-03-02T14:29:00Z")
SEED = replace(POD, name="vmap-107", labels={}, annotations={}, environment=NO_ENVIRONMENT, go_made=True)
# As they were made before there was the variable SYNCCTL_SPEC.
OLD = replace(POD, environment=POD.environment._replace(spec=None))
# Only its name says whose it is, only its environment, neither.
NAMED = replace(POD, environment=NO_ENVIRONMENT)
TOLD = replace(POD, name="vwap-999")
NOBODYS = replace(NAMED, name="by-hand")


def annotated(pod: ObservedPod = POD, **annotations: str) -> dict[str, str]:
    return {**pod.annotations, **{f"syncctl.io/{end.replace('_', '-')}": value for end, value in annotations.items()}}


def planned(
    desired: DesiredState,
    *pods: ObservedPod,
    beside: Others = NO_OTHERS,
) -> tuple[Step, ...]:
    return make_plan(desired, pods, NOW, beside).steps


def only(
    desired: DesiredState,
    *pods: ObservedPod,
    beside: Others = NO_OTHERS,
) -> Step:
    (step,) = planned(desired, *pods, beside=beside)
    return step


def in_brief(steps: tuple[Step, ...]) -> list[tuple[str, str, str]]:
    return [(step.kind.value, step.cause.value, step.name) for step in steps]


def rewritten(**asked: str) -> ObservedPod:
    """Return a pod of which admission has made something else than was asked for: of all, or of what is named."""
    wanted = desired_pod(a_client(7, **asked))
    made, fields = pod_of(a_client(7, **asked)), asked or {"image": ""}
    image = f"mirror/{wanted.image}" if "image" in fields else wanted.image
    limits = {f"{field}_limit": "7" for field in ("cpu", "memory") if field in fields}
    made = replace(made, image=image, resources=made.resources._replace(**limits))
    return replace(made, annotations=annotated(made, admitted=note_of(wanted, made)))


# The truth table ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One situation for each pod that the row speaks of; `beside` is observed too, and gets a step of its own.

    `name` is that of the step, where it is not the pod's or the wanted one's.
    """

    desired: DesiredState
    pods: tuple[ObservedPod | None, ...]
    foreign: Others = NO_OTHERS
    beside: tuple[ObservedPod, ...] = ()
    adopt: bool = False
    name: str = ""


WANTED = desired_by(CLIENT)
STOPPING = suspensions_of([a_suspension(7, stops=True)])
OFF = desired_by(a_client(7, enabled=""))
INVALID = desired_by(a_client(7, cpu="1,5"))
ADOPTED = desired_by(CLIENT, go_service=True)
REPLACING = desired_by(CLIENT, begun={key(7): BEGUN})

TABLE = {
    "yes | none | create | missing": Row(WANTED, (None,)),
    "yes | none, and its replacement was begun | create | replacement-begun": Row(REPLACING, (None,)),
    "yes | none, and another pod may be it | conflict | name-taken": Row(WANTED, (None,), others("vwap-107")),
    "yes | none, and a pod of which little is known | conflict | claimed": Row(WANTED, (None,), beside=(NOBODYS,)),
    "yes | none, and a former client's pod is there | wait | client-back": Row(
        WANTED, (None,), beside=(pod_of(a_client(8, name="client 7")),)
    ),
    "yes | terminating | wait | terminating": Row(WANTED, (TERMINATING, replace(TERMINATING, phase="Failed"))),
    "any | terminating, long past its grace | wait | stuck": Row(desired_by(a_client(8, enabled="")), (STUCK,)),
    "yes | Failed, Succeeded, Evicted, node lost | replace | finished": Row(
        WANTED,
        (
            replace(POD, phase="Failed"),
            replace(POD, phase="Succeeded"),
            replace(POD, phase="Failed", reason="Evicted"),
            replace(POD, phase="Unknown"),
            replace(POD, reason="NodeLost"),
        ),
    ),
    "yes | same hash, same live image and resources | keep | in-sync": Row(
        WANTED, (POD, replace(POD, phase="Pending"), replace(POD, uid="another", node=""))
    ),
    "yes | only labels or annotations differ | update | metadata-differs": Row(
        WANTED,
        (
            replace(POD, annotations=annotated(client_name="an old name")),
            replace(POD, labels=labelled(POD, instance="another desk")),
        ),
    ),
    "yes | only the live image differs | update | image-differs": Row(
        WANTED, (pod_of(a_client(7, image="desk/vwap:1.4.1")), replace(POD, image="desk/vwap:hotfix"))
    ),
    "yes | the same, and admission rewrites it | replace | image-differs": Row(
        WANTED, (rewritten(image="desk/vwap:1.4.1"), replace(rewritten(), image="desk/vwap:hotfix"))
    ),
    "yes | only the live resources differ | update | resources-differ": Row(
        WANTED,
        (
            pod_of(a_client(7, cpu="1", memory="2Gi")),
            *(
                replace(POD, resources=POD.resources._replace(**{field: "7"}))
                for field in ("cpu_request", "cpu_limit", "memory_request", "memory_limit")
            ),
        ),
    ),
    "yes | the same, and admission rewrites them | replace | resources-differ": Row(
        WANTED, (rewritten(cpu="1"), rewritten(cpu="1", memory="2Gi"), rewritten(memory="2Gi"))
    ),
    "yes | the node refuses other resources | replace | resize-refused": Row(
        WANTED, (replace(POD, resize_refused="Node didn't have enough capacity: cpu"),)
    ),
    "yes | the node has not yet given them | wait | resizing": Row(
        WANTED,
        (
            RESIZING,
            replace(POD, resizing="in progress"),
            replace(POD, resizing="Error: the limit is below what is used", phase="Pending"),
            replace(RESIZING, resizing_since="2026-03-01T00:00:00Z"),
        ),
    ),
    "yes | another restart generation | replace | restart-asked": Row(
        WANTED, (pod_of(a_client(7, restart_generation=1)),)
    ),
    "yes | more of the spec differs | replace | spec-differs": Row(
        WANTED,
        (
            replace(POD, environment=POD.environment._replace(spec="0123456789abcdef")),
            replace(OLD, annotations=annotated(spec_hash="0123456789abcdef")),
            pod_of(a_client(7, image="desk/vwap:1.4.1", cpu="1")),
        ),
    ),
    "yes | SYNCCTL_SPEC is there and cannot be read | conflict | unreadable-spec": Row(
        WANTED,
        (
            replace(POD, environment=POD.environment._replace(spec="")),
            replace(POD, environment=POD.environment._replace(spec="0123")),
            replace(POD, environment=POD.environment._replace(spec="0123456789ABCDEF")),
        ),
    ),
    "yes | under another name | replace | misnamed": Row(WANTED, (replace(POD, name="vwap-9"),)),
    "yes | a pod of the Go service, with --adopt | replace | adopted": Row(
        WANTED, (SEED, replace(SEED, name="vwap-107")), adopt=True
    ),
    "yes | to be replaced, beside another that may be it | conflict | name-taken": Row(
        WANTED,
        (
            replace(POD, phase="Failed"),
            replace(POD, name="vwap-9"),
            pod_of(a_client(7, restart_generation=1)),
            pod_of(a_client(7, cpu="1", memory="2Gi")),
        ),
        others("vmap-107"),
    ),
    "yes | a second pod of the same key | delete | duplicate": Row(
        WANTED, (replace(POD, name="vwap-9"), replace(POD, name="vwap-9", phase="Failed")), beside=(POD,)
    ),
    "any | beside one of a Go service that is at work | conflict | go-service": Row(
        ADOPTED, (None,), others("vmap-107", plain=True), beside=(POD,), name="vmap-107"
    ),
    "any | made by syncctl, without a fleet's label | conflict | fleet-label-lost": Row(
        OFF, (None,), others("vwap-107", owner=names.LOST, lost=True, labels=POD.labels)
    ),
    "yes | there, and a suspension stops it | delete | stopped": Row(
        desired_by(CLIENT, suspensions=STOPPING), (POD, replace(POD, phase="Failed"), replace(POD, image="other"))
    ),
    "yes | the same, and none | create | stopped": Row(desired_by(CLIENT, suspensions=STOPPING), (None,)),
    "no | running or finished | delete | switched-off": Row(
        OFF, (POD, replace(POD, phase="Pending"), replace(POD, phase="Failed"))
    ),
    "no | terminating | wait | terminating": Row(OFF, (TERMINATING,)),
    "deleted | running, and there is a tombstone | delete | client-deleted": Row(
        desired_by(deleted=(7,)), (POD, replace(POD, phase="Failed"))
    ),
    "gone | running, and there is no tombstone | delete | orphan": Row(
        desired_by(deleted=(8,)), (POD, replace(POD, phase="Failed"))
    ),
    "invalid | running | keep | client-invalid": Row(
        INVALID, (POD, replace(POD, phase="Failed"), replace(POD, name="vwap-9"))
    ),
    "invalid | none | conflict | client-invalid": Row(INVALID, (None,)),
    "any | name and environment say another key each | conflict | ids-moved": Row(
        desired_by(a_client(8, enabled="", status_id=107)), (POD, replace(POD, phase="Pending"))
    ),
    "any | the same, and it has ended | delete | ids-moved": Row(
        desired_by(a_client(8, enabled="", status_id=107)), (replace(POD, phase="Failed"),)
    ),
    "any | neither name nor environment says a key | conflict | unidentified": Row(
        desired_by(),
        (
            NOBODYS,
            replace(NOBODYS, phase="Failed"),
            replace(NOBODYS, labels={names.FLEET: FLEET}),
            replace(NOBODYS, name="vwap-999"),
            replace(NOBODYS, name="vmap-107"),
            *(
                replace(NOBODYS, environment=Environment(algorithm, client_id))
                for algorithm, client_id in (
                    ("vwap", None),
                    ("vwap", ""),
                    ("vwap", "seven"),
                    ("vwap", "-7"),
                    ("vwap", "007"),
                    ("vwap", "²"),
                    ("vmap", "7"),
                    ("", "7"),
                    (None, "7"),
                )
            ),
        ),
    ),
    "any | in the care of another shard | update | bucket-differs": Row(
        desired_by(shard=Shard(0, 2), elsewhere={107: 7}), (POD, TOLD, replace(POD, phase="Failed"))
    ),
}


def rows_of_the_docstring() -> list[str]:
    assert plan.__doc__ is not None
    cells = [[cell.strip() for cell in line.split("|")] for line in plan.__doc__.splitlines() if "|" in line]
    assert cells[0] == ["desired", "observed pod", "step", "cause"]
    return [" | ".join(row) for row in cells[1:]]


def test_table_docstring_and_tests_have_the_same_rows() -> None:
    assert list(TABLE) == rows_of_the_docstring()


def test_every_cause_is_a_row_of_the_table() -> None:
    assert {row.split(" | ")[-1] for row in TABLE} == {cause.value for cause in Cause}


@pytest.mark.parametrize(("line", "row"), TABLE.items(), ids=TABLE)
def test_the_table_holds(line: str, row: Row) -> None:
    _, _, kind, cause = line.split(" | ")
    for pod in row.pods:
        pods = (pod,) if pod else ()
        if row.adopt:
            steps = planned(row.desired, *row.beside, beside=Others(adoptable=pods))
        else:
            steps = planned(row.desired, *pods, *row.beside, beside=row.foreign)
        (step,) = [step for step in steps if step.observed not in row.beside or step.observed is None]
        assert (step.kind.value, step.cause.value, step.observed) == (kind, cause, pod)
        assert step.name == (row.name or (pod.name if pod else "vwap-107"))


# What a person reads --------------------------------------------------------------------------------------------------


REASONS = {
    "missing": (WANTED, [], "enabled, and there is no pod"),
    "begun": (REPLACING, [], "its old pod was told to go at 2026-03-01 09:00:00 UTC to be replaced, and is gone"),
    "terminating": (WANTED, [TERMINATING], "still terminating; its name is free when it is gone"),
    "failed": (WANTED, [replace(POD, phase="Failed")], "has ended: Failed"),
    "evicted": (WANTED, [replace(POD, phase="Failed", reason="Evicted")], "has ended: Evicted"),
    "in sync": (WANTED, [POD], "in sync"),
    "a rename": (
        desired_by(a_client(7, name="Zoë & Söhne | Ω")),
        [POD],
        "syncctl.io/client-name client 7 -> Zoë & Söhne | Ω",
    ),
    "a new version and a lost label": (
        desired_by(a_client(7, version=4)),
        [replace(POD, labels={key: value for key, value in POD.labels.items() if key != names.INSTANCE})],
        "app.kubernetes.io/instance none -> desk, syncctl.io/version 3 -> 4",
    ),
    "a restart": (desired_by(a_client(7, restart_generation=3)), [POD], "restart asked for: generation 2 -> 3"),
    "a new image": (
        desired_by(a_client(7, image="desk/vwap:1.5")),
        [POD],
        "image registry.example.com/desk/vwap:1.4.2 -> desk/vwap:1.5",
    ),
    "more cpu, less memory": (
        desired_by(a_client(7, cpu="2", memory="512Mi")),
        [POD],
        "cpu 1500m -> 2, memory 1Gi -> 512Mi",
    ),
    "a new image and a restart": (
        desired_by(a_client(7, image="desk/vwap:1.5", restart_generation=3)),
        [POD],
        "restart asked for: generation 2 -> 3",
    ),
    "a resize that the node refuses": (
        WANTED,
        [replace(POD, resize_refused="Node didn't have enough capacity: cpu")],
        "not resized in place: Node didn't have enough capacity: cpu",
    ),
    "a resize that the node has put off": (WANTED, [RESIZING], "resized in place, and not done yet: Deferred: no room"),
    "stuck": (
        WANTED,
        [STUCK],
        "should have been gone 1800 s ago: the kubelet of node node-1 has not confirmed it; is the node lost?;"
        " look at `kubectl describe pod vwap-107`; only when the process has certainly ended:"
        " `syncctl pod force-delete vwap-107`",
    ),
    "another template": (
        WANTED,
        [replace(POD, environment=POD.environment._replace(spec="0123456789abcdef"))],
        f"pod template changed: spec 0123456789abcdef -> {WANTED.pods[key(7)].spec_hash}",
    ),
    "made before the variable was, and no annotations left": (
        WANTED,
        [replace(OLD, annotations={})],
        f"pod template changed: spec unknown -> {WANTED.pods[key(7)].spec_hash}",
    ),
    "edited by hand": (
        WANTED,
        [replace(POD, image="desk/vwap:hotfix", resources=POD.resources._replace(cpu_limit="3", memory_request=""))],
        "image desk/vwap:hotfix -> registry.example.com/desk/vwap:1.4.2, cpu 1500m/3 -> 1500m, memory none/1Gi -> 1Gi",
    ),
    "without its container": (
        WANTED,
        [replace(POD, image="", resources=NO_RESOURCES)],
        "image none -> registry.example.com/desk/vwap:1.4.2, cpu none -> 1500m, memory none -> 1Gi",
    ),
    "misnamed": (WANTED, [replace(POD, name="vwap-9")], "should be named vwap-107"),
    "switched off": (OFF, [POD], "vwap is switched off"),
    "no, terminating": (OFF, [TERMINATING], "still terminating; its name is free when it is gone"),
    "deleted": (desired_by(deleted=(7,)), [POD], "client 7 was deleted"),
    "orphan": (desired_by(), [POD], "orphan: client 7 has vanished from the database without being deleted"),
    "invalid, running": (
        INVALID,
        [POD],
        'left as it is; client "client 7" is invalid: cpu: "1,5" is not a Kubernetes quantity;'
        " write cores or thousandths, like 0.5 or 500m",
    ),
    "invalid, no pod": (
        INVALID,
        [],
        'client "client 7" is invalid: cpu: "1,5" is not a Kubernetes quantity;'
        " write cores or thousandths, like 0.5 or 500m",
    ),
    "unidentified": (
        desired_by(),
        [NOBODYS],
        "carries this fleet's label, but neither its name nor its environment says whose it is; left alone, and vwap of"
        " client 7, which its labels claim, is not made beside it",
    ),
    "unidentified, with labels that say nothing": (
        desired_by(),
        [replace(NOBODYS, labels=labelled(POD, client_id="seven"))],
        "carries this fleet's label, but neither its name nor its environment says whose it is; left alone",
    ),
    "ids that have moved": (
        desired_by(a_client(8, enabled="", status_id=107)),
        [POD],
        "its name is that of vwap of client 8, and its environment says vwap of client 7: nothing of either is started,"
        " ended or patched; put the ids in algorithm_status back, or `kubectl delete pod vwap-107`, and the next pass"
        " makes what is asked for",
    ),
    "another shard's": (
        desired_by(shard=Shard(0, 2)),
        [replace(POD, labels=labelled(POD, bucket="4"))],
        "vwap of client 7 is in the care of another shard: label syncctl.io/bucket 4 -> 7",
    ),
    "an unreadable spec": (
        WANTED,
        [replace(POD, environment=POD.environment._replace(spec="x"))],
        "its variable SYNCCTL_SPEC is no spec hash, so nobody knows how it was made; left alone",
    ),
}


@pytest.mark.parametrize(("desired", "pods", "reason"), REASONS.values(), ids=REASONS)
def test_the_reason_is_a_sentence(desired: DesiredState, pods: list[ObservedPod], reason: str) -> None:
    assert only(desired, *pods).reason == reason


# Resizing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "kind", "cause"),
    [
        ({"cpu": "2"}, StepKind.UPDATE, Cause.RESOURCES_DIFFER),
        ({"image": "desk/vwap:2"}, StepKind.UPDATE, Cause.IMAGE_DIFFERS),
        ({"name": "renamed"}, StepKind.UPDATE, Cause.METADATA_DIFFERS),
        ({"restart_generation": 3}, StepKind.REPLACE, Cause.RESTART_ASKED),
        ({"cpu": "2", "image": "desk/vwap:2"}, StepKind.REPLACE, Cause.SPEC_DIFFERS),
        ({"enabled": ""}, StepKind.DELETE, Cause.SWITCHED_OFF),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else str(value),
)
def test_e4_another_wish_does_not_wait_for_a_resize(wish: dict[str, str], kind: StepKind, cause: Cause) -> None:
    step = only(desired_by(a_client(7, **wish)), RESIZING)
    assert (step.kind, step.cause) == (kind, cause)


@pytest.mark.parametrize(
    ("mishap", "cause"),
    [
        ({"phase": "Failed"}, Cause.FINISHED),
        ({"environment": POD.environment._replace(spec="0123456789abcdef")}, Cause.SPEC_DIFFERS),
        ({"resize_refused": "Infeasible: too much"}, Cause.RESIZE_REFUSED),
    ],
    ids=["ended", "another template", "refused"],
)
def test_e4_a_replacement_does_not_wait_for_a_resize(mishap: dict[str, object], cause: Cause) -> None:
    step = only(WANTED, replace(RESIZING, **mishap))
    assert (step.kind, step.cause) == (StepKind.REPLACE, cause)


def test_e4_a_resize_of_what_admission_has_rewritten_is_waited_for_too() -> None:
    rewritten = replace(RESIZING, resources=RESIZING.resources._replace(cpu_limit="3"))
    note = note_of(WANTED.pods[key(7)], rewritten)
    step = only(WANTED, replace(rewritten, annotations=annotated(admitted=note)))
    assert (step.kind, step.cause) == (StepKind.WAIT, Cause.RESIZING)


# Names ----------------------------------------------------------------------------------------------------------------


HELMS = "a pod managed by Helm"


def test_a_taken_name_is_a_conflict_that_says_who_holds_it() -> None:
    step = only(WANTED, beside=others("vwap-107", "vwap-7", owner=HELMS))
    assert (step.kind, step.cause) == (StepKind.CONFLICT, Cause.NAME_TAKEN)
    assert step.reason == "the name is held by a pod managed by Helm"


def test_a_misnamed_pod_runs_on_while_a_foreign_pod_holds_its_right_name() -> None:
    step = only(WANTED, replace(POD, name="vwap-9"), beside=others("vwap-107", owner=HELMS))
    assert (step.kind, step.cause, step.name) == (StepKind.CONFLICT, Cause.NAME_TAKEN, "vwap-9")
    assert step.reason == "should be named vwap-107; but the name is held by a pod managed by Helm"


def test_a_foreign_name_that_nobody_wants_is_nobodys_business() -> None:
    assert in_brief(planned(OFF, beside=others("vwap-107", owner=HELMS))) == []


def test_a_misnamed_pod_that_is_terminating_is_waited_for() -> None:
    step = only(WANTED, replace(TERMINATING, name="vwap-9"))
    assert (step.kind, step.cause, step.name) == (StepKind.WAIT, Cause.TERMINATING, "vwap-9")


# Replacements that earlier passes have begun --------------------------------------------------------------------------


def away(desired: DesiredState, *pods: ObservedPod, beside: Others = NO_OTHERS) -> bool:
    """Whether the one replacement begun is one of a pod that is not back."""
    found = make_plan(desired, pods, NOW, beside).away
    assert found in ({}, {key(7): BEGUN})
    return bool(found)


def test_a_pod_is_away_until_one_of_its_key_lives() -> None:
    assert away(REPLACING)
    assert away(REPLACING, TERMINATING)
    assert away(REPLACING, STUCK)
    assert away(REPLACING, TERMINATING, pod_of(a_client(8)))
    assert not away(REPLACING, POD)
    assert not away(REPLACING, pod_of(a_client(7, restart_generation=1)))
    assert not away(REPLACING, TERMINATING, replace(POD, name="vwap-9"))


def test_a_pod_whose_name_is_taken_meanwhile_is_away_all_the_same() -> None:
    foreign = others("vwap-107", owner=HELMS)
    assert only(REPLACING, beside=foreign).cause is Cause.NAME_TAKEN
    assert away(REPLACING, beside=foreign)
    assert away(REPLACING, NOBODYS)


def test_a_pod_that_nobody_asks_for_is_not_away_and_one_of_an_invalid_row_is() -> None:
    begun = {key(7): BEGUN}
    assert not away(desired_by(a_client(7, enabled="hft"), begun=begun))
    assert not away(desired_by(a_client(7, enabled=""), begun=begun), TERMINATING)
    assert not away(desired_by(deleted=(7,), begun=begun))
    assert not away(desired_by(begun=begun))
    assert not away(desired_by(a_client(7, enabled="hft", cpu="1,5"), begun=begun))
    assert away(desired_by(a_client(7, cpu="1,5"), begun=begun))
    assert away(desired_by(a_client(7, cpu="1,5"), begun=begun), TERMINATING)


def test_what_was_begun_of_others_changes_nothing() -> None:
    assert planned(desired_by(CLIENT, begun={key(7, "hft"): BEGUN, key(8): BEGUN})) == planned(WANTED)


# Pods of the Go service -----------------------------------------------------------------------------------------------


def test_a_pod_by_the_go_services_spelling_is_not_doubled() -> None:
    step = only(WANTED, beside=others("vmap-107"))
    assert (step.kind, step.cause, step.name) == (StepKind.CONFLICT, Cause.NAME_TAKEN, "vwap-107")
    assert step.reason == (
        "vmap-107, its name in the Go service, is held by a pod that syncctl did not make;"
        " if the Go service made it, `sync once --adopt` takes it over"
    )


def test_an_adopted_pod_is_replaced_under_its_right_name() -> None:
    step = only(WANTED, beside=Others(adoptable=(SEED,)))
    assert (step.kind, step.name, step.reason) == (
        StepKind.REPLACE,
        "vmap-107",
        "made by the Go service; becomes vwap-107",
    )


def test_a_pod_of_the_go_service_beside_ours_is_a_duplicate() -> None:
    steps = planned(WANTED, POD, beside=Others(adoptable=(SEED,)))
    assert in_brief(steps) == [("delete", "duplicate", "vmap-107"), ("keep", "in-sync", "vwap-107")]


def test_a_pod_that_has_ended_is_replaced_when_the_go_services_one_goes_in_the_same_plan() -> None:
    steps = planned(WANTED, replace(POD, phase="Failed"), beside=others("vmap-107", adoptable=(SEED,)))
    assert in_brief(steps) == [("delete", "duplicate", "vmap-107"), ("replace", "finished", "vwap-107")]


def test_our_own_pod_comes_before_a_rightly_named_one_of_the_go_service() -> None:
    steps = planned(WANTED, replace(POD, name="vwap-9"), beside=Others(adoptable=(replace(SEED, name="vwap-107"),)))
    assert in_brief(steps) == [("delete", "duplicate", "vwap-107"), ("replace", "misnamed", "vwap-9")]


def test_a_terminating_pod_of_the_go_service_is_waited_for() -> None:
    assert only(WANTED, beside=Others(adoptable=(replace(SEED, deleted_at=LEAVING),))).kind is StepKind.WAIT


def test_a_pod_of_the_go_service_stops_when_its_algorithm_is_off() -> None:
    step = only(OFF, beside=Others(adoptable=(SEED,)))
    assert (step.kind, step.cause, step.name) == (StepKind.DELETE, Cause.SWITCHED_OFF, "vmap-107")


def test_pods_of_the_go_service_that_are_nobodys_or_of_an_invalid_client_are_left_alone() -> None:
    assert planned(desired_by(), beside=Others(adoptable=(SEED,))) == ()
    assert in_brief(planned(INVALID, beside=Others(adoptable=(SEED,)))) == [("conflict", "client-invalid", "vwap-107")]


# Duplicates -----------------------------------------------------------------------------------------------------------


def test_of_two_pods_the_rightly_named_one_stays() -> None:
    steps = planned(WANTED, replace(POD, name="vwap-1"), POD)
    assert in_brief(steps) == [("delete", "duplicate", "vwap-1"), ("keep", "in-sync", "vwap-107")]
    assert steps[0].reason == "vwap of client 7 may run twice: vwap-1 beside vwap-107"
    assert steps[0].desired is None


def test_of_two_misnamed_pods_one_goes_and_the_other_is_replaced() -> None:
    steps = planned(WANTED, replace(POD, name="vwap-2"), replace(POD, name="vwap-1"))
    assert in_brief(steps) == [("delete", "duplicate", "vwap-2"), ("replace", "misnamed", "vwap-1")]


def test_of_two_misnamed_pods_the_living_one_is_the_one_to_replace() -> None:
    steps = planned(WANTED, replace(POD, name="vwap-1", deleted_at=LEAVING), replace(POD, name="vwap-2"))
    assert ("replace", "misnamed", "vwap-2") in in_brief(steps)


def test_a_terminating_duplicate_is_waited_for() -> None:
    steps = planned(WANTED, POD, replace(TERMINATING, name="vwap-9"))
    assert in_brief(steps) == [("wait", "terminating", "vwap-9"), ("keep", "in-sync", "vwap-107")]


def test_three_pods_of_a_key_leave_one() -> None:
    steps = planned(WANTED, *(replace(POD, name=name) for name in ("a", "vwap-107", "b")))
    assert in_brief(steps) == [
        ("delete", "duplicate", "a"),
        ("delete", "duplicate", "b"),
        ("keep", "in-sync", "vwap-107"),
    ]


def test_all_pods_of_a_switched_off_key_go() -> None:
    steps = planned(OFF, replace(POD, name="vwap-9"), POD, replace(TERMINATING, name="vwap-8"))
    assert in_brief(steps) == [
        ("delete", "switched-off", "vwap-107"),
        ("delete", "switched-off", "vwap-9"),
        ("wait", "terminating", "vwap-8"),
    ]


# Invalid rows and vanished rows ---------------------------------------------------------------------------------------


def test_each_enabled_algorithm_of_an_invalid_client_is_reported() -> None:
    steps = planned(desired_by(a_client(7, enabled="vwap twap hft", image="UPPER case")), POD)
    assert in_brief(steps) == [
        ("conflict", "client-invalid", "twap-107"),
        ("conflict", "client-invalid", "hft-107"),
        ("keep", "client-invalid", "vwap-107"),
    ]


def test_a_terminating_pod_of_an_invalid_client_is_waited_for() -> None:
    step = only(INVALID, TERMINATING)
    assert (step.kind, step.cause) == (StepKind.WAIT, Cause.TERMINATING)


def test_each_of_two_pods_of_an_invalid_client_is_left_with_the_same_reason() -> None:
    one, other = planned(INVALID, POD, replace(POD, name="vwap-9"))
    assert one.reason == other.reason


def test_an_algorithm_of_an_invalid_client_that_is_switched_off_stops() -> None:
    steps = planned(desired_by(a_client(7, enabled="twap", cpu="0")), POD)
    assert in_brief(steps) == [("delete", "switched-off", "vwap-107"), ("conflict", "client-invalid", "twap-107")]


def test_a_wholly_switched_off_invalid_client_stops_without_a_word() -> None:
    assert only(desired_by(a_client(7, enabled="", cpu="0")), POD).cause is Cause.SWITCHED_OFF


def test_a_vanished_status_row_makes_an_orphan_and_not_a_switched_off_algorithm() -> None:
    step = only(desired_by(a_client(7, algorithms=None)), POD)
    assert step.cause is Cause.ORPHAN
    assert step.reason.startswith("orphan: the row in algorithm_status of client 7 has vanished from the database")


def test_a_renamed_client_does_not_wait_for_its_own_pod() -> None:
    steps = planned(desired_by(a_client(7, name="new", enabled="vwap twap")), pod_of(a_client(7, name="old")))
    assert {step.kind for step in steps} == {StepKind.UPDATE, StepKind.CREATE}


def test_a_client_put_back_by_hand_is_no_deleted_client() -> None:
    assert only(desired_by(a_client(7, enabled=""), deleted=(7,)), POD).cause is Cause.SWITCHED_OFF


# Comparison -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpu", "memory"),
    list(product(["1500m", "1.5", "1500000u", "15e-1"], ["1Gi", "1024Mi", "1073741824", "1048576Ki"])),
)
def test_quantities_of_equal_value_are_equal(cpu: str, memory: str) -> None:
    pod = replace(POD, resources=Resources(cpu, memory, cpu, memory))
    assert only(WANTED, pod).kind is StepKind.KEEP
    assert only(desired_by(a_client(7, cpu=cpu, memory=memory)), POD).kind is StepKind.KEEP


def test_a_request_that_differs_from_its_limit_is_a_difference_even_when_one_is_right() -> None:
    pod = replace(POD, resources=POD.resources._replace(cpu_request="1"))
    assert only(WANTED, pod).reason == "cpu 1/1500m -> 1500m"


def test_what_the_clusters_admission_made_of_a_pod_is_not_undone() -> None:
    rewritten = replace(POD, image="mirror/desk/vwap:1.4.2", resources=POD.resources._replace(cpu_request="750m"))
    wanted = WANTED.pods[key(7)]
    admitted = replace(rewritten, annotations=annotated(admitted=note_of(wanted, rewritten)))
    assert only(WANTED, admitted).kind is StepKind.KEEP
    assert only(WANTED, replace(admitted, image="desk/vwap:hotfix")).kind is StepKind.REPLACE
    assert only(desired_by(a_client(7, image="desk/vwap:2")), admitted).kind is StepKind.REPLACE


def test_labels_and_annotations_of_others_are_left_alone() -> None:
    pod = replace(
        POD,
        labels={**POD.labels, "topology.kubernetes.io/zone": "a"},
        annotations={**POD.annotations, "kubectl.kubernetes.io/last-applied-configuration": "{}"},
    )
    assert only(WANTED, pod).kind is StepKind.KEEP


def test_a_label_of_the_template_that_is_missing_is_put_on() -> None:
    template = make_template({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"team": "desk-9"}}})
    desired = desired_by(CLIENT, blueprint=Blueprint(template, FLEET, "desk"))
    step = only(desired, POD)
    assert (step.kind, step.reason) == (StepKind.UPDATE, "team none -> desk-9")


def test_a_finished_pod_is_replaced_whatever_else_differs() -> None:
    pod = replace(pod_of(a_client(7, image="desk/vwap:1.4.1")), phase="Failed")
    assert only(WANTED, pod).cause is Cause.FINISHED


def test_a_restart_that_also_changes_the_image_is_one_replacement() -> None:
    step = only(desired_by(a_client(7, image="desk/vwap:1.5", restart_generation=3)), POD)
    assert (step.kind, step.cause) == (StepKind.REPLACE, Cause.RESTART_ASKED)


def test_a_generation_that_went_back_is_a_restart_too() -> None:
    step = only(desired_by(a_client(7, restart_generation=1)), POD)
    assert (step.cause, step.reason) == (Cause.RESTART_ASKED, "restart asked for: generation 2 -> 1")


# The plan as a whole --------------------------------------------------------------------------------------------------


def test_steps_carry_both_sides() -> None:
    step = only(WANTED, TERMINATING)
    assert (step.key, step.desired, step.observed) == (key(7), WANTED.pods[key(7)], TERMINATING)


def test_a_plan_is_sorted_by_kind_then_priority_then_client_then_algorithm() -> None:
    clients = [
        a_client(1, enabled="hft twap vwap", priority=1),
        a_client(2, priority=-1),
        a_client(3, priority=9.5, enabled="hft"),
        a_client(4, priority=9.5),
        a_client(5, enabled=""),
        a_client(6),
    ]
    steps = planned(desired_by(*reversed(clients)), pod_of(a_client(5)), pod_of(a_client(6)))
    assert [step.name for step in steps] == [
        "vwap-105",
        "hft-103",
        "vwap-104",
        "vwap-101",
        "twap-101",
        "hft-101",
        "vwap-102",
        "vwap-106",
    ]
    assert [step.kind.value for step in steps] == ["delete", *["create"] * 6, "keep"]


def test_b1_what_was_ended_for_it_comes_before_all_that_is_merely_missing_whatever_its_priority() -> None:
    clients = [a_client(1, priority=9.5), a_client(2, priority=-1), a_client(3, priority=0), a_client(4, priority=1)]
    steps = planned(desired_by(*clients, begun={key(2): BEGUN, key(3): BEGUN}))
    assert [step.name for step in steps] == ["vwap-103", "vwap-102", "vwap-101", "vwap-104"]


def test_a1_all_pods_of_a_key_have_a_claim_to_it_before_another_is_made() -> None:
    restarted, resized = a_client(7, restart_generation=3), a_client(8, cpu="2")
    leaving = replace(POD, name="vwap-8", uid="b", deleted_at=LEAVING)
    pods = [POD, replace(POD, name="vwap-9", uid="a"), leaving, pod_of(a_client(8)), pod_of(a_client(9))]
    desired = desired_by(restarted, resized, a_client(9, name="renamed"), a_client(10))
    plan = make_plan(desired, pods, NOW, Others(adoptable=(replace(SEED, uid="seed"),)))
    assert plan.claims.keys() == {key(7), key(8)}
    assert {pod.uid for pod in plan.claims[key(7)]} == {POD.uid, "a", "b", "seed"}
    assert [pod.uid for pod in plan.claims[key(8)]] == [pod_of(a_client(8)).uid]


def a_plan_of_everything() -> Plan:
    desired = desired_by(
        a_client(1), a_client(2, version=9), a_client(3, restart_generation=9), a_client(4), a_client(5), a_client(6)
    )
    pods = [
        pod_of(a_client(2)),
        pod_of(a_client(3)),
        pod_of(a_client(4), deleted_at=LEAVING),
        pod_of(a_client(5)),
        pod_of(a_client(8)),
    ]
    return make_plan(desired, pods, NOW, others("vwap-106", owner=HELMS))


def test_counts_name_every_kind_and_add_up() -> None:
    found = a_plan_of_everything()
    assert found.counts() == {
        StepKind.DELETE: 1,
        StepKind.REPLACE: 1,
        StepKind.CREATE: 1,
        StepKind.UPDATE: 1,
        StepKind.WAIT: 1,
        StepKind.CONFLICT: 1,
        StepKind.KEEP: 1,
    }
    assert make_plan(desired_by(), [], NOW, Others()).counts() == dict.fromkeys(StepKind, 0)
    assert [found.count(kind) for kind in StepKind] == list(found.counts().values())


def test_what_is_in_sync_stands_apart_from_what_has_drifted() -> None:
    found = a_plan_of_everything()
    (kept,) = found.in_sync
    assert (kept.kind, kept.cause) == (StepKind.KEEP, Cause.IN_SYNC)
    assert found.steps == (*found.drifted, kept)
    assert all(step.cause is not Cause.IN_SYNC for step in found.drifted)


@pytest.mark.parametrize(
    ("desired", "pods", "drift"),
    [
        (desired_by(), [], False),
        (WANTED, [POD], False),
        (WANTED, [], True),
        (WANTED, [TERMINATING], True),
        (OFF, [POD], True),
        (INVALID, [], True),
        (INVALID, [POD], True),
    ],
    ids=["nothing", "in sync", "missing", "waiting", "too much", "invalid without pod", "invalid with pod"],
)
def test_drift_is_whatever_is_not_as_the_database_asks(
    desired: DesiredState, pods: list[ObservedPod], drift: bool
) -> None:
    assert bool(make_plan(desired, pods, NOW, Others()).drifted) is drift


def test_a_plan_keeps_the_blueprint_it_was_made_with() -> None:
    assert make_plan(WANTED, [], NOW, Others()).blueprint is BLUEPRINT


def test_what_is_made_from_the_manifest_is_kept() -> None:
    desired = desired_by(a_client(7, enabled="vwap twap hft"))
    pods = [as_observed(pod_manifest(desired.blueprint, pod)) for pod in desired.pods.values()]
    assert {step.kind for step in planned(desired, *pods)} == {StepKind.KEEP}


# A1: name and environment ---------------------------------------------------------------------------------------------


def test_a1_a_pod_that_is_right_but_for_its_environment_is_no_match() -> None:
    for environment in (POD.environment._replace(client_id="9"), POD.environment._replace(algorithm="hft")):
        steps = planned(WANTED, replace(POD, environment=environment))
        assert {(step.kind, step.cause) for step in steps} == {(StepKind.CONFLICT, Cause.IDS_MOVED)}


def test_a1_what_is_left_for_ids_that_have_moved_is_no_step_of_which_the_guard_is_unsure() -> None:
    # Of one key a pod by another name, which the environment alone puts to it, and one whose name says another key.
    desired = desired_by(a_client(7, status_id=300), a_client(8, status_id=107))
    steps = planned(desired, POD, replace(POD, name="hand-1", uid="by-hand"))
    by_hand = next(step for step in steps if step.name == "hand-1")
    assert (by_hand.kind, by_hand.cause, by_hand.unsure) == (StepKind.CONFLICT, Cause.IDS_MOVED, "")


@pytest.mark.parametrize("ended", [{"phase": "Failed"}, {"reason": "NodeLost"}], ids=["failed", "lost with its node"])
def test_a1_new_pods_of_both_its_keys_wait_for_an_ended_one_whose_ids_have_moved(ended: dict[str, str]) -> None:
    desired = desired_by(a_client(7, status_id=300), a_client(8, status_id=107))
    assert in_brief(planned(desired, replace(POD, **ended))) == [
        ("delete", "ids-moved", "vwap-107"),
        ("wait", "terminating", "vwap-300"),
        ("wait", "terminating", "vwap-107"),
    ]
    # One that would be made under another name waits too, and what is to be ended does not.
    desired = desired_by(a_client(8, status_id=108), adopted={107: 8})
    steps = planned(desired, replace(POD, **ended), pod_of(a_client(9)))
    assert in_brief(steps) == [
        ("delete", "ids-moved", "vwap-107"),
        ("delete", "orphan", "vwap-109"),
        ("wait", "terminating", "vwap-108"),
    ]


def test_a1_a_pod_of_moved_ids_that_goes_is_waited_for_by_both_its_keys() -> None:
    desired = desired_by(a_client(7, status_id=300), a_client(8, status_id=107))
    steps = planned(desired, replace(POD, deleted_at=LEAVING))
    assert {(step.kind, step.cause) for step in steps} == {(StepKind.WAIT, Cause.TERMINATING)}
    assert {step.name for step in steps} == {"vwap-300", "vwap-107"}


@pytest.mark.parametrize("change", [{"restart_generation": 3}, {"cpu": "1"}], ids=["a restart", "a resize"])
def test_a1_no_replacement_begins_while_another_pod_may_be_the_same(change: dict[str, object]) -> None:
    steps = planned(desired_by(a_client(7, **change)), POD, NOBODYS)
    assert in_brief(steps) == [("conflict", "claimed", "vwap-107"), ("conflict", "unidentified", "by-hand")]
    assert steps[0].reason.endswith("if it is not, `kubectl delete pod by-hand`")
    # A person's stop needs nobody's word but that.
    assert ("delete", "switched-off", "vwap-107") in in_brief(planned(OFF, POD, NOBODYS))


def test_a2_a_pod_of_another_fleet_holds_its_name_and_no_key() -> None:
    desired = desired_by(CLIENT, adopted={9: 7})
    theirs = others("vwap-9", "vmap-107", owner="a pod of another fleet", labels={names.FLEET: "another"})
    assert only(desired, beside=theirs).kind is StepKind.CREATE
    assert only(desired, beside=others("vwap-9")).cause is Cause.NAME_TAKEN
    theirs = others("vwap-107", owner="a pod of another fleet", labels={names.FLEET: "another"})
    assert only(desired, beside=theirs).cause is Cause.NAME_TAKEN
