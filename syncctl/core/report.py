"""What became of a plan. Pure."""

import re
from collections import Counter
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from msgspec import Struct

from syncctl.core import names
from syncctl.core.facts import Refusal
from syncctl.core.health import Health, HealthCode, pod_health
from syncctl.core.holds.guard import is_left_duplicate
from syncctl.core.steps import Cause, HoldKind, Plan, Step


class Result(StrEnum):
    """What became of a step, in the order of the summary line."""

    CREATED = "created"
    REPLACED = "replaced"
    UPDATED = "updated"
    DELETED = "deleted"
    UNCHANGED = "unchanged"
    WAITING = "waiting"
    DEFERRED = "deferred"
    SUSPENDED = "suspended"
    REFUSED = "refused"
    CONFLICT = "conflict"
    FAILED = "failed"


# Named in every summary line, also when there are none: what a person greps for.
_ALWAYS_NAMED = {Result.CREATED, Result.REPLACED, Result.DELETED, Result.UNCHANGED, Result.WAITING}

AS_ASKED = frozenset({Result.CREATED, Result.REPLACED, Result.UPDATED})
"""After these a pod is there as the rows ask, by this pass."""
_DONE = AS_ASKED | {Result.DELETED}
_NUMBERS = re.compile("[0-9]+")
_BEYOND = re.compile("[,;:]")

# Of steps put off: something does not run as it should, and nothing is under way that changes it.
_PROBLEMS = {HoldKind.HALTED, HoldKind.BACK_OFF}


class Outcome(Struct, frozen=True):
    """A step, what became of it, and why if that is not the step's own reason."""

    step: Step
    result: Result
    detail: str = ""

    @property
    def problem(self) -> str:
        """What became of a step that waits for somebody, and why, in words."""
        step, why = self.step, self.detail or self.step.reason
        if step.is_down:
            return f"does not run, and is {self.result} {why} ({step.reason})"
        halted = step.held is not None and step.held.kind is HoldKind.HALTED
        # Of a second pod that is left, that it runs is the error; why it is left the guard has said.
        return f"{HoldKind.HALTED if halted else self.result}: {step.reason if is_left_duplicate(step) else why}"

    @property
    def standing(self) -> str:
        """What tells whether an earlier pass has left this step just as this one does; "" when it was done.

        Numbers and times in the wording do not matter, nor what a hold says beyond why it is there: how many pods are
        paced, or which of them is ill at the moment, changes from pass to pass. A pod that names no client has nothing
        by which a shard could find it again.
        """
        step = self.step
        if self.result in _DONE or step.key is None:
            return ""
        if step.held is None:
            why = _NUMBERS.sub("#", f"{step.reason}\0{self.detail}")
        else:
            why = f"{step.reason}\0{step.held.kind}\0{_NUMBERS.sub('#', _BEYOND.split(step.held.why, 1)[0])}"
        uid = step.observed.uid if step.observed else ""
        parts = (step.name, uid, str(step.key), step.kind, step.cause, self.result, why)
        return sha256("\0".join(parts).encode()).hexdigest()[:16]


class Report(Struct, frozen=True):
    """One outcome for each drifted step of the plan; the pods that are in sync are unchanged.

    `refusals` says what the guard refused, `unhealthy` which pods are in trouble that a pass leaves as they are.
    `stopped_by` is the number of the signal that ended the pass early, and `lease_lost` says how it came to be no
    longer the one that may write; "" while it is. `suspended` is how many of the pods that are in sync are to be left
    alone.
    """

    plan: Plan
    outcomes: tuple[Outcome, ...]
    refusals: tuple[Refusal, ...] = ()
    stopped_by: int = 0
    lease_lost: str = ""
    unhealthy: tuple[tuple[str, Health], ...] = ()
    suspended: int = 0

    def counts(self) -> dict[Result, int]:
        """Return what became of how many steps; they add up to the number of steps."""
        found = Counter(outcome.result for outcome in self.outcomes)
        found[Result.UNCHANGED] += len(self.plan.matches) - self.suspended
        found[Result.SUSPENDED] += self.suspended
        return {result: found[result] for result in Result}

    @property
    def summary(self) -> str:
        """The line that a person greps for: `30 pods: 2 created, 1 replaced, 0 deleted, 26 unchanged, 1 waiting`."""
        counts = self.counts()
        parts = [f"{number} {result}" for result, number in counts.items() if number or result in _ALWAYS_NAMED]
        total = sum(counts.values())
        health = f"; {len(self.unhealthy)} of them not healthy" if self.unhealthy else ""
        lost = f"; ended early: {self.lease_lost}" if self.lease_lost else ""
        return f"{names.pods(total)}: {', '.join(parts)}{health}{lost}"

    @property
    def problems(self) -> tuple[Outcome, ...]:
        """The outcomes that wait for a person or a later pass, with nothing under way in between."""
        return tuple(
            outcome
            for outcome in self.outcomes
            if outcome.result in (Result.FAILED, Result.CONFLICT)
            or is_left_duplicate(outcome.step)
            or outcome.step.is_down
            # An ended pod that is left keeps another key waiting, which nobody has suspended.
            or (outcome.step.cause is Cause.IDS_MOVED and outcome.result is Result.SUSPENDED)
            or outcome.step.cause in (Cause.CLIENT_INVALID, Cause.STUCK)
            or (outcome.step.held is not None and outcome.step.held.kind in _PROBLEMS)
        )


def unhealthy(plan: Plan, now: datetime) -> tuple[tuple[str, Health], ...]:
    """Return, by name, the health of pods in trouble that are in sync, being resized or suspended.

    The kubelet tries these again, not we.
    """
    # Of the others, nearly all, there is nothing to be judged.
    doubtful = [pod for _, pod in plan.matches if pod.unready or pod.phase != "Running"]
    left = [step.observed for step in plan.drifted if step.cause is Cause.RESIZING or step.is_suspended]
    doubtful += [pod for pod in left if pod is not None and not pod.finished]
    judged = ((pod.name, pod_health(pod, now)) for pod in doubtful)
    return tuple((name, health) for name, health in judged if health.code is HealthCode.DEGRADED)
