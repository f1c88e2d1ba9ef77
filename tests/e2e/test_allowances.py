"""What the guard refuses it remembers by itself, and what a person has allowed lasts until it is done."""

from datetime import timedelta

import pytest
from kit.clusters import SandboxCluster
from sqlalchemy import text

from syncctl.core.errors import ClusterError
from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.facts import Policy
from syncctl.core.judge import JudgedPlan
from syncctl.core.memory import GuardKind
from syncctl.core.model import Client
from syncctl.core.report import Outcome, Report, Result
from syncctl.core.shard import Shard
from syncctl.db.engine import reading
from syncctl.db.history import list_passes, list_steps
from syncctl.db.snapshot import read_snapshot

from .desk import Desk, counted_transactions, vwap
from .test_restores import empty, many, put_back

ORPHANS = GuardKind.ORPHANS


@pytest.fixture
def desk(sandbox_desk: Desk) -> Desk:
    """A database and a sandbox: forty pods would be much to ask of a real cluster."""
    return sandbox_desk


class Killed(BaseException):
    """The process is no more."""


class Killing:
    """A witness by whose hand the pass ends as soon as there is a first outcome, and before it is recorded."""

    def planned(self, judged: JudgedPlan) -> None: ...

    def settled(self, outcome: Outcome) -> None:
        raise Killed

    def reported(self, report: Report) -> None: ...


def lose(desk: Desk, *rows: Client) -> None:
    for each in rows:
        desk.sql("DELETE FROM algorithm_status WHERE client_id = :id", id=each.id)
        desk.sql("DELETE FROM clients WHERE id = :id", id=each.id)


def deleted_and_refused(desk: Desk, **options: object) -> tuple[int, int]:
    counts = desk.run(**options).counts()
    return counts[Result.DELETED], counts[Result.REFUSED]


def left_to_allow(desk: Desk) -> int:
    with reading(desk.engine) as connection:
        return int(connection.execute(text("SELECT count(*) FROM guard_allowances")).scalar_one())


# The latch ------------------------------------------------------------------------------------------------------------


def test_c6_the_guard_stays_shut_when_the_history_is_lost(desk: Desk) -> None:
    rows = many(desk, 20)
    empty(desk)
    desk.run()
    desk.sql("DELETE FROM passes")
    put_back(desk, rows[:18])
    assert deleted_and_refused(desk) == (0, 2)


def test_c6_a_pass_that_refused_and_was_killed_leaves_the_guard_shut(desk: Desk) -> None:
    rows = many(desk, 20)
    empty(desk)
    with pytest.raises(Killed):
        desk.run(Killing())
    put_back(desk, rows[:18])
    assert deleted_and_refused(desk) == (0, 2)


def test_c6_the_refusal_says_since_when_and_by_whom(desk: Desk) -> None:
    rows = many(desk, 20)
    empty(desk)
    (first,) = desk.run().refusals
    assert "orphans have been refused since" not in first.message
    latch = read_snapshot(desk.engine, consume_restarts=False).latches[ORPHANS]
    put_back(desk, rows[:18])
    desk.later += timedelta(hours=3)
    (second,) = desk.run().refusals
    assert f"since {latch.since:%Y-%m-%d %H:%M:%S} UTC, first found by {latch.by}" in second.message
    assert abs(latch.since + timedelta(hours=3) - desk.now()) < timedelta(minutes=1)
    assert "@" in latch.by


def test_c6_a_pass_that_had_no_plan_settles_nothing(desk: Desk, sandbox: SandboxCluster) -> None:
    rows = many(desk, 20)
    empty(desk)
    desk.run()
    put_back(desk, rows[:18])
    sandbox.sandbox.faults.add(verb="list", status=403, times=None)
    with pytest.raises(ClusterError):
        desk.run()
    sandbox.sandbox.faults.clear()
    assert deleted_and_refused(desk) == (0, 2)


