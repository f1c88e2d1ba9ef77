"""Know replacements from pass to pass, for an old pod may take longer to go than a pass lasts. Pure.

Before a pass tells an old pod to go it writes down that it will, and at its end it forgets what it has seen through.
In between the pod is away, however many passes that takes and however many of them are killed.
"""

from collections.abc import Iterable
from datetime import datetime

from syncctl.core.model import Begun, PodKey
from syncctl.core.report import Report, Result
from syncctl.core.steps import Cause, Plan, Step, StepKind

_BACK = (Result.CREATED, Result.REPLACED, Result.UPDATED)


def to_begin(plan: Plan, now: datetime) -> dict[PodKey, Begun]:
    """Return the replacements that a plan begins; one of a pod that has ended stops no process."""
    return {
        step.key: Begun(now, stopped=step.cause is not Cause.FINISHED)
        for step in plan.drifted
        if step.key is not None and _begins(step)
    }


def to_forget(report: Report, known: Iterable[PodKey]) -> set[PodKey]:
    """Return which replacements need not be known any longer, of those known before the pass and those it was to begin.

    These are the ones that are back, that were not begun after all, or that nobody asks for. A pass that has lost its
    lease forgets nothing: what it knows of is another's by now.
    """
    if report.lease_lost:
        return set()
    begins = {step.key for step in report.plan.drifted if step.key is not None and _begins(step)}
    left = begins | report.plan.away.keys()
    for outcome in report.outcomes:
        step = outcome.step
        # With the lease in its hands, a pass puts off only what it has not begun.
        put_off = outcome.result is Result.DEFERRED and _begins(step)
        if step.key is not None and (outcome.result in _BACK or put_off):
            left.discard(step.key)
    return (begins | set(known)) - left


def _begins(step: Step) -> bool:
    """Whether the step may tell an old pod to go and make a new one. A resize may come to that."""
    return step.held is None and step.may_make_pod and step.kind is not StepKind.CREATE
