"""The guard: stop means stop, disappearance is suspicious. Limits are tested at the limit and one beyond."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from syncctl.core.facts import NOBODY_ELSE, Counts, Policy, Refusal
from syncctl.core.holds import guard as guarding
from syncctl.core.holds import home as homing
from syncctl.core.holds import policy as restricting
from syncctl.core.holds.guard import allowance_of
from syncctl.core.latch import to_disallow, to_latch, to_settle
from syncctl.core.memory import Allowance, GuardKind, Home, Latch
from syncctl.core.model import NO_ENVIRONMENT, Algorithm, Client, ObservedPod
from syncctl.core.names import NAMES_SHOWN
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.report import Outcome, Report, Result
from syncctl.core.shard import Shard
from syncctl.core.steps import Cause, Hold, HoldKind, Plan, Step, StepKind

from .builders import NOW, RULES, a_client, desired_by, facts_of, pod_of

Limits = Mapping[str, float]

DEFAULTS: Limits = {}
LEAVING = "2026-03-02T14:30:30Z"
# So many live pods that the percentage is no question at orphan_limit.
MANY = int(RULES.orphan_limit * 100 / RULES.orphan_percent) * 3
# So few that the count is no question at orphan_percent.
FEW = 20
PERCENT_OF_FEW = int(FEW * RULES.orphan_percent / 100)


def a_plan(*, live: int, orphans: int = 0, off: int = 0, deleted: int = 0, leaving: int = 0) -> Plan:
    """Return the plan of a fleet with so many live pods, of which so many have no right to be there.

    `leaving` orphans come on top: they have been told to go.
    """
    kept = [a_client(number) for number in range(1, live - orphans - off - deleted + 1)]
    switched_off = [a_client(number) for number in range(1001, 1001 + off)]
    removed = [a_client(number) for number in range(2001, 2001 + deleted)]
    vanished = [a_client(number) for number in range(3001, 3001 + orphans)]
    gone = [pod_of(a_client(number), deleted_at=LEAVING) for number in range(4001, 4001 + leaving)]
    rows: list[Client] = [
        *kept,
        *(replace(one, algorithms=a_client(one.id, enabled="").algorithms) for one in switched_off),
    ]
    pods: Iterable[ObservedPod] = [*map(pod_of, [*kept, *switched_off, *removed, *vanished]), *gone]
    desired = desired_by(*rows, deleted=tuple(one.id for one in removed))
    plan = make_plan(desired, pods, NOW, Others())
    assert plan.live == live
    return plan


@dataclass(frozen=True)
class Guarded:
    """A plan with what the guard refuses held."""

    plan: Plan
    refusals: tuple[Refusal, ...] = ()
    refused: frozenset[GuardKind] = frozenset()
    allowed: tuple[Step, ...] = ()


def guard(
    plan: Plan,
    limits: Limits,
    allowed: int | None = None,
    elsewhere: Counts = NOBODY_ELSE,
    *,
    latches: Mapping[GuardKind, Latch] = {},
    allowances: Collection[Allowance] = (),
    named: Collection[str] = (),
) -> Guarded:
    """Return what the guard makes of a plan by these limits; the others are the defaults."""
    rules = replace(RULES, **limits, allow_deletions=allowed, allow_pods=frozenset(named))
    facts = facts_of(elsewhere=elsewhere, latches=latches, allowances=frozenset(allowances))
    found = guarding.hold(plan, facts, rules)
    return Guarded(plan.holding(found.holds), found.refusals, found.notes.refused, found.notes.allowed)


def count(plan: Plan, allowances: Collection[Allowance] = ()) -> Counts:
    """Return what other shards have to know of this one."""
    return guarding.count(plan, facts_of(allowances=frozenset(allowances)))


def restrict(plan: Plan, policy: Policy) -> Plan:
    """Return the plan with what the policy holds."""
    return plan.holding(restricting.hold(plan, facts_of(), replace(RULES, policy=policy)).holds)


def keep_home(plan: Plan, home: Home | None, here: Home | None) -> tuple[Plan, tuple[Refusal, ...]]:
    """Return the plan with what is held away from home."""
    found = homing.hold(plan, facts_of(home=home, here=here), RULES)
    return plan.holding(found.holds), found.refusals


def guarded(plan: Plan, limits: Limits, allowed: int | None = None, **known: Any) -> tuple[Plan, tuple[Refusal, ...]]:
    """Return what the guard makes of a plan, and what it refuses."""
    found = guard(plan, limits, allowed, **known)
    return found.plan, found.refusals


def held(plan: Plan, *causes: Cause) -> int:
    """Return how many steps of these causes the guard refuses."""
    return sum(
        step.held is not None and step.held.kind is HoldKind.REFUSED and step.cause in causes for step in plan.steps
    )


def free(plan: Plan) -> int:
    """Return how many deletions will be carried out."""
    return sum(step.kind is StepKind.DELETE and step.held is None for step in plan.steps)


def test_nothing_to_delete_is_nothing_to_refuse() -> None:
    for plan in (a_plan(live=0), a_plan(live=5)):
        assert guarded(plan, DEFAULTS) == (plan, ())
        assert guarded(plan, {"orphan_limit": 0, "orphan_percent": 0.0, "switch_off_limit": 1}) == (plan, ())


@pytest.mark.parametrize(
    ("live", "orphans", "refused"),
    [
        pytest.param(MANY, RULES.orphan_limit, False, id="as many as the count allows"),
        pytest.param(MANY, RULES.orphan_limit + 1, True, id="one more than the count allows"),
        pytest.param(FEW, PERCENT_OF_FEW, False, id="as many as the share allows"),
        pytest.param(FEW, PERCENT_OF_FEW + 1, True, id="one more than the share allows"),
        pytest.param(MANY, MANY, True, id="all, by both"),
        pytest.param(1, 1, True, id="the only pod"),
        pytest.param(10, 10, True, id="all of a fleet within the count"),
    ],
)
def test_orphans_over_a_limit_are_refused_as_a_group(live: int, orphans: int, refused: bool) -> None:
    judged, refusals = guarded(a_plan(live=live, orphans=orphans), DEFAULTS)
    assert held(judged, Cause.ORPHAN) == (orphans if refused else 0)
    assert free(judged) == (0 if refused else orphans)
    assert len(refusals) == refused


def test_exactly_the_share_is_allowed_and_a_trace_more_is_not() -> None:
    assert not guarded(a_plan(live=10, orphans=3), {"orphan_limit": 10, "orphan_percent": 30.0})[1]
    assert guarded(a_plan(live=10, orphans=3), {"orphan_limit": 10, "orphan_percent": 29.9})[1]
    assert not guarded(a_plan(live=3, orphans=1), {"orphan_limit": 10, "orphan_percent": 33.4})[1]
    assert guarded(a_plan(live=3, orphans=1), {"orphan_limit": 10, "orphan_percent": 33.3})[1]


def test_a_limit_of_nothing_refuses_the_first_orphan() -> None:
    assert guarded(a_plan(live=100, orphans=1), {"orphan_limit": 0, "orphan_percent": 100.0})[1]
    assert guarded(a_plan(live=100, orphans=1), {"orphan_limit": 100, "orphan_percent": 0.0})[1]
    assert not guarded(a_plan(live=100, orphans=100), {"orphan_limit": 100, "orphan_percent": 100.0})[1]


def test_the_refusal_names_counts_limits_pods_and_the_command_that_allows_it() -> None:
    _, refusals = guarded(a_plan(live=40, orphans=13, off=2), DEFAULTS)
    assert refusals == (
        Refusal(
            "refused to delete 13 pods: 13 of 40 live pods (32%) are orphans: their clients have vanished from the"
            " database without being deleted (at most 10 and at most 30% may go unasked):"
            " vwap-3101, vwap-3102, vwap-3103, vwap-3104, vwap-3105, ...",
            "look at `syncctl client list`; if this is meant, run `syncctl sync once --allow-deletions 13`",
        ),
    )


def test_as_many_names_as_are_shown_need_no_dots() -> None:
    exactly, one_more = (guarded(a_plan(live=9, orphans=NAMES_SHOWN + more), DEFAULTS)[1][0] for more in (0, 1))
    assert exactly.message.endswith("vwap-3101, vwap-3102, vwap-3103, vwap-3104, vwap-3105")
    assert one_more.message.endswith("vwap-3105, ...")


def test_each_refused_step_says_why() -> None:
    judged, _ = guarded(a_plan(live=4, orphans=2), {"orphan_limit": 1, "orphan_percent": 12.5})
    assert {step.held for step in judged.steps if step.cause is Cause.ORPHAN} == {
        Hold(
            HoldKind.REFUSED,
            "2 of 4 live pods (50%) are orphans: their clients have vanished from the database without being deleted;"
            " at most 1 and at most 12.5% may go unasked",
        )
    }


def test_everything_else_goes_on() -> None:
    plan = a_plan(live=30, orphans=12, off=5, deleted=5)
    judged, (refusal,) = guarded(plan, DEFAULTS)
    assert refusal.message.startswith("refused to delete 12 pods: 12 of 30 live pods (40%)")
    assert held(judged, *Cause) == 12
    assert free(judged) == 10


def test_a_persons_word_is_carried_out_however_many_it_stops() -> None:
    plan = a_plan(live=300, off=150, deleted=150)
    assert guarded(plan, DEFAULTS) == (plan, ())
    assert free(plan) == 300


@pytest.mark.parametrize(("off", "deleted", "refused"), [(3, 2, False), (3, 3, True), (6, 0, True), (0, 6, True)])
def test_switching_off_has_a_limit_for_those_who_ask_for_one(off: int, deleted: int, refused: bool) -> None:
    judged, refusals = guarded(a_plan(live=40, off=off, deleted=deleted), {"switch_off_limit": 5})
    assert held(judged, Cause.SWITCHED_OFF, Cause.CLIENT_DELETED) == (off + deleted if refused else 0)
    assert len(refusals) == refused


def test_the_refusal_to_switch_off_names_its_limit() -> None:
    _, refusals = guarded(a_plan(live=40, off=2, deleted=1), {"switch_off_limit": 2})
    assert refusals == (
        Refusal(
            "refused to delete 3 pods: 3 of 40 live pods were switched off or their clients deleted"
            " (switch_off_limit is 2): vwap-1101, vwap-1102, vwap-2101",
            "look at `syncctl client list`; if this is meant, run `syncctl sync once --allow-deletions 3`",
        ),
    )


def test_two_groups_are_refused_apart_and_allowed_together() -> None:
    plan, limits = a_plan(live=40, orphans=13, off=4), {"switch_off_limit": 3}
    judged, refusals = guarded(plan, limits)
    assert [refusal.message.split(":")[0] for refusal in refusals] == [
        "refused to delete 13 pods",
        "refused to delete 4 pods",
    ]
    assert {refusal.hint for refusal in refusals} == {
        "look at `syncctl client list`; if this is meant, run `syncctl sync once --allow-deletions 17`"
    }
    assert held(judged, *Cause) == 17
    assert guarded(plan, limits, 17) == (plan, ())
    assert held(guarded(plan, limits, 16)[0], *Cause) == 17


@pytest.mark.parametrize(("allowed", "refused"), [(12, True), (13, False), (14, False), (0, True)])
def test_a_person_allows_a_number_and_no_more_than_that_goes(allowed: int, refused: bool) -> None:
    plan = a_plan(live=40, orphans=13)
    judged, refusals = guarded(plan, DEFAULTS, allowed)
    assert free(judged) == (0 if refused else 13)
    assert len(refusals) == refused


def test_too_small_a_number_is_named_beside_the_right_one() -> None:
    _, (refusal,) = guarded(a_plan(live=40, orphans=13), DEFAULTS, 12)
    assert "(at most 10 and at most 30% may go unasked; --allow-deletions 12 is fewer than 13)" in refusal.message
    assert refusal.hint.endswith("--allow-deletions 13`")


def test_allowing_more_than_there_is_changes_nothing_else() -> None:
    plan = a_plan(live=MANY, orphans=RULES.orphan_limit, off=3)
    assert guarded(plan, DEFAULTS, 500) == (plan, ())


def test_pods_that_were_told_to_go_count_on_neither_side() -> None:
    # 3 of 10 is just allowed; were the 7 that go counted as live, so would 5 of 10 be.
    judged, refusals = guarded(a_plan(live=10, orphans=3, leaving=7), DEFAULTS)
    assert (free(judged), refusals) == (3, ())
    judged, (refusal,) = guarded(a_plan(live=10, orphans=4, leaving=7), DEFAULTS)
    assert free(judged) == 0
    assert refusal.message.startswith("refused to delete 4 pods: 4 of 10 live pods (40%)")


def test_it_stays_refused_on_each_following_pass() -> None:
    plan = a_plan(live=20, orphans=11)
    first = guarded(plan, DEFAULTS)
    assert all(guarded(plan, DEFAULTS) == first for _ in range(3))


LATCHED = {GuardKind.ORPHANS: Latch(NOW, "cronjob@host-3", frozenset(range(256)))}
SINCE = "orphans have been refused since 2026-03-02 14:30:00 UTC, first found by cronjob@host-3"


def test_c6_once_refused_any_orphan_is_refused_until_a_person_allows_it() -> None:
    plan = a_plan(live=MANY, orphans=1)
    judged, (refusal,) = guarded(plan, DEFAULTS, latches=LATCHED)
    assert held(judged, Cause.ORPHAN) == 1
    assert f" ({SINCE}, and each is until there are none: a restore may be half-way through): " in refusal.message
    assert refusal.hint.endswith("--allow-deletions 1`")
    assert guarded(plan, DEFAULTS, 1, latches=LATCHED) == (plan, ())
    assert held(guarded(plan, DEFAULTS, 0, latches=LATCHED)[0], Cause.ORPHAN) == 1


def test_c6_what_was_refused_before_is_no_question_without_orphans() -> None:
    plan = a_plan(live=MANY, off=20, deleted=20)
    assert guard(plan, DEFAULTS, latches=LATCHED) == Guarded(plan)


def test_c6_a_refusal_over_the_limits_says_since_when_too() -> None:
    plan = a_plan(live=40, orphans=13)
    _, (refusal,) = guarded(plan, DEFAULTS, latches=LATCHED)
    assert f" (at most 10 and at most 30% may go unasked; {SINCE}): " in refusal.message


def test_c6_the_guard_says_what_it_refuses_so_that_it_is_latched() -> None:
    assert guard(a_plan(live=40, orphans=13), DEFAULTS).refused == {GuardKind.ORPHANS}
    assert guard(a_plan(live=MANY, orphans=1), DEFAULTS, latches=LATCHED).refused == {GuardKind.ORPHANS}
    # What is within the limits, or a person allows, or is a person's word: nothing to be latched.
    assert not guard(a_plan(live=40, orphans=3), DEFAULTS).refused
    assert not guard(a_plan(live=40, orphans=13), DEFAULTS, 13).refused
    assert not guard(a_plan(live=40, off=4), {"switch_off_limit": 3}).refused


# What a person has allowed


def allowances(plan: Plan, *causes: Cause) -> frozenset[Allowance]:
    return frozenset(allowance_of(step) for step in plan.drifted if step.cause in causes)


def test_c6_what_a_person_lets_through_is_named_step_by_step_and_nothing_else_is() -> None:
    plan, limits = a_plan(live=40, orphans=13, off=4, deleted=2), {"switch_off_limit": 3}
    allowed = guard(plan, limits, 19).allowed
    assert {step.cause for step in allowed} == {Cause.ORPHAN, Cause.SWITCHED_OFF, Cause.CLIENT_DELETED}
    assert len(allowed) == 19
    # What would have gone unasked needs nobody's word.
    assert guard(a_plan(live=40, orphans=3, off=4), DEFAULTS, 19).allowed == ()
    assert guard(plan, limits, 18).allowed == ()
    assert {step.cause for step in guard(plan, DEFAULTS, 19).allowed} == {Cause.ORPHAN}


@pytest.mark.parametrize("latches", [{}, LATCHED], ids=["not latched", "latched"])
def test_c6_what_was_allowed_neither_counts_nor_is_refused_later(latches: dict[GuardKind, Latch]) -> None:
    plan = a_plan(live=40, orphans=13)
    known = allowances(plan, Cause.ORPHAN)
    assert guard(plan, DEFAULTS, latches=latches, allowances=known) == Guarded(plan)
    assert count(plan, known) == Counts(40, 0)
    # One more orphan, which nobody has allowed: one, and not fourteen.
    one, *rest = sorted(known)
    judged = guard(plan, {"orphan_limit": 0}, latches=latches, allowances=rest)
    assert {step.name for step in judged.plan.drifted if step.held} == {one.pod}
    assert judged.refusals[0].hint.endswith("--allow-deletions 1`")


def test_c6_an_allowance_is_for_this_pod_and_no_other_of_its_name() -> None:
    plan = a_plan(live=40, orphans=13)
    known = {Allowance(pod, "uid of another") for pod, uid in allowances(plan, Cause.ORPHAN) if uid == f"uid-of-{pod}"}
    assert len(known) == 13
    assert held(guarded(plan, DEFAULTS, allowances=known)[0], Cause.ORPHAN) == 13


def test_c6_switched_off_pods_that_were_allowed_do_not_count_either() -> None:
    plan, limits = a_plan(live=40, off=4, deleted=1), {"switch_off_limit": 3}
    known = allowances(plan, Cause.SWITCHED_OFF, Cause.CLIENT_DELETED)
    assert guard(plan, limits, allowances=known) == Guarded(plan)
    assert guard(plan, limits, allowances=sorted(known)[:2]) == Guarded(plan)
    assert held(guarded(plan, limits, allowances=sorted(known)[:1])[0], *Cause) == 4


# Latched and settled


def after(*results: Result, cause: Cause = Cause.ORPHAN, lease_lost: str = "") -> Report:
    """Return the report of a pass in which this became of its orphans, or of others that had to go."""
    number = len(results)
    plan = a_plan(live=number, orphans=number) if cause is Cause.ORPHAN else a_plan(live=number, off=number)
    return Report(plan, tuple(map(Outcome, plan.drifted, results)), lease_lost=lease_lost)


@pytest.mark.parametrize(
    ("results", "settles"),
    [
        pytest.param([], True, id="none found"),
        pytest.param([Result.DELETED], True, id="deleted, so allowed"),
        pytest.param([Result.DELETED, Result.DEFERRED, Result.FAILED], True, id="allowed, and not all of it done"),
        pytest.param([Result.REFUSED], False, id="refused"),
        pytest.param([Result.REFUSED, Result.DELETED], False, id="refused beside what was allowed before"),
        pytest.param([Result.DEFERRED], False, id="put off by policy or deadline"),
        pytest.param([Result.FAILED], False, id="failed"),
    ],
)
def test_c6_a_latch_is_let_go_by_who_finds_none_or_deletes_what_was_allowed(
    results: list[Result], settles: bool
) -> None:
    assert to_settle(after(*results), LATCHED) == ({GuardKind.ORPHANS} if settles else set())
    assert to_settle(after(*results, lease_lost="lost"), LATCHED) == set()
    assert to_settle(after(*results), {}) == set()


def test_c6_what_becomes_of_others_settles_nothing_and_hinders_nothing() -> None:
    assert to_settle(after(Result.REFUSED, cause=Cause.SWITCHED_OFF), LATCHED) == {GuardKind.ORPHANS}


def test_c6_a_pass_latches_its_buckets_and_what_is_latched_is_not_latched_again() -> None:
    shard = Shard(1, 4)
    assert to_latch({GuardKind.ORPHANS}, {}, shard) == {GuardKind.ORPHANS: frozenset(range(1, 256, 4))}
    some = {GuardKind.ORPHANS: Latch(NOW, "somebody", frozenset({1, 5, 9}))}
    assert to_latch({GuardKind.ORPHANS}, some, shard) == {GuardKind.ORPHANS: frozenset(range(13, 256, 4))}
    assert to_latch({GuardKind.ORPHANS}, LATCHED, shard) == {}
    assert to_latch(set(), LATCHED, shard) == {}


@pytest.mark.parametrize("cause", [Cause.ORPHAN, Cause.SWITCHED_OFF])
@pytest.mark.parametrize("result", [result for result in Result if result is not Result.UNCHANGED])
def test_c6_an_allowance_lasts_until_it_is_done(result: Result, cause: Cause) -> None:
    report = after(result, cause=cause)
    known = allowances(report.plan, cause)
    assert len(known) == 1
    lasts = result in (Result.DEFERRED, Result.SUSPENDED, Result.FAILED, Result.REFUSED)
    assert to_disallow(report, known) == (set() if lasts else known)
    assert to_disallow(after(result, cause=cause, lease_lost="lost"), known) == set()


def test_c6_an_allowance_ends_with_its_pod_and_when_the_pod_is_asked_for_again() -> None:
    known = {Allowance("vwap-3101", "uid of one that is gone"), Allowance("vwap-101", "uid-of-vwap-101")}
    assert to_disallow(Report(a_plan(live=1), ()), known) == known


def test_a_new_pod_that_waits_for_a_refused_orphan_still_waits() -> None:
    # The orphan is of a client that was there before by the name of client 7.
    wanted = a_client(7)
    orphan = pod_of(a_client(9, name=wanted.name))
    judged, (refusal,) = guarded(make_plan(desired_by(wanted), [orphan], NOW, Others()), DEFAULTS)
    assert "refused to delete 1 pod" in refusal.message
    assert {(step.kind, step.held is not None) for step in judged.steps} == {
        (StepKind.DELETE, True),
        (StepKind.WAIT, False),
    }


def test_the_policy_sync_may_do_everything() -> None:
    plan = a_plan(live=10, orphans=1, off=2, leaving=1)
    assert restrict(plan, Policy.SYNC) == plan


@pytest.mark.parametrize(
    ("policy", "may"),
    [
        (Policy.SYNC, {StepKind.DELETE, StepKind.REPLACE, StepKind.CREATE, StepKind.UPDATE}),
        (Policy.UPSERT_ONLY, {StepKind.REPLACE, StepKind.CREATE, StepKind.UPDATE}),
        (Policy.CREATE_ONLY, {StepKind.CREATE}),
    ],
)
def test_a_policy_holds_what_it_does_not_allow(policy: Policy, may: set[StepKind]) -> None:
    off, missing, restarted, image = (a_client(number) for number in range(1, 5))
    renamed, waiting, kept = (a_client(number) for number in range(5, 8))
    plan = make_plan(
        desired_by(
            replace(off, algorithms=a_client(1, enabled="").algorithms),
            missing,
            replace(restarted, restart_generation=3),
            replace(image, image="desk/vwap:2"),
            replace(renamed, name="other"),
            waiting,
            kept,
        ),
        [*map(pod_of, (off, restarted, image, renamed, kept)), pod_of(waiting, deleted_at=LEAVING)],
        NOW,
        Others(),
    )
    judged = restrict(plan, policy)
    acting = {StepKind.DELETE, StepKind.REPLACE, StepKind.CREATE, StepKind.UPDATE}
    assert {step.kind for step in plan.steps} == acting | {StepKind.WAIT, StepKind.KEEP}
    for step in judged.steps:
        if step.kind in acting - may:
            assert step.held == Hold(HoldKind.DEFERRED, f"not in this run: --policy {policy}")
        else:
            assert step.held is None


def test_the_guard_counts_and_latches_what_something_else_holds() -> None:
    plan = restrict(a_plan(live=20, orphans=20), Policy.UPSERT_ONLY)
    judged, (refusal,) = guarded(plan, DEFAULTS)
    assert judged == plan
    assert "refused to delete 20 pods" in refusal.message
    off = restrict(a_plan(live=20, off=20), Policy.UPSERT_ONLY)
    assert guarded(off, {**DEFAULTS, "switch_off_limit": 1}) == (off, ())


limits = st.fixed_dictionaries(
    {
        "orphan_limit": st.integers(0, 15),
        "orphan_percent": st.sampled_from([0.0, 10.0, 30.0, 33.3, 100.0]),
        "switch_off_limit": st.integers(0, 15),
    }
)


@given(st.data(), limits, st.none() | st.integers(0, 30))
def test_no_more_goes_than_the_limits_or_a_person_allow(
    data: st.DataObject, limits: Limits, allowed: int | None
) -> None:
    orphans, off, kept = (data.draw(st.integers(0, 15), label=what) for what in ("orphans", "off", "kept"))
    plan = a_plan(live=orphans + off + kept, orphans=orphans, off=off)
    judged, refusals = guarded(plan, limits, allowed)
    gone = {cause: sum(step.cause is cause and step.held is None for step in judged.steps) for cause in Cause}
    within = gone[Cause.ORPHAN] <= limits["orphan_limit"] and (
        gone[Cause.ORPHAN] * 100 <= limits["orphan_percent"] * plan.live
    )
    within_off = not limits["switch_off_limit"] or gone[Cause.SWITCHED_OFF] <= limits["switch_off_limit"]
    over = (0 if within else gone[Cause.ORPHAN]) + (0 if within_off else gone[Cause.SWITCHED_OFF])
    assert over <= (allowed or 0)
    # All of a group or none of it, and nothing is held without being told.
    assert gone[Cause.ORPHAN] in (0, orphans)
    assert gone[Cause.SWITCHED_OFF] in (0, off)
    assert bool(refusals) == (free(judged) < free(plan))


@given(st.integers(0, 8), st.integers(0, 8), st.sampled_from(Policy))
def test_what_is_held_stays_held_as_it_was(orphans: int, off: int, policy: Policy) -> None:
    plan = restrict(a_plan(live=orphans + off + 3, orphans=orphans, off=off), policy)
    judged, _ = guarded(plan, {"orphan_limit": 0, "orphan_percent": 0.0, "switch_off_limit": 1})
    for before, after in zip(plan.steps, judged.steps, strict=True):
        assert after == replace(before, held=after.held)
        assert before.held is None or after.held == before.held


# The home -------------------------------------------------------------------------------------------------------------

TRADING = Home("6a1f0c4e", "namespace trading of https://10.0.0.1:6443")
STAGING = Home("b7a1f9c4", "namespace staging of https://10.0.0.1:6443")


def of_each_kind() -> Plan:
    """Return a plan that creates 1, replaces 2 and 3, resizes 4, updates 5, deletes 6 and leaves 7 alone."""
    rows = [a_client(number) for number in range(1, 8)]
    pods = [
        pod_of(rows[1], phase="Failed"),
        pod_of(replace(rows[2], restart_generation=1)),
        pod_of(replace(rows[3], cpu="2")),
        pod_of(replace(rows[4], name="other")),
        pod_of(rows[5]),
        pod_of(rows[6]),
    ]
    rows[5] = a_client(6, enabled="")
    return make_plan(desired_by(*rows), pods, NOW, Others())


def test_away_from_home_all_that_may_make_a_pod_is_refused_and_nothing_else() -> None:
    plan, refusals = keep_home(of_each_kind(), TRADING, STAGING)
    refused = {step.name for step in plan.drifted if step.held is not None and step.held.kind is HoldKind.REFUSED}
    assert refused == {"vwap-101", "vwap-102", "vwap-103", "vwap-104"}
    assert {step.name for step in plan.drifted} - refused == {"vwap-105", "vwap-106"}
    (refusal,) = refusals
    assert refusal.message.startswith("refused to make 4 pods: the pods of this fleet were made in namespace trading ")
    assert "; here is namespace staging of https://10.0.0.1:6443; " in refusal.message
    assert refusal.hint.endswith("`syncctl sync once --move-here`")


@pytest.mark.parametrize(
    ("home", "here"),
    [
        pytest.param(TRADING, TRADING, id="at home"),
        pytest.param(TRADING, Home(TRADING.uid, "namespace trading of https://cluster"), id="by another address"),
        pytest.param(None, STAGING, id="no home yet"),
        pytest.param(TRADING, None, id="nobody knows where this is"),
        pytest.param(None, None, id="neither is known"),
    ],
)
def test_a_plan_for_home_stays_as_it_is(home: Home | None, here: Home | None) -> None:
    plan = of_each_kind()
    assert keep_home(plan, home, here) == (plan, ())


def test_what_makes_no_pod_is_nothing_to_refuse_anywhere() -> None:
    plan = a_plan(live=5, off=2)
    assert keep_home(plan, TRADING, STAGING) == (plan, ())
    held = restrict(of_each_kind(), Policy.CREATE_ONLY)
    plan, (refusal,) = keep_home(held, TRADING, STAGING)
    assert refusal.message.startswith("refused to make 1 pod: ")
    assert sum(step.held is not None and step.held.kind is HoldKind.REFUSED for step in plan.drifted) == 1


def test_two_places_with_one_address_are_told_by_their_uids() -> None:
    _, (refusal,) = keep_home(of_each_kind(), TRADING, Home("c1", TRADING.name))
    assert f" in {TRADING.name} when its uid was 6a1f0c4e; here it is c1; " in refusal.message


# A1: what is unsure ---------------------------------------------------------------------------------------------------


def a_doubtful_plan(live: int, *, doubled: int = 0, orphans: int = 0, off: int = 0, restarted: int = 0) -> Plan:
    """Return a plan of a fleet with second pods by their environment alone, and other steps that are no person's word.

    `off` are switched off and known by their environment alone, `restarted` made before there was SYNCCTL_SPEC.
    """
    rows = [
        a_client(number, enabled="" if number <= off else "vwap") for number in range(1, live - doubled - orphans + 1)
    ]
    pods = [pod_of(replace(row, algorithms=replace(row.algorithms, on=(Algorithm.VWAP,)))) for row in rows]
    pods[:off] = [replace(pod, name=f"vwap-9{pod.name[5:]}", uid=pod.name) for pod in pods[:off]]
    for place in range(off, off + restarted):
        rows[place] = replace(rows[place], restart_generation=3)
        pods[place] = replace(pods[place], environment=pods[place].environment._replace(spec=None))
    pods += [replace(pod, name=f"vwap-8{pod.name[5:]}", uid=f"second {pod.uid}") for pod in pods[len(pods) - doubled :]]
    pods += [pod_of(a_client(number)) for number in range(5000, 5000 + orphans)]
    return make_plan(desired_by(*rows), pods, NOW, Others())


def test_a1_a_pod_that_another_shard_lists_and_this_one_would_end_is_counted_here_too() -> None:
    plan = a_doubtful_plan(2, doubled=1)
    guests = frozenset(step.observed.uid for step in plan.steps if step.observed)
    judged = guard(replace(plan, matches=(), guests=guests), DEFAULTS)
    (refusal,) = judged.refusals
    assert ": 1 of 1 live pods (100%) are orphans, or " in refusal.message


@pytest.mark.parametrize("kind", ["doubled", "off", "restarted"])
def test_a1_what_rests_on_one_thing_alone_is_held_to_the_limits_of_orphans(kind: str) -> None:
    for number, refused in ((10, 0), (11, 11)):
        plan = a_doubtful_plan(100, **{kind: number})
        assert plan.live == 100
        judged = guard(plan, DEFAULTS)
        assert sum(step.held is not None for step in judged.plan.drifted if step.unsure) == refused
        assert judged.refused == ({GuardKind.UNSURE} if refused else set())


def test_a1_unsure_steps_and_orphans_count_together_and_are_latched_apart() -> None:
    plan = a_doubtful_plan(100, doubled=6, orphans=5)
    judged = guard(plan, DEFAULTS)
    assert judged.refused == set(GuardKind)
    assert [refusal.message.partition(": ")[0] for refusal in judged.refusals] == [
        "refused to delete 5 pods",
        "refused to delete 6 pods",
    ]
    assert "11 of 100 live pods (11%) are orphans, or would be ended by their name" in judged.refusals[0].message
    latched = {GuardKind.UNSURE: LATCHED[GuardKind.ORPHANS]}
    assert guard(a_doubtful_plan(100, doubled=1, orphans=1), DEFAULTS, latches=latched).refused == {GuardKind.UNSURE}
    assert guard(a_doubtful_plan(100, doubled=1, orphans=1), DEFAULTS, latches=LATCHED).refused == {GuardKind.ORPHANS}


def test_a1_a_second_pod_that_is_refused_is_an_error_of_its_key_and_nothing_is_made_beside_it() -> None:
    row = a_client(7, restart_generation=3)
    first = pod_of(a_client(7))
    second = replace(first, name="vwap-999", uid="another")
    judged = guard(make_plan(desired_by(row), [first, second], NOW, Others()), DEFAULTS)
    held = {step.name: step.held.kind for step in judged.plan.drifted if step.held}
    assert held == {"vwap-999": HoldKind.REFUSED, "vwap-107": HoldKind.DEFERRED}
    outcomes = tuple(
        Outcome(step, Result.REFUSED if step.name == "vwap-999" else Result.DEFERRED) for step in judged.plan.drifted
    )
    (problem,) = Report(judged.plan, outcomes, judged.refusals).problems
    assert problem.step.reason == "vwap of client 7 may run twice: vwap-999 beside vwap-107"


def test_a1_a_person_lets_a_pod_pass_by_its_name() -> None:
    plan = a_doubtful_plan(3, doubled=1)
    (second,) = [step for step in plan.drifted if step.cause is Cause.DUPLICATE]
    refused = guard(plan, DEFAULTS)
    assert f"`--allow-pod {second.name}` for one" in refused.refusals[0].hint
    judged = guard(plan, DEFAULTS, named={second.name, "vwap-1"})
    assert (judged.refusals, judged.allowed) == ((), (second,))
    assert not any(step.held for step in judged.plan.drifted)
    # Orphans by their names too, and only these.
    plan = a_plan(live=40, orphans=13)
    one = next(step for step in plan.drifted if step.cause is Cause.ORPHAN)
    judged = guard(plan, DEFAULTS, named={one.name})
    assert judged.allowed == (one,)
    assert held(judged.plan, Cause.ORPHAN) == 12


def test_a1_a_pod_that_has_ended_is_nothing_to_be_unsure_of() -> None:
    pod = replace(pod_of(a_client(7)), environment=NO_ENVIRONMENT, phase="Failed", annotations={})
    judged = guard(make_plan(desired_by(a_client(7)), [pod], NOW, Others()), DEFAULTS)
    assert [(step.cause, step.held) for step in judged.plan.drifted] == [(Cause.FINISHED, None)]


def test_a1_a_resize_that_may_come_to_a_replacement_is_unsure_too() -> None:
    pod = replace(pod_of(a_client(7, cpu="1")), environment=NO_ENVIRONMENT)
    (step,) = make_plan(desired_by(a_client(7)), [pod], NOW, Others()).drifted
    assert (step.kind, step.cause, bool(step.unsure)) == (StepKind.UPDATE, Cause.RESOURCES_DIFFER, True)