def test_c6_what_the_whole_fleet_refused_is_settled_shard_by_shard(desk: Desk) -> None:
    rows = many(desk, 20)
    empty(desk)
    desk.run()
    put_back(desk, rows)
    odd, even = Shard(1, 2), Shard(0, 2)
    assert desk.run(shard=odd).counts()[Result.UNCHANGED] == 10
    lose(desk, next(each for each in rows if each.id % 2), next(each for each in rows if not each.id % 2))
    # The odd ones are settled, so one orphan of ten goes unasked; the even ones are not.
    assert deleted_and_refused(desk, shard=odd) == (1, 0)
    assert deleted_and_refused(desk, shard=even) == (0, 1)


def test_c6_a_refusal_that_goes_on_is_not_written_again_and_its_end_is(desk: Desk) -> None:
    rows = many(desk, 20)
    empty(desk)
    with counted_transactions(desk.engine) as ended:
        desk.run()
    # Lease, rows, latch, record, lease; and what is in between asks whether the lease is still held.
    first = ended["commit"]
    with counted_transactions(desk.engine) as ended:
        desk.run()
    assert ended["commit"] == first - 1
    put_back(desk, rows)
    with counted_transactions(desk.engine) as ended:
        desk.run()
    # Nor is it looked up how rows went of which there are all.
    assert ended["commit"] == first - 2
    assert read_snapshot(desk.engine, consume_restarts=False).latches == {}


def test_c6_what_is_refused_in_each_pass_is_in_the_history_of_each_and_stored_once(desk: Desk) -> None:
    rows = many(desk, 20)
    lose(desk, *rows[:15])
    first = desk.run()
    # The message of the second pass says since when, and those after it say the same, whatever the numbers.
    second, third = desk.run(), desk.run()
    lose(desk, rows[15])
    fourth = desk.run()
    with reading(desk.engine) as connection:
        stored = connection.execute(text("SELECT count(*) FROM standing_steps")).scalar_one()
    assert stored == 16
    passes = [record.id for record in reversed(list_passes(desk.engine, 4))]
    for report, number in zip((first, second, third, fourth), passes, strict=True):
        shown = {(step.pod, step.result, step.since) for step in list_steps(desk.engine, number)}
        since = {vwap(each): passes[0] for each in rows[:15]} | {vwap(rows[15]): passes[3]}
        refused = {outcome.step.name for outcome in report.outcomes}
        assert shown == {(pod, "refused", since[pod]) for pod in refused}
    # The last one to end it is the one that deletes them.
    assert desk.run(allow_deletions=16).counts()[Result.DELETED] == 16
    (last,) = list_passes(desk.engine, 1)
    assert {step.result for step in list_steps(desk.engine, last.id)} == {"deleted"}
    assert len(list_steps(desk.engine, passes[2])) == 15


# What a person has allowed --------------------------------------------------------------------------------------------


def test_c6_what_was_allowed_and_the_deadline_put_off_is_done_by_later_passes(desk: Desk) -> None:
    rows = many(desk, 20)
    lose(desk, *rows[:15])
    desk.run()
    desk.set(pass_deadline=1e-9)
    assert desk.run(allow_deletions=15).counts()[Result.DEFERRED] == 15
    # Nobody has to say it again, and it is for those fifteen only.
    desk.set(pass_deadline=150.0)
    lose(desk, rows[15])
    report = desk.run()
    assert exit_code_of_report(report) is ExitCode.REFUSED
    assert (report.counts()[Result.DELETED], report.counts()[Result.REFUSED]) == (15, 1)
    assert report.refusals[0].hint.endswith("--allow-deletions 1`")
    assert left_to_allow(desk) == 0


def test_c6_what_was_allowed_and_failed_stays_allowed(desk: Desk, sandbox: SandboxCluster) -> None:
    rows = many(desk, 20)
    lose(desk, *rows[:15])
    desk.run()
    for each in rows[:5]:
        sandbox.sandbox.faults.add(verb="delete", name=vwap(each), status=403, times=None)
    counts = desk.run(allow_deletions=15).counts()
    assert (counts[Result.DELETED], counts[Result.FAILED]) == (10, 5)
    assert left_to_allow(desk) == 5
    # Ten of the fifteen that a person has allowed were deleted, so the guard is open again, and five are still allowed.
    sandbox.sandbox.faults.clear()
    assert deleted_and_refused(desk) == (5, 0)
    assert left_to_allow(desk) == 0


