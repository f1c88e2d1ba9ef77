"""Leave alone what somebody has suspended: as it was when the word came, or stopped if that was the word. Pure.

A person's stop goes through, and so does the rest of a replacement that was begun before: else nothing would run until
the end of the suspension.
"""

from syncctl.core.facts import Facts, Held, Rules
from syncctl.core.holds.guard import is_persons_word
from syncctl.core.steps import Cause, Hold, HoldKind, Plan, Step, StepKind


def hold(plan: Plan, facts: Facts, rules: Rules) -> Held:  # noqa: ARG001 - the signature of a hold
    """Hold all that would be done to what is suspended, but for what stops it."""
    if not facts.suspensions:
        return Held()
    holds = {}
    for step in plan.drifted:
        found = facts.suspensions.of(step.key)
        if found is None or goes_through(step) or _is_begun(step, plan, facts):
            continue
        holds[step.name] = Hold(HoldKind.SUSPENDED, found.words)
    return Held(holds)


def goes_through(step: Step) -> bool:
    """Whether no suspension keeps it: it ends what a person has stopped, by a row or a suspension; the guard may judge.

    Or it lets the shard find the pod that takes care of it: one that nobody finds nobody can stop.
    """
    stops = is_persons_word(step) or (step.cause is Cause.STOPPED and step.kind is StepKind.DELETE)
    return stops or step.cause is Cause.BUCKET_DIFFERS


def _is_begun(step: Step, plan: Plan, facts: Facts) -> bool:
    """Whether it makes the successor of a pod that was told to go: that has gone, and not merely a row says so."""
    if step.cause is not Cause.REPLACEMENT_BEGUN or step.key is None:
        return False
    begun = facts.begun.get(step.key)
    if begun is None or not begun.uids:
        return False
    return all(each.observed is None or each.observed.uid not in begun.uids for each in plan.drifted)
