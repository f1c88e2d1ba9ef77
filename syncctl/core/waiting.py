"""Is it so yet: what `syncctl wait` waits for, judged pod by pod. Pure."""

from enum import StrEnum

from msgspec import Struct

from syncctl.core.health import STOPPED, HealthStatus
from syncctl.core.status import StatusRow
from syncctl.core.steps import Cause, HoldKind, StepKind


class Goal(StrEnum):
    """What somebody waits for."""

    HEALTHY = "healthy"
    SYNCED = "synced"
    GONE = "gone"


class Verdict(Struct, frozen=True):
    """About one pod: it is so, or not yet, or never without a person; `why` in words."""

    pod: str
    done: bool
    why: str
    never: bool = False


_NEVER = ("InvalidImageName", "CreateContainerConfigError", "ErrImageNeverPull", "CreateContainerError")
"""Why a container does not start and never will, as the kubelet words it."""
_PULLS = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable")
_PATIENCE = 120.0
"""Seconds for which a pull that fails, or a pod that fits nowhere, may yet mend itself."""
_CRASHES = 3
"""Restarts of a container in a crash loop that are enough to say that it will go on."""
_HELD = frozenset({HoldKind.REFUSED, HoldKind.HALTED, HoldKind.SUSPENDED})
"""Holds that end by a person, or at the time that one has said; the pace and a back-off end by themselves."""


def verdict(row: StatusRow, goal: Goal, troubled_for: float) -> Verdict:
    """Judge one pod; `troubled_for` is for how many seconds it has been seen with the trouble it has now."""
    step, health = row.step, row.health
    name = step.name
    if goal is Goal.GONE and row.health is STOPPED:
        return Verdict(name, done=True, why=str(goal))
    if step.held and step.held.kind in _HELD:
        return Verdict(name, done=False, why=f"{step.held.kind}: {step.held.why}", never=True)
    if step.kind is StepKind.CONFLICT or step.cause is Cause.CLIENT_INVALID:
        return Verdict(name, done=False, why=step.reason, never=True)
    if goal is Goal.GONE:
        why = "still wanted" if step.desired is not None else f"still {health.code}"
        return Verdict(name, done=False, why=why, never=step.desired is not None)
    if step.is_drift:
        held = f" ({step.held.kind}: {step.held.why})" if step.held else ""
        return Verdict(name, done=False, why=f"{step.kind}: {step.reason}{held}")
    if goal is Goal.SYNCED or health.status is HealthStatus.HEALTHY:
        return Verdict(name, done=True, why=str(goal))
    return Verdict(name, done=False, why=health.words, never=_is_hopeless(row, troubled_for))


def _is_hopeless(row: StatusRow, troubled_for: float) -> bool:
    """Whether a pod that is in sync will not get well without a person."""
    reason = row.health.reason
    if row.health.status is not HealthStatus.DEGRADED:
        return False
    if reason in _NEVER:
        return True
    if reason == "CrashLoopBackOff":
        return row.step.observed is not None and row.step.observed.restarts >= _CRASHES
    return (reason in _PULLS or reason == "Unschedulable") and troubled_for >= _PATIENCE
