"""Is it so yet, or never."""

import pytest
from msgspec.structs import replace

from syncctl.core.comparison import compared
from syncctl.core.health import Health, HealthCode
from syncctl.core.manifest import pod_manifest
from syncctl.core.model import ContainerState
from syncctl.core.status import StatusRow
from syncctl.core.steps import Cause, Hold, HoldKind, Step, StepKind
from syncctl.core.waiting import Goal, verdict

from .builders import BLUEPRINT, as_observed, desired_pod

WANTED = desired_pod()
POD = as_observed(pod_manifest(BLUEPRINT, WANTED))
IN_SYNC = Step(StepKind.KEEP, Cause.IN_SYNC, POD.name, WANTED.key, "in sync", WANTED, POD)
CHANGED = compared(BLUEPRINT, replace(WANTED, image="b:2"), POD)
HEALTHY = Health(HealthCode.HEALTHY)


def judged(step: Step | None, health: Health = HEALTHY, goal: Goal = Goal.HEALTHY, seconds: float = 0) -> str:
    assert step is not None
    found = verdict(StatusRow("acme", step, health), goal, seconds)
    return "done" if found.done else "never" if found.never else "not yet"


def held(kind: HoldKind) -> Step:
    assert CHANGED is not None
    return replace(CHANGED, held=Hold(kind, "so"))


@pytest.mark.parametrize(
    ("goal", "step", "health", "expected"),
    [
        (Goal.HEALTHY, IN_SYNC, HEALTHY, "done"),
        (Goal.HEALTHY, IN_SYNC, Health(HealthCode.PROGRESSING, "starting"), "not yet"),
        (Goal.SYNCED, IN_SYNC, Health(HealthCode.DEGRADED, "CrashLoopBackOff"), "done"),
        # Healthy, and of the row as it was.
        (Goal.HEALTHY, CHANGED, HEALTHY, "not yet"),
        (Goal.SYNCED, CHANGED, HEALTHY, "not yet"),
        (Goal.GONE, IN_SYNC, HEALTHY, "never"),
        (Goal.GONE, replace(IN_SYNC, kind=StepKind.DELETE, cause=Cause.SWITCHED_OFF, desired=None), HEALTHY, "not yet"),
        (Goal.HEALTHY, replace(IN_SYNC, kind=StepKind.CONFLICT, cause=Cause.NAME_TAKEN), HEALTHY, "never"),
        (Goal.HEALTHY, replace(IN_SYNC, kind=StepKind.KEEP, cause=Cause.CLIENT_INVALID), HEALTHY, "never"),
    ],
)
def test_what_is_waited_for_is_so_or_not_yet_or_never(goal: Goal, step: Step, health: Health, expected: str) -> None:
    assert judged(step, health, goal) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (HoldKind.REFUSED, "never"),
        (HoldKind.HALTED, "never"),
        (HoldKind.DEFERRED, "not yet"),
        (HoldKind.BACK_OFF, "not yet"),
    ],
)
def test_what_a_person_has_to_end_is_never_and_what_ends_by_itself_not_yet(kind: HoldKind, expected: str) -> None:
    assert judged(held(kind)) == expected


@pytest.mark.parametrize(
    ("message", "seconds", "expected"),
    [
        ("InvalidImageName: bad", 0, "never"),
        ("CreateContainerConfigError: no such secret", 0, "never"),
        ("ImagePullBackOff: Back-off pulling", 0, "not yet"),
        ("ImagePullBackOff: Back-off pulling", 119, "not yet"),
        ("ImagePullBackOff: Back-off pulling", 120, "never"),
        ("Unschedulable: 0/3 nodes", 60, "not yet"),
        ("Unschedulable: 0/3 nodes", 121, "never"),
        ("not ready: the probe fails", 3600, "not yet"),
    ],
)
def test_trouble_is_never_at_once_or_after_a_while(message: str, seconds: float, expected: str) -> None:
    assert judged(IN_SYNC, Health(HealthCode.DEGRADED, message), seconds=seconds) == expected


@pytest.mark.parametrize(("restarts", "expected"), [(0, "not yet"), (2, "not yet"), (3, "never")])
def test_a_crash_loop_is_never_after_three_restarts(restarts: int, expected: str) -> None:
    pod = replace(POD, containers=(ContainerState("algorithm", restarts=restarts),))
    step = replace(IN_SYNC, observed=pod)
    assert judged(step, Health(HealthCode.DEGRADED, "CrashLoopBackOff: last run ended with Error")) == expected
