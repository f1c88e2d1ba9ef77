"""The judge: which holds there are, in which order, and that none counts what one before it has held."""

import pkgutil
from datetime import timedelta

import pytest
from msgspec.structs import replace

from syncctl.core import holds
from syncctl.core.facts import HoldRule, Notes, Policy, Refusal, Rules
from syncctl.core.holds import guard
from syncctl.core.judge import ORDER, count, home_matters, judge
from syncctl.core.memory import BackOff, GuardKind, Home
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.steps import ACTING, Cause, Hold, HoldKind, Plan
from syncctl.core.suspensions import NO_SUSPENSIONS, suspensions_of

from .builders import NOW, RULES, a_client, a_suspension, desired_by, facts_of, key, pod_of

STRICT = replace(RULES, orphan_limit=0, orphan_percent=0.0, switch_off_limit=1, replace_percent=0.0)
CRASHED = {"phase": "Failed"}
HERE, HOME = Home("here", "namespace b"), Home("home", "namespace a")
FACTS = facts_of(
    home=HOME,
    here=HERE,
    back_offs={key(1): BackOff(1, NOW + timedelta(minutes=4), "", "the one before")},
    latches={},
    suspensions=suspensions_of([a_suspension()]),
)


def name_of(hold: HoldRule) -> str:
    return hold.__module__.rpartition(".")[2]


def a_plan_of_everything() -> Plan:
    """Return a plan that replaces an ended pod (1) and 20 that run (2 to 21), creates one (30), ends two (40, 41)."""
    rows = [a_client(number) for number in (1, *range(2, 22), 30)]
    off = [a_client(number) for number in (40, 41)]
    pods = [pod_of(rows[0], **CRASHED), *(pod_of(replace(row, restart_generation=7)) for row in rows[1:21])]
    rows += [replace(row, algorithms=a_client(row.id, enabled="").algorithms) for row in off]
    orphan = pod_of(a_client(50))
    return make_plan(desired_by(*rows), [*pods, *map(pod_of, off), orphan], NOW, Others())


def test_the_holds_are_judged_in_this_order() -> None:
    assert [name_of(hold) for hold in ORDER] == [
        "policy",
        "home",
        "suspended",
        "guard",
        "settings",
        "back_off",
        "halt",
        "pace",
    ]


def test_every_file_of_the_room_is_a_hold_that_is_judged() -> None:
    assert sorted(map(name_of, ORDER)) == sorted(module.name for module in pkgutil.iter_modules(holds.__path__))


# What the guard judges it judges whatever else holds it.
@pytest.mark.parametrize("hold", [hold for hold in ORDER if hold is not guard.hold], ids=name_of)
def test_a_hold_refuses_nothing_that_one_before_it_holds(hold: HoldRule) -> None:
    plan, why = a_plan_of_everything(), Hold(HoldKind.DEFERRED, "by one before")
    held = plan.holding({step.name: why for step in plan.drifted})
    assert {step.held for step in held.drifted if step.kind in ACTING} == {why}
    found = hold(held, FACTS, replace(STRICT, policy=Policy.CREATE_ONLY))
    assert (held.holding(found.holds), found.refusals, found.notes) == (held, (), Notes())


@pytest.mark.parametrize(
    ("rules", "kinds", "refusals"),
    [
        # What may not be made here is not counted by the guard, does not back off and takes no part of the pace.
        (STRICT, {"REFUSED": 25}, 3),
        (replace(STRICT, policy=Policy.CREATE_ONLY), {"DEFERRED": 24, "REFUSED": 1}, 2),
        (replace(STRICT, move_here=True), {"REFUSED": 3, "BACK_OFF": 1, "DEFERRED": 10}, 2),
    ],
)
def test_a_step_is_held_by_the_first_that_has_a_reason(rules: Rules, kinds: dict[str, int], refusals: int) -> None:
    judged = judge(a_plan_of_everything(), replace(FACTS, suspensions=NO_SUSPENSIONS), rules)
    found = [step.held.kind.name for step in judged.plan.drifted if step.held]
    assert {kind: found.count(kind) for kind in set(found)} == kinds
    assert len(judged.refusals) == refusals
    assert all(isinstance(refusal, Refusal) for refusal in judged.refusals)


def test_what_is_to_be_written_down_is_gathered_from_all_holds() -> None:
    judged = judge(a_plan_of_everything(), facts_of(here=HERE), STRICT)
    assert judged.notes.new_home == HERE
    assert judged.notes.refused == {GuardKind.ORPHANS}
    assert judged.notes.back_offs.keys() == {key(1)}
    assert judged.notes.allowed == ()


def test_what_shards_tell_each_other_is_what_the_guard_counts_in_its_turn() -> None:
    plan = a_plan_of_everything()
    assert count(plan, FACTS, STRICT).orphans == 1
    # Whatever holds it before that: a table that is truncated must not hide behind that.
    assert count(plan, FACTS, replace(STRICT, policy=Policy.UPSERT_ONLY)).orphans == 1


def test_where_this_is_matters_to_who_may_make_a_pod() -> None:
    plan = a_plan_of_everything()
    only_ends = replace(plan, drifted=tuple(step for step in plan.drifted if step.cause is Cause.ORPHAN))
    assert home_matters(plan, FACTS, RULES)
    assert not home_matters(only_ends, FACTS, RULES)
    # Once for a fleet from before there were homes, and for who says that it has moved.
    assert home_matters(only_ends, facts_of(), RULES)
    assert home_matters(only_ends, FACTS, replace(RULES, move_here=True))
