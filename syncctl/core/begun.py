"""Know replacements from pass to pass, for an old pod may take longer to go than a pass lasts. Pure.

Before a pass tells an old pod to go it writes down that it will, and at its end it forgets what it has seen through.
In between the pod is away, however many passes that takes and however many of them are killed.

Once it is gone, its successor is asked for again and again: nearly everything that an API server says against a pod is
true for the moment only, and meanwhile nothing runs.
"""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from syncctl.core.desired import DesiredState
from syncctl.core.errors import ClusterError, QuotaExceeded
from syncctl.core.memory import Begun
from syncctl.core.model import PodKey
from syncctl.core.report import AS_ASKED, Report, Result
from syncctl.core.steps import Cause, Plan, Step, StepKind

SAME_WORDS = 60.0
"""Seconds of one and the same refusal after which a pass does not stay for it alone: longer than a webhook's pod or an
API server takes to be back."""
SAME_WORDS_OF_QUOTA = 120.0
"""The same where a quota is said to be used up: its status follows the pods that have gone, by up to two minutes."""
MALFORMED_TRIES = 3
"""How often a pod is asked for that the API server calls malformed. It is the same pod each time, but what is laid over
it (defaults, a mutating webhook) may be mended meanwhile."""
_MALFORMED = (400, 422)


def to_begin(plan: Plan, now: datetime) -> dict[PodKey, Begun]:
    """Return the replacements that a plan begins; one of a pod that has ended stops no process."""
    return {
        step.key: Begun(
            now,
            step.cause is not Cause.FINISHED,
            step.cause.value,
            frozenset(pod.uid for pod in plan.claims.get(step.key, ())),
        )
        for step in plan.drifted
        if step.key is not None and _begins(step)
    }


def still_away(desired: DesiredState, plan: Plan) -> dict[PodKey, Begun]:
    """Return the begun replacements that are still wanted, by an invalid row too, and whose successor nobody has seen.

    That is a live pod, or one that is on its way out by now and is none of those that made way.
    """
    back = {wanted.key for wanted, _ in plan.matches}
    for step in plan.drifted:
        pod, key = step.observed, step.key
        begun = desired.begun.get(key) if key else None
        if key is None or pod is None or begun is None or step.cause is Cause.UNIDENTIFIED:
            continue
        if not pod.terminating or (begun.uids and pod.uid not in begun.uids):
            back.add(key)
    return {key: each for key, each in desired.begun.items() if key not in back and desired.asks_for(key)}


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
        if step.key is not None and (outcome.result in AS_ASKED or put_off):
            left.discard(step.key)
    return (begins | set(known)) - left


class Refusals(Struct, frozen=True):
    """How often a request was refused: the last words, and since when they have been the same.

    `malformed` counts those that called the pod itself malformed; `of_quota` tells whether the last one was a quota's.
    Times are seconds by one clock.
    """

    words: str
    since: float
    number: int
    malformed: int
    of_quota: bool

    def stale(self, now: float) -> bool:
        """Whether it has been the same for so long that a pass need not stay for it."""
        return now - self.since >= (SAME_WORDS_OF_QUOTA if self.of_quota else SAME_WORDS)

    @property
    def final(self) -> bool:
        """Whether to ask again is of no use."""
        return self.malformed >= MALFORMED_TRIES


def refused(before: Refusals | None, error: ClusterError, now: float) -> Refusals:
    """Return the refusals with one more."""
    malformed = error.status in _MALFORMED
    of_quota = isinstance(error, QuotaExceeded)
    if before is None:
        return Refusals(error.message, now, 1, int(malformed), of_quota)
    since = before.since if before.words == error.message else now
    return Refusals(error.message, since, before.number + 1, before.malformed + malformed, of_quota)


def _begins(step: Step) -> bool:
    """Whether the step may tell an old pod to go and make a new one. A resize may come to that."""
    return step.held is None and step.may_make_pod and step.kind is not StepKind.CREATE
