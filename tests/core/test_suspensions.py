"""What is suspended: which word counts, what is held, and what is neither counted nor judged by it."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.health import HealthStatus
from syncctl.core.holds import back_off, halt, pace
from syncctl.core.judge import JudgedPlan, judge
from syncctl.core.manifest import evidence
from syncctl.core.memory import Begun, GuardKind
from syncctl.core.model import Algorithm, Client, ObservedPod
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.report import Outcome, Report, Result, unhealthy
from syncctl.core.shard import Shard
from syncctl.core.status import StatusRow, Sync, status_rows
from syncctl.core.steps import Cause, HoldKind, StepKind
from syncctl.core.suspensions import Suspension, suspensions_of
from syncctl.core.waiting import Goal, verdict
from syncctl.operations.apply import _HELD

from .builders import NOW, RULES, a_client, a_suspension, desired_by, facts_of, key, pod_of

LEAVING = "2026-03-02T14:30:30Z"
GONE = Begun(NOW, True, "restart-asked", frozenset({"uid-of-vwap-107"}))
CRASHED: dict[str, Any] = {"phase": "Failed"}
OTHER = a_client(image="desk/vwap:2")
LAX = replace(RULES, orphan_percent=100.0)


def judged(
    suspensions: list[Suspension],
    *clients: Client,
    pods: tuple[ObservedPod, ...] = (),
    rules: Any = RULES,
    **known: Any,
) -> JudgedPlan:
    """Return what a pass makes of these rows and pods."""
    found = suspensions_of(suspensions)
    rows = {name: known.pop(name) for name in ("deleted",) if name in known}
    desired = desired_by(*clients, suspensions=found, begun=known.get("begun", {}), **rows)
    return judge(make_plan(desired, pods, NOW, Others()), facts_of(suspensions=found, **known), rules)


def held(plan: JudgedPlan) -> list[tuple[str, str, str]]:
    """Return step, cause and hold of all that is not in sync; "" where there is none."""
    return [
        (step.kind.value, step.cause.value, step.held.kind.value if step.held else "") for step in plan.plan.drifted
    ]


def reported(plan: JudgedPlan) -> Report:
    """Return the report of a pass that does all it may."""
    done = {StepKind.CREATE: Result.CREATED, StepKind.DELETE: Result.DELETED, StepKind.REPLACE: Result.REPLACED}
    outcomes = tuple(
        Outcome(step, _HELD[step.held.kind] if step.held else done.get(step.kind, Result.WAITING))
        for step in plan.plan.drifted
    )
    return Report(plan.plan, outcomes, plan.refusals, suspended=plan.suspended_in_sync)


# Whose word counts


@pytest.mark.parametrize(
    ("words", "decides"),
    [
        ([], None),
        ([a_suspension(id=1)], 1),
        ([a_suspension(8, id=1), a_suspension(7, Algorithm.TWAP, id=2)], None),
        ([a_suspension(7, id=1), a_suspension(7, ends_at=NOW + timedelta(hours=3), id=2)], 2),
        ([a_suspension(7, ends_at=None, id=1), a_suspension(ends_at=NOW + timedelta(days=9), id=2)], 1),
        ([a_suspension(7, Algorithm.VWAP, stops=True, id=1), a_suspension(ends_at=None, id=2)], 1),
    ],
)
def test_of_several_the_one_that_stops_counts_and_then_the_one_that_lasts(
    words: list[Suspension], decides: int | None
) -> None:
    for order in (words, words[::-1]):
        found = suspensions_of(order).of(key(7))
        assert (found.id if found else None) == decides


def test_a_pod_of_nobody_knows_whom_is_covered_by_the_fleets_alone() -> None:
    assert suspensions_of([a_suspension(7)]).of(None) is None
    assert suspensions_of([a_suspension()]).of(None) is not None


# What is held


@pytest.mark.parametrize("word", [a_suspension(), a_suspension(7), a_suspension(7, Algorithm.VWAP)])
@pytest.mark.parametrize(
    ("client", "pod", "expected"),
    [
        (a_client(), None, ("create", "missing")),
        (a_client(), pod_of(**CRASHED), ("replace", "finished")),
        (OTHER, pod_of(), ("update", "image-differs")),
        (a_client(cpu="2"), pod_of(), ("update", "resources-differ")),
        (a_client(restart_generation=3), pod_of(), ("replace", "restart-asked")),
        (a_client(name="other"), pod_of(), ("update", "metadata-differs")),
        (a_client(8), pod_of(), ("delete", "orphan")),
    ],
)
def test_nothing_is_begun_on_what_is_suspended_and_what_would_be_is_shown(
    word: Suspension, client: Client, pod: ObservedPod | None, expected: tuple[str, str]
) -> None:
    pods = tuple(filter(None, (pod, pod_of(a_client(8)) if client.id == 8 else None)))
    plan = judged([word], client, pods=pods)
    assert held(plan) == [(*expected, "suspended")]
    (step,) = plan.plan.drifted
    assert step.held is not None
    assert step.held.why == "by anna@desk7 until 2026-03-02 16:30 UTC: the exchange asked"


def test_a_second_pod_of_a_suspended_key_is_left_and_is_an_error() -> None:
    plan = judged([a_suspension(7)], a_client(), pods=(pod_of(), pod_of(name="vwap-107-too", uid="2")), rules=LAX)
    assert held(plan) == [("delete", "duplicate", "suspended")]
    assert exit_code_of_report(reported(plan)) is ExitCode.INCOMPLETE


@pytest.mark.parametrize("word", [a_suspension(), a_suspension(7)])
def test_a_persons_stop_goes_through(word: Suspension) -> None:
    assert held(judged([word], a_client(enabled=""), pods=(pod_of(),))) == [("delete", "switched-off", "")]
    assert held(judged([word], pods=(pod_of(),), deleted=(7,))) == [("delete", "client-deleted", "")]
    # What rests on a name alone is no person's word.
    by_name = pod_of(environment=type(pod_of().environment)())
    assert held(judged([word], a_client(enabled=""), pods=(by_name,))) == [("delete", "switched-off", "suspended")]


def test_a_namesake_of_a_deleted_client_is_not_suspended() -> None:
    namesake = a_client(9, name="client 7")
    assert held(judged([a_suspension(7)], namesake, deleted=(7,))) == [("create", "missing", "")]


def test_an_ended_pod_whose_ids_have_moved_is_left_where_either_key_is_suspended() -> None:
    # By its name it is of client 7, by its environment of client 8.
    moved = replace(pod_of(a_client(8)), name="vwap-107", phase="Failed")
    for client in (7, 8):
        plan = judged([a_suspension(client)], a_client(7), a_client(8), pods=(moved,))
        (deletion,) = [step for step in plan.plan.drifted if step.kind is StepKind.DELETE]
        assert deletion.held is not None
        # And what has to wait for it, and is not suspended itself, does not run: somebody should look.
        assert deletion in [problem.step for problem in reported(plan).problems]


@pytest.mark.parametrize("word", [a_suspension(), a_suspension(8), a_suspension(8, stops=True)])
def test_a_pod_is_handed_to_its_shard_whatever_is_suspended(word: Suspension) -> None:
    """Nobody else finds it, so nobody else could stop it."""
    shard = Shard(0, 3)
    lost = pod_of(a_client(8))
    found = suspensions_of([word])
    plan = make_plan(desired_by(suspensions=found, shard=shard), [lost], NOW, Others())
    (step,) = judge(plan, facts_of(suspensions=found, shard=shard), RULES).plan.drifted
    assert (step.cause, step.held) == (Cause.BUCKET_DIFFERS, None)


@pytest.mark.parametrize(
    ("begun", "pods", "stops", "expected"),
    [
        pytest.param(GONE, (), False, [("create", "replacement-begun", "")], id="its old pod is gone"),
        pytest.param(GONE, (pod_of(deleted_at=LEAVING),), False, [("wait", "terminating", "")], id="it is going"),
        pytest.param(GONE, (pod_of(),), False, [("replace", "restart-asked", "suspended")], id="a row alone"),
        pytest.param(
            replace(GONE, uids=frozenset()), (), False, [("create", "replacement-begun", "suspended")], id="of an older"
        ),
        pytest.param(GONE, (), True, [("create", "stopped", "suspended")], id="unless it is stopped"),
    ],
)
def test_what_was_begun_before_is_finished(
    begun: Begun, pods: tuple[ObservedPod, ...], stops: bool, expected: list[tuple[str, str, str]]
) -> None:
    client = a_client(restart_generation=3)
    plan = judged([a_suspension(7, stops=stops)], client, pods=pods, begun={key(7): begun})
    assert held(plan) == expected


def test_what_is_stopped_goes_and_stays_away_and_is_no_error() -> None:
    word = a_suspension(7, stops=True)
    going = judged([word], a_client(enabled="vwap twap"), a_client(8), pods=(pod_of(), pod_of(a_client(8))))
    assert held(going) == [("delete", "stopped", ""), ("create", "stopped", "suspended")]
    assert exit_code_of_report(reported(judged([word], a_client()))) is ExitCode.DONE
    for invalid in (a_client(cpu="1,5"), a_client(cpu="1,5", enabled="")):
        assert held(judged([word], invalid, pods=(pod_of(),))) == [("delete", "stopped", "")]
    # Whatever becomes of its rows; what rests on the environment alone is the guard's to judge, as ever.
    assert held(judged([word], pods=(pod_of(),), rules=LAX)) == [("delete", "stopped", "")]
    assert held(judged([word], pods=(pod_of(),))) == [("delete", "stopped", "refused")]


def test_a_stop_counts_for_the_limit_of_stops() -> None:
    word, two = a_suspension(7, stops=True), a_client(8, enabled="")
    pods = (pod_of(), pod_of(a_client(8)))
    plan = judged([word], a_client(), two, pods=pods, rules=replace(RULES, switch_off_limit=1))
    assert {hold for _, _, hold in held(plan)} == {"refused"}


# What the other holds make of it


def test_the_guard_counts_and_latches_for_what_is_suspended() -> None:
    """A TRUNCATE must not hide behind a suspension, and its orphans are refused when that is over."""
    orphans = tuple(pod_of(a_client(number)) for number in range(1, 21))
    plan = judged([a_suspension()], pods=orphans)
    assert {hold for _, _, hold in held(plan)} == {"suspended"}
    assert plan.notes.refused == {GuardKind.ORPHANS}
    assert "refused to delete 20 pods" in plan.refusals[0].message
    assert exit_code_of_report(reported(plan)) is ExitCode.REFUSED
    # A person may allow them by now; they go when they may be touched.
    allowed = judged([a_suspension()], pods=orphans, rules=replace(RULES, allow_deletions=20))
    assert len(allowed.notes.allowed) == 20
    assert {hold for _, _, hold in held(allowed)} == {"suspended"}


def test_what_is_suspended_and_away_takes_no_part_of_the_pace() -> None:
    rows = [a_client(number, restart_generation=3) for number in range(1, 31)]
    pods = tuple(pod_of(a_client(row.id)) for row in rows)
    begun = {key(number): GONE for number in range(31, 51)}
    asked = [a_client(number) for number in range(31, 51)]
    words = [a_suspension(number) for number in range(31, 51)]
    away = make_plan(desired_by(*rows, *asked, begun=begun), pods, NOW, Others())
    assert len(away.away) == 20
    may = len(rows) - len(pace.hold(away, facts_of(suspensions=suspensions_of(words)), RULES).holds)
    assert may == max(pace.AT_LEAST, (30 * 25) // 100)
    assert len(pace.hold(away, facts_of(), RULES).holds) == len(rows)


def test_what_is_suspended_is_no_evidence_for_a_halt() -> None:
    template = desired_by().blueprint.template.digest[:16]
    marks = {"syncctl.io/template": template, **evidence(Cause.RESTART_ASKED, NOW)}

    def restarted(number: int, **fields: Any) -> ObservedPod:
        pod = pod_of(a_client(number, restart_generation=3), **fields)
        return replace(pod, annotations={**pod.annotations, **marks})

    rows = [a_client(number, restart_generation=3) for number in range(1, 7)]
    pods = [restarted(1, **CRASHED), restarted(2, **CRASHED), *(pod_of(a_client(number)) for number in range(3, 7))]
    plan = make_plan(desired_by(*rows), pods, NOW, Others())
    assert {hold.kind for hold in halt.hold(plan, facts_of(), RULES).holds.values()} == {HoldKind.HALTED}
    words = suspensions_of([a_suspension(1), a_suspension(2)])
    assert halt.hold(plan, facts_of(suspensions=words), RULES).holds == {}


def test_what_is_suspended_moves_no_back_off() -> None:
    known = {key(7): back_off.BackOff(3, NOW - timedelta(hours=9), "", "another")}
    up = pod_of(created_at="2026-03-01T09:00:00Z")
    assert judged([], a_client(), pods=(up,), back_offs=known).notes.back_offs == {key(7): None}
    for pod in (up, pod_of(**CRASHED)):
        assert judged([a_suspension(7)], a_client(), pods=(pod,), back_offs=known).notes.back_offs == {}


# What a person is told


def status_of(words: list[Suspension], *clients: Client, pods: tuple[ObservedPod, ...] = ()) -> StatusRow:
    (row,) = status_rows(judged(words, *clients, pods=pods), clients, lambda _step: True)
    return row


@pytest.mark.parametrize(
    ("word", "client", "pods", "sync", "health"),
    [
        (a_suspension(7), a_client(), (pod_of(),), Sync.SUSPENDED, HealthStatus.HEALTHY),
        (a_suspension(), OTHER, (pod_of(),), Sync.SUSPENDED, HealthStatus.HEALTHY),
        (a_suspension(7), a_client(), (), Sync.SUSPENDED, HealthStatus.MISSING),
        (a_suspension(7), a_client(), (pod_of(**CRASHED),), Sync.SUSPENDED, HealthStatus.DEGRADED),
        (a_suspension(7, stops=True), a_client(), (), Sync.SUSPENDED, HealthStatus.STOPPED),
        (a_suspension(7), a_client(enabled=""), (pod_of(),), Sync.OUT_OF_SYNC, HealthStatus.HEALTHY),
        (a_suspension(7, stops=True), a_client(), (pod_of(),), Sync.OUT_OF_SYNC, HealthStatus.HEALTHY),
        (a_suspension(7), a_client(cpu="1,5"), (pod_of(),), Sync.UNKNOWN, HealthStatus.HEALTHY),
        (a_suspension(8), a_client(), (pod_of(),), Sync.IN_SYNC, HealthStatus.HEALTHY),
    ],
)
def test_suspended_is_a_word_of_its_own_and_never_in_sync(
    word: Suspension, client: Client, pods: tuple[ObservedPod, ...], sync: Sync, health: HealthStatus
) -> None:
    healthy = tuple(pod if pod.finished else replace(pod, phase="Running") for pod in pods)
    row = status_of([word], client, pods=healthy)
    assert (row.sync, row.health.status) == (sync, health)
    assert row.is_unhealthy is (health in (HealthStatus.DEGRADED, HealthStatus.MISSING))


def test_a_pass_with_suspended_pods_ends_well_and_counts_them() -> None:
    pods = pod_of(), pod_of(a_client(8))
    report = reported(judged([a_suspension()], a_client(), a_client(8, image="desk/vwap:2"), pods=pods))
    assert exit_code_of_report(report) is ExitCode.DONE
    assert report.summary == "2 pods: 0 created, 0 replaced, 0 deleted, 0 unchanged, 0 waiting, 2 suspended"


@pytest.mark.parametrize("pods", [(), (pod_of(**CRASHED),)])
def test_a_suspended_process_that_is_down_is_named_by_every_pass(pods: tuple[ObservedPod, ...]) -> None:
    report = reported(judged([a_suspension(7)], a_client(), pods=pods))
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE
    (problem,) = report.problems
    assert problem.problem.startswith("does not run, and is suspended")


def test_a_suspended_pod_that_runs_badly_is_in_trouble_as_ever() -> None:
    plan = judged([a_suspension()], OTHER, pods=(pod_of(unready="ReadinessGate", phase="Running"),))
    assert [name for name, _ in unhealthy(plan.plan, NOW)] == ["vwap-107"]
    # One that has ended is a problem of the pass, and not counted a second time.
    assert unhealthy(judged([a_suspension()], OTHER, pods=(pod_of(**CRASHED),)).plan, NOW) == ()


@pytest.mark.parametrize(
    ("word", "client", "pods", "goal", "done", "never"),
    [
        (a_suspension(7), OTHER, (pod_of(),), Goal.SYNCED, False, True),
        (a_suspension(7), a_client(), (pod_of(),), Goal.HEALTHY, True, False),
        (a_suspension(7), a_client(), (pod_of(),), Goal.GONE, False, True),
        (a_suspension(7, stops=True), a_client(), (pod_of(),), Goal.GONE, False, False),
        (a_suspension(7, stops=True), a_client(), (), Goal.GONE, True, False),
        (a_suspension(7, stops=True), a_client(), (), Goal.HEALTHY, False, True),
    ],
)
def test_what_is_waited_for_never_comes_while_it_is_suspended(
    word: Suspension, client: Client, pods: tuple[ObservedPod, ...], goal: Goal, done: bool, never: bool
) -> None:
    found = verdict(status_of([word], client, pods=tuple(replace(pod, phase="Running") for pod in pods)), goal, 0.0)
    assert (found.done, found.never) == (done, never)
