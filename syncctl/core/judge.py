"""What may be done of a plan now, and what is held: the one judge of pass, plan and status. Pure."""

from msgspec import Struct

from syncctl.core.facts import Counts, Facts, HoldRule, Notes, Refusal, Rules
from syncctl.core.holds import back_off, guard, halt, home, pace, policy, settings, suspended
from syncctl.core.saved import plan_digest
from syncctl.core.steps import Plan

ORDER: tuple[HoldRule, ...] = (
    policy.hold,
    home.hold,
    suspended.hold,
    guard.hold,
    settings.hold,
    back_off.hold,
    halt.hold,
    pace.hold,
)
"""The holds, and which comes first: each judges what the ones before it let through."""


class JudgedPlan(Struct, frozen=True):
    """A plan with its holds, and the facts it was judged by.

    `refusals` are for a person, `notes` are to be written down before anything is done.
    """

    plan: Plan
    facts: Facts
    refusals: tuple[Refusal, ...]
    notes: Notes

    @property
    def suspended_in_sync(self) -> int:
        """How many of the pods that are in sync are to be left alone."""
        suspensions = self.facts.suspensions
        return sum(suspensions.of(wanted.key) is not None for wanted, _ in self.plan.matches) if suspensions else 0

    @property
    def digest(self) -> str:
        """What identifies this plan, for this cluster."""
        return plan_digest(self.plan, self.facts.cluster)


def judge(plan: Plan, facts: Facts, rules: Rules) -> JudgedPlan:
    """Hold what may not be done now."""
    refusals: tuple[Refusal, ...] = ()
    notes = Notes()
    for hold in ORDER:
        held = hold(plan, facts, rules)
        plan = plan.holding(held.holds)
        refusals += held.refusals
        notes += held.notes
    return JudgedPlan(plan, facts, refusals, notes)


def home_matters(plan: Plan, facts: Facts, rules: Rules) -> bool:
    """Whether judging the plan takes to know where this is."""
    return home.matters(_before(home.hold, plan, facts, rules), facts, rules)


def count(plan: Plan, facts: Facts, rules: Rules) -> Counts:
    """Return what the guard counts in this plan: other shards have to know of it."""
    return guard.count(_before(guard.hold, plan, facts, rules), facts)


def _before(last: HoldRule, plan: Plan, facts: Facts, rules: Rules) -> Plan:
    """Return the plan as that hold is to judge it."""
    for hold in ORDER[: ORDER.index(last)]:
        plan = plan.holding(hold(plan, facts, rules).holds)
    return plan
