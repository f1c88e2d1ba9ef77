"""The report's numbers add up, and the exit code says the most urgent of it."""

import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from syncctl.core import errors
from syncctl.core.exits import MEANINGS, ExitCode, exit_code_of_error, exit_code_of_report
from syncctl.core.facts import Refusal
from syncctl.core.model import Client, ContainerState, ObservedPod
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.report import Outcome, Report, Result, unhealthy
from syncctl.core.steps import Cause, Hold, HoldKind, Plan, StepKind

from .builders import NOW, a_client, desired_by, key, pod_of

REFUSAL = Refusal("refused to delete 11 pods", "look")
# From the most urgent down: what a report can say, and the code it alone gives.
URGENCY: list[tuple[dict[str, Any], ExitCode]] = [
    ({"lease_lost": "lost"}, ExitCode.LEASE_HELD),
    ({"stopped_by": int(signal.SIGTERM)}, ExitCode.TERMINATED),
    ({"refusals": (REFUSAL,)}, ExitCode.REFUSED),
    ({"outcomes": Result.FAILED}, ExitCode.INCOMPLETE),
    ({}, ExitCode.DONE),
]


def a_plan(*clients: Client, pods: tuple[ObservedPod, ...] = ()) -> Plan:
    """Return the plan of these rows and pods."""
    return make_plan(desired_by(*clients), pods, NOW, Others())


def a_report(*results: Result, in_sync: int = 0, **fields: Any) -> Report:
    """Return the report of a pass in which this became of its steps, all of them creations, beside pods in sync."""
    numbers = range(1, len(results) + in_sync + 1)
    pods = tuple(pod_of(a_client(number)) for number in numbers[len(results) :])
    plan = a_plan(*map(a_client, numbers), pods=pods)
    return Report(plan, tuple(map(Outcome, plan.drifted, results)), **fields)


@given(st.lists(st.sampled_from(Result), max_size=40), st.integers(0, 3))
def test_the_numbers_add_up_to_the_steps(results: list[Result], in_sync: int) -> None:
    report = a_report(*results, in_sync=in_sync)
    results += [Result.UNCHANGED] * in_sync
    counts = report.counts()
    assert list(counts) == list(Result)
    assert sum(counts.values()) == len(report.plan.steps) == len(results)
    assert all(counts[result] == results.count(result) for result in Result)
    total, _, rest = report.summary.partition(": ")
    named = {words.split()[1]: int(words.split()[0]) for words in rest.split(", ")}
    assert int(total.split()[0]) == sum(named.values()) == len(results)
    assert all(counts[result] == named.get(result.value, 0) for result in Result)


@given(st.lists(st.integers(1, 30), unique=True), st.lists(st.integers(1, 30), unique=True))
def test_a_plans_numbers_add_up_to_the_steps(wanted: list[int], there: list[int]) -> None:
    plan = a_plan(*map(a_client, wanted), pods=tuple(pod_of(a_client(number)) for number in there))
    counts = plan.counts()
    assert list(counts) == list(StepKind)
    assert sum(counts.values()) == len(plan.steps) == len({*wanted, *there})
    assert all(counts[kind] == plan.count(kind) for kind in StepKind)
    assert plan.live == len(there)


def test_a_quiet_summary_still_names_what_a_person_greps_for() -> None:
    assert a_report().summary == "0 pods: 0 created, 0 replaced, 0 deleted, 0 unchanged, 0 waiting"
    assert a_report(Result.UNCHANGED).summary == "1 pod: 0 created, 0 replaced, 0 deleted, 1 unchanged, 0 waiting"


def test_a_full_summary_names_everything() -> None:
    assert a_report(*Result, Result.CREATED).summary == (
        "12 pods: 2 created, 1 replaced, 1 updated, 1 deleted, 1 unchanged, 1 waiting,"
        " 1 deferred, 1 suspended, 1 refused, 1 conflict, 1 failed"
    )


@pytest.mark.parametrize("result", Result)
def test_problems_are_what_no_later_pass_will_mend(result: Result) -> None:
    problems = a_report(result).problems
    assert [outcome.result for outcome in problems] == ([result] if result in {Result.FAILED, Result.CONFLICT} else [])


def test_an_invalid_client_is_a_problem_though_its_pod_is_left_in_peace() -> None:
    plan = a_plan(a_client(cpu="1,5"), pods=(pod_of(),))
    report = Report(plan, tuple(Outcome(step, Result.UNCHANGED) for step in plan.steps))
    assert len(report.problems) == 1
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE


@pytest.mark.parametrize(("gone_by", "code"), [("2026-03-02T14:00:00Z", 6), ("2026-03-02T14:29:50Z", 0)])
def test_a_pod_that_is_stuck_is_a_problem_and_a_slow_one_is_none(gone_by: str, code: int) -> None:
    plan = a_plan(a_client(), pods=(pod_of(deleted_at=gone_by),))
    report = Report(plan, tuple(Outcome(step, Result.WAITING) for step in plan.steps))
    assert exit_code_of_report(report) == code


@pytest.mark.parametrize("first", range(len(URGENCY)))
def test_the_most_urgent_thing_decides_the_exit_code(first: int) -> None:
    told: dict[str, Any] = {}
    for fields, _ in URGENCY[first:]:
        told |= fields
    results = [told.pop("outcomes")] if "outcomes" in told else []
    assert exit_code_of_report(a_report(*results, **told)) is URGENCY[first][1]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGINT, ExitCode.INTERRUPTED)]
)
def test_a_signal_is_told_as_a_shell_tells_it(number: signal.Signals, code: ExitCode) -> None:
    assert exit_code_of_report(a_report(stopped_by=int(number))) is code


@pytest.mark.parametrize("result", [result for result in Result if result not in (Result.FAILED, Result.CONFLICT)])
def test_what_is_done_or_on_its_way_exits_with_0(result: Result) -> None:
    assert exit_code_of_report(a_report(result)) is ExitCode.DONE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), ExitCode.USAGE),
        (errors.LeaseHeld("a host", None, None), ExitCode.LEASE_HELD),
        (errors.LeaseLost("x"), ExitCode.LEASE_HELD),
        (errors.StalePlan("x"), ExitCode.STALE_PLAN),
        (errors.DatabaseUnavailable("x"), ExitCode.ERROR),
        (errors.SchemaMismatch("x"), ExitCode.ERROR),
        (errors.ClusterUnavailable("x"), ExitCode.ERROR),
        (errors.AccessDenied("x"), ExitCode.ERROR),
        (errors.InvalidInput("x", ["y"]), ExitCode.ERROR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_has_its_code(error: errors.SyncctlError, code: ExitCode) -> None:
    assert exit_code_of_error(error) is code


def test_every_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)


def test_a_steps_reason_is_not_changed_by_what_became_of_it() -> None:
    (step,) = a_plan(a_client()).steps
    assert Outcome(step, Result.FAILED, "no route to host").step == replace(step)


def test_b4_a_halted_change_and_a_back_off_are_problems_and_what_is_paced_is_none() -> None:
    plan = a_plan(a_client(1))
    of_kind = dict.fromkeys(HoldKind, ExitCode.DONE)
    # B4: what has ended and backs off is down, and nothing is under way that brings it back.
    of_kind |= {HoldKind.HALTED: ExitCode.INCOMPLETE, HoldKind.BACK_OFF: ExitCode.INCOMPLETE}
    # The plan's creation is of what does not run.
    of_kind |= {HoldKind.SUSPENDED: ExitCode.INCOMPLETE}
    for kind, code in of_kind.items():
        held = plan.holding({plan.drifted[0].name: Hold(kind, "for a reason")})
        report = Report(held, tuple(Outcome(step, Result.DEFERRED) for step in held.drifted))
        assert exit_code_of_report(report) is code


def test_e4_a_pod_whose_resize_is_not_done_is_named_when_it_is_in_trouble_and_is_no_error() -> None:
    crashing = ContainerState("algorithm", waiting="CrashLoopBackOff")
    pods = (
        pod_of(a_client(1), resizing="Deferred: no room", resizing_since="2026-03-02T14:29:00Z"),
        pod_of(a_client(2), resizing="Deferred: no room", resizing_since="2026-03-02T14:00:00Z"),
        pod_of(a_client(3), resizing="Error: in use", resizing_since="2026-03-02T14:29:59Z"),
        pod_of(a_client(4), resizing="in progress", containers=(crashing,)),
    )
    plan = a_plan(*map(a_client, (1, 2, 3, 4)), pods=pods)
    sick = unhealthy(plan, NOW)
    assert [(name, health.message) for name, health in sick] == [
        ("vwap-102", "not resized: Deferred: no room"),
        ("vwap-103", "not resized: Error: in use"),
        ("vwap-104", "CrashLoopBackOff"),
    ]
    report = Report(plan, tuple(Outcome(step, Result.WAITING) for step in plan.drifted), unhealthy=sick)
    assert report.summary.endswith("0 unchanged, 4 waiting; 3 of them not healthy")
    assert exit_code_of_report(report) is ExitCode.DONE