def test_c6_what_was_allowed_to_a_pass_that_was_killed_stays_allowed(desk: Desk) -> None:
    rows = many(desk, 20)
    lose(desk, *rows[:15])
    desk.run()
    with pytest.raises(Killed):
        desk.run(Killing(), allow_deletions=15)
    desk.run()
    desk.until_gone(*map(vwap, rows[:15]))
    desk.run()
    assert left_to_allow(desk) == 0


def test_c6_what_was_allowed_is_that_pod_and_not_its_successor(desk: Desk) -> None:
    rows = many(desk, 20)
    lose(desk, *rows[:15])
    desk.run()
    desk.set(pass_deadline=1e-9)
    desk.run(allow_deletions=15)
    desk.set(pass_deadline=150.0)
    manifest = desk.cluster.pods()[vwap(rows[0])]
    desk.remove(vwap(rows[0]))
    desk.until_gone(vwap(rows[0]))
    metadata = {name: manifest["metadata"][name] for name in ("name", "labels", "annotations")}
    desk.api.create_pod({**manifest, "metadata": metadata})
    assert deleted_and_refused(desk) == (14, 1)


def test_c6_a_client_that_came_back_in_between_is_not_deleted_for_an_old_word(desk: Desk) -> None:
    rows = many(desk, 20)
    lose(desk, *rows[:15])
    desk.run()
    desk.set(pass_deadline=1e-9)
    desk.run(allow_deletions=15)
    desk.set(pass_deadline=150.0)
    put_back(desk, rows[:15])
    assert desk.run().counts()[Result.UNCHANGED] == 20
    assert left_to_allow(desk) == 0
    lose(desk, *rows[:15])
    assert deleted_and_refused(desk) == (0, 15)


def test_c6_a_policy_that_deletes_nothing_uses_up_no_word(desk: Desk) -> None:
    rows = many(desk, 20)
    lose(desk, *rows[:15])
    desk.run()
    desk.set(pass_deadline=1e-9)
    desk.run(allow_deletions=15)
    desk.set(pass_deadline=150.0)
    assert desk.run(policy=Policy.UPSERT_ONLY).counts()[Result.DEFERRED] == 15
    assert left_to_allow(desk) == 15
    assert deleted_and_refused(desk) == (15, 0)


def test_c6_a_shard_leaves_alone_what_was_allowed_in_others(desk: Desk) -> None:
    rows = many(desk, 20)
    lose(desk, *rows[:16])
    desk.run()
    desk.set(pass_deadline=1e-9)
    desk.run(allow_deletions=16)
    desk.set(pass_deadline=150.0)
    assert deleted_and_refused(desk, shard=Shard(0, 2)) == (8, 0)
    assert left_to_allow(desk) == 8
    assert deleted_and_refused(desk, shard=Shard(1, 2)) == (8, 0)
    assert left_to_allow(desk) == 0


def test_c6_what_was_allowed_in_a_shard_is_no_orphan_to_the_others(desk: Desk) -> None:
    def told() -> int:
        with reading(desk.engine) as connection:
            return int(connection.execute(text("SELECT orphans FROM lease WHERE name = '0/2'")).scalar_one())

    rows = many(desk, 20)
    lose(desk, *(each for each in rows if each.id % 2 == 0))
    desk.set(pass_deadline=1e-9)
    desk.run(shard=Shard(0, 2), allow_deletions=10)
    assert told() == 10
    desk.run(shard=Shard(0, 2))
    assert told() == 0


def test_c6_switched_off_pods_over_their_limit_stay_allowed_too(desk: Desk) -> None:
    rows = many(desk, 12)
    desk.set(switch_off_limit=3, pass_deadline=1e-9)
    for each in rows[:5]:
        desk.switch(each.name, vwap=False)
    assert desk.run(allow_deletions=5).counts()[Result.DEFERRED] == 5
    desk.set(pass_deadline=150.0)
    assert deleted_and_refused(desk) == (5, 0)
