"""What passes tell one another of replacements: what is written down before, and what is forgotten afterwards."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from syncctl.core.begun import MALFORMED_TRIES, SAME_WORDS, SAME_WORDS_OF_QUOTA, Refusals, refused, to_begin, to_forget
from syncctl.core.errors import AccessDenied, ClusterError, ClusterUnavailable, PodRejected, QuotaExceeded
from syncctl.core.memory import Begun
from syncctl.core.model import Client, ObservedPod, PodKey
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.report import Outcome, Report, Result
from syncctl.core.steps import Cause, Hold, HoldKind, Plan, StepKind

from .builders import BEGUN, NOW, a_client, desired_by, key, pod_of

LEAVING = "2026-03-02T14:30:30Z"
RESTARTED = a_client(7, restart_generation=3)
OLD = frozenset({"uid-of-vwap-107"})


def planned(wanted: Client, *pods: ObservedPod, begun: bool = False) -> Plan:
    return make_plan(desired_by(wanted, begun={key(7): BEGUN} if begun else {}), pods, NOW, Others())


def reported(plan: Plan, result: Result, **fields: Any) -> Report:
    """Return the report of a plan of which everything came to this result."""
    return Report(plan, tuple(Outcome(step, result) for step in plan.drifted), **fields)


# Before


@pytest.mark.parametrize(
    ("wanted", "pod", "begins"),
    [
        pytest.param(RESTARTED, pod_of(), Begun(NOW, True, "restart-asked", OLD), id="a replacement"),
        pytest.param(
            a_client(cpu="2"),
            pod_of(),
            Begun(NOW, True, "resources-differ", OLD),
            id="a resize, which may come to one",
        ),
        pytest.param(
            a_client(), pod_of(phase="Failed"), Begun(NOW, False, "finished", OLD), id="of a pod that has ended"
        ),
        pytest.param(a_client(image="desk/vwap:2"), pod_of(), None, id="an image in place"),
        pytest.param(a_client(name="other"), pod_of(), None, id="metadata"),
        pytest.param(a_client(enabled=""), pod_of(), None, id="a deletion"),
        pytest.param(a_client(), None, None, id="a creation"),
        pytest.param(a_client(), pod_of(), None, id="in sync"),
        pytest.param(RESTARTED, pod_of(deleted_at=LEAVING), None, id="told to go already"),
    ],
)
def test_a_plan_begins_what_tells_an_old_pod_to_go_and_makes_a_new_one(
    wanted: Client, pod: ObservedPod | None, begins: Begun | None
) -> None:
    plan = planned(wanted, *([pod] if pod else []))
    assert to_begin(plan, NOW) == ({key(7): begins} if begins else {})
    held = plan.holding({step.name: Hold(HoldKind.DEFERRED, "for some reason") for step in plan.drifted})
    assert to_begin(held, NOW) == {}


def test_what_was_begun_before_is_not_begun_again_while_it_is_away() -> None:
    assert to_begin(planned(RESTARTED, begun=True), NOW) == {}
    assert to_begin(planned(RESTARTED, pod_of(deleted_at=LEAVING), begun=True), NOW) == {}
    assert to_begin(planned(RESTARTED, pod_of(), begun=True), NOW) == {key(7): Begun(NOW, True, "restart-asked", OLD)}


def test_what_is_begun_names_every_pod_that_makes_way() -> None:
    beside = pod_of(name="vwap-9", uid="another", deleted_at=LEAVING)
    (begun,) = to_begin(planned(RESTARTED, pod_of(), beside), NOW).values()
    assert begun.uids == OLD | {"another"}


@pytest.mark.parametrize(("uid", "away"), [("uid-of-vwap-107", True), ("its successor", False)])
def test_a_successor_that_was_seen_is_back_though_it_is_on_its_way_out(uid: str, away: bool) -> None:
    begun = {key(7): Begun(NOW, True, "restart-asked", OLD)}
    plan = make_plan(desired_by(RESTARTED, begun=begun), [pod_of(uid=uid, deleted_at=LEAVING)], NOW, Others())
    assert (key(7) in plan.away) is away
    assert to_forget(reported(plan, Result.WAITING), begun) == (set() if away else {key(7)})


# Afterwards


@pytest.mark.parametrize(
    ("result", "forgotten"),
    [
        (Result.REPLACED, True),
        (Result.DEFERRED, True),
        (Result.WAITING, False),
        (Result.FAILED, False),
        (Result.CONFLICT, False),
    ],
)
def test_a_replacement_is_forgotten_when_it_is_there_or_was_not_begun(result: Result, forgotten: bool) -> None:
    for begun in (False, True):
        plan = planned(RESTARTED, pod_of(), begun=begun)
        assert to_forget(reported(plan, result), [key(7)] if begun else []) == ({key(7)} if forgotten else set())


@pytest.mark.parametrize(
    ("result", "forgotten"), [(Result.UPDATED, True), (Result.REPLACED, True), (Result.FAILED, False)]
)
def test_a_resize_is_forgotten_when_it_is_done_either_way(result: Result, forgotten: bool) -> None:
    plan = planned(a_client(cpu="2"), pod_of())
    assert to_forget(reported(plan, result), []) == ({key(7)} if forgotten else set())


@pytest.mark.parametrize(
    ("result", "forgotten"),
    [(Result.CREATED, True), (Result.DEFERRED, False), (Result.FAILED, False), (Result.CONFLICT, False)],
)
def test_a_successor_that_is_not_made_stays_known(result: Result, forgotten: bool) -> None:
    plan = planned(a_client(), begun=True)
    assert plan.drifted[0].cause is Cause.REPLACEMENT_BEGUN
    assert to_forget(reported(plan, result), [key(7)]) == ({key(7)} if forgotten else set())


def test_what_is_still_going_stays_known() -> None:
    plan = planned(a_client(), pod_of(deleted_at=LEAVING), begun=True)
    assert to_forget(reported(plan, Result.WAITING), [key(7)]) == set()


def test_what_is_back_or_asked_for_by_nobody_is_forgotten_whatever_the_pass_did() -> None:
    for plan in (
        planned(a_client(), pod_of(), begun=True),
        planned(a_client(name="other"), pod_of(), begun=True),
        planned(a_client(enabled=""), begun=True),
        planned(a_client(enabled=""), pod_of(deleted_at=LEAVING), begun=True),
    ):
        assert to_forget(reported(plan, Result.FAILED), [key(7)]) == {key(7)}


def test_a_replacement_that_is_held_again_is_forgotten_for_its_pod_lives() -> None:
    plan = planned(RESTARTED, pod_of(), begun=True)
    plan = plan.holding({plan.drifted[0].name: Hold(HoldKind.DEFERRED, "halted")})
    assert to_forget(reported(plan, Result.DEFERRED), [key(7)]) == {key(7)}


def test_what_becomes_of_a_second_pod_says_nothing_of_the_replacement() -> None:
    second = replace(pod_of(), name="vwap-9", uid="another")
    plan = planned(RESTARTED, pod_of(), second)
    becomes = {StepKind.DELETE: Result.DEFERRED, StepKind.REPLACE: Result.WAITING}
    assert {step.kind for step in plan.drifted} == becomes.keys()
    outcomes = tuple(Outcome(step, becomes[step.kind]) for step in plan.drifted)
    assert to_forget(Report(plan, outcomes), [key(7)]) == set()


def test_a_pass_that_lost_its_lease_forgets_nothing() -> None:
    plan = planned(RESTARTED, pod_of(), begun=True)
    assert to_forget(reported(plan, Result.DEFERRED, lease_lost="lost"), [key(7)]) == set()


@given(
    known=st.sets(st.builds(key, st.integers(1, 4), st.sampled_from(["vwap", "hft"]))),
    results=st.lists(st.sampled_from(Result), min_size=4, max_size=4),
    states=st.lists(st.sampled_from(["none", "going", "old", "new", "off"]), min_size=4, max_size=4),
)
def test_what_stays_known_is_of_pods_asked_for_and_nothing_unknown_is_forgotten(
    known: set[PodKey], results: list[Result], states: list[str]
) -> None:
    rows = [a_client(each + 1, enabled="" if state == "off" else "vwap") for each, state in enumerate(states)]
    pods = {
        "going": lambda row: [pod_of(row, deleted_at=LEAVING)],
        "old": lambda row: [pod_of(replace(row, restart_generation=1))],
        "new": lambda row: [pod_of(row)],
    }
    there = [pod for row, state in zip(rows, states, strict=True) for pod in pods.get(state, lambda _: [])(row)]
    plan = make_plan(desired_by(*rows, begun=dict.fromkeys(known, BEGUN)), there, NOW, Others())
    outcomes = tuple(Outcome(step, results[each % 4]) for each, step in enumerate(plan.drifted))
    forgotten = to_forget(Report(plan, outcomes), known)
    begins = to_begin(plan, NOW).keys()
    assert forgotten <= known | begins
    wanted = {key(row.id) for row, state in zip(rows, states, strict=True) if state not in ("off", "new")}
    assert (known | begins) - forgotten <= wanted


# Refused


def told(*errors: tuple[float, ClusterError]) -> Refusals:
    """Return the refusals by these errors at these moments."""
    refusals = None
    for moment, error in errors:
        refusals = refused(refusals, error, moment)
    assert refusals
    return refusals


AWAY, DENIED, FULL = ClusterUnavailable("away", status=503), AccessDenied("denied"), QuotaExceeded("full", status=403)


def test_b1_the_same_words_are_stale_after_a_minute_and_a_quotas_after_two() -> None:
    assert not told((100, AWAY), (100 + SAME_WORDS - 1, AWAY)).stale(100 + SAME_WORDS - 0.1)
    assert told((100, AWAY), (100 + SAME_WORDS - 1, AWAY)).stale(100 + SAME_WORDS)
    assert not told((100, FULL)).stale(100 + SAME_WORDS_OF_QUOTA - 0.1)
    assert told((100, FULL)).stale(100 + SAME_WORDS_OF_QUOTA)


def test_b1_other_words_are_a_new_beginning() -> None:
    refusals = told((0, AWAY), (50, AWAY), (55, DENIED), (58, AWAY))
    assert (refusals.words, refusals.since, refusals.number) == ("away", 58, 4)
    assert not refusals.stale(58 + SAME_WORDS - 1)


@pytest.mark.parametrize("status", [400, 422])
def test_b1_what_is_called_malformed_three_times_is_not_asked_for_again(status: int) -> None:
    rejected = PodRejected("no such field", status=status)
    assert MALFORMED_TRIES == 3
    assert not told((0, rejected), (1, rejected)).final
    assert told((0, rejected), (1, AWAY), (2, rejected), (3, rejected)).final


@pytest.mark.parametrize("error", [AWAY, DENIED, FULL, ClusterError("302"), PodRejected("too large", status=413)])
def test_b1_all_else_is_never_final(error: ClusterError) -> None:
    assert not told(*((float(moment), error) for moment in range(100))).final