def test_a_pod_in_sync_that_is_in_trouble_is_named_and_counted() -> None:
    crashing = ContainerState("algorithm", restarts=3, waiting="CrashLoopBackOff")
    pods = (
        pod_of(a_client(1)),
        pod_of(a_client(2), containers=(crashing,), unready="ContainersNotReady"),
        pod_of(a_client(3), phase="Pending"),
    )
    plan = a_plan(*map(a_client, (1, 2, 3)), pods=pods)
    sick = unhealthy(plan, NOW)
    assert [(name, health.message) for name, health in sick] == [("vwap-102", "CrashLoopBackOff")]
    report = Report(plan, (), unhealthy=sick)
    assert report.summary.endswith("3 unchanged, 0 waiting; 1 of them not healthy")
    assert exit_code_of_report(report) is ExitCode.DONE


def test_e2_a_pod_in_sync_that_fits_on_no_node_or_cannot_get_its_image_is_named() -> None:
    # Neither has said yet whether it is ready: these are known by their phase.
    waiting = ContainerState("algorithm", waiting="ImagePullBackOff", message="no such tag")
    pods = (
        pod_of(a_client(1), phase="Pending", node="", unschedulable="0/3 nodes are available"),
        pod_of(a_client(2), phase="Pending", containers=(waiting,)),
        pod_of(a_client(3), phase="Pending"),
    )
    plan = a_plan(*map(a_client, (1, 2, 3)), pods=pods)
    assert [(name, health.message) for name, health in unhealthy(plan, NOW)] == [
        ("vwap-101", "Unschedulable: 0/3 nodes are available"),
        ("vwap-102", "ImagePullBackOff: no such tag"),
    ]


# What later passes leave just so


def left(result: Result = Result.DEFERRED, detail: str = "", *, hold: Hold | None = None, **fields: Any) -> str:
    """Return what tells the outcome of a client's creation that came to this."""
    (step,) = a_plan(a_client()).drifted
    return Outcome(replace(step, held=hold, **fields), result, detail).standing


@pytest.mark.parametrize("result", Result)
def test_c6_only_what_was_not_done_is_left_standing(result: Result) -> None:
    done = {Result.CREATED, Result.REPLACED, Result.UPDATED, Result.DELETED}
    assert bool(left(result)) == (result not in done)


def test_c6_numbers_and_times_make_no_other_outcome() -> None:
    of_quota = "pods is forbidden: exceeded quota: used: pods={}, limited: pods=12"
    assert left(Result.FAILED, of_quota.format(13)) == left(Result.FAILED, of_quota.format(9))
    assert left(Result.FAILED, of_quota) != left(Result.FAILED, "denied by a webhook")
    gone = "should have been gone {} s ago: held by finalizer x"
    assert left(Result.WAITING, reason=gone.format(9)) == left(Result.WAITING, reason=gone.format(332))


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("26 to be replaced, 10 a pass", "16 to be replaced, 10 a pass, less 3 that earlier passes have begun", True),
        ("has ended 3 times in a row; backing off until 14:35 UTC", "has ended 4 times in a row; x 15:01 UTC", True),
        ("3 of 9 pods are ill; look at vwap-1 is Degraded: Error", "4 of 9 pods are ill; look at twap-2: x", True),
        ("26 to be replaced, 10 a pass", "not in this run: --policy upsert-only", False),
    ],
)
def test_c6_what_a_hold_says_beyond_why_it_is_there_makes_no_other_outcome(before: str, after: str, same: bool) -> None:
    told = [left(hold=Hold(HoldKind.DEFERRED, why)) for why in (before, after)]
    assert (told[0] == told[1]) == same
    assert left(hold=Hold(HoldKind.HALTED, before)) != told[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "vwap-9"},
        {"kind": StepKind.REPLACE},
        {"cause": Cause.REPLACEMENT_BEGUN},
        {"observed": pod_of()},
        {"key": key(8)},
        {"reason": "image desk/vwap:1.4.2 -> desk/vwap:1.4.3"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_c6_another_step_is_another_outcome(fields: dict[str, Any]) -> None:
    hold = Hold(HoldKind.DEFERRED, "26 to be replaced, 10 a pass")
    assert left(hold=hold, **fields) != left(hold=hold)
    assert left(Result.REFUSED, hold=hold) != left(hold=hold)
    if "reason" in fields:
        # Of what is held the plan's own reason says what is to be done, to the digit.
        other = {"reason": fields["reason"].replace("1.4.3", "1.4.4")}
        assert left(hold=hold, **fields) != left(hold=hold, **other)


def test_c6_what_names_no_client_is_never_left_standing() -> None:
    assert left(Result.CONFLICT, key=None) == ""
