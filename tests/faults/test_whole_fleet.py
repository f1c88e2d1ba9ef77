"""A large fleet of which a few pods cannot be had, and passes that run out of time."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, func, select

from syncctl.core.exits import ExitCode
from syncctl.core.report import Result
from syncctl.db.engine import reading
from syncctl.db.history import list_passes, list_steps
from syncctl.db.tables import clients
from syncctl.operations.making import STILL_THERE

from .world import NAMESPACE, World, add_rows, change_row

CLIENTS = 1000
ALGORITHMS = ("vwap", "twap", "hft")
REJECTED, TAKEN = "twap-501", "hft-77"


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_of_three_thousand_pods_three_cannot_be_had_and_all_others_are_there(engine: Engine, tmp_path: Path) -> None:
    with World(engine, tmp_path) as world:
        add_rows(engine, dict.fromkeys(range(1, CLIENTS + 1), " ".join(ALGORITHMS)))
        foreign = world.stray(TAKEN)
        world.sandbox.faults.add(verb="create", name=REJECTED, status=422, message="spec.x: Invalid value", times=None)
        # Room for all but one; the foreign pod counts too.
        world.sandbox.store.set_quota(NAMESPACE, 3 * CLIENTS - 3 + 1)
        world.sandbox.kubelet.tick()
        ended = world.run(concurrency=16, page_size=500)
        world.sandbox.kubelet.tick()
        assert ended.code is ExitCode.INCOMPLETE
        assert ended.report
        assert ended.report.summary == (
            "3000 pods: 2997 created, 0 replaced, 0 deleted, 0 unchanged, 0 waiting, 1 conflict, 2 failed"
        )
        assert len(world.pods()) == 2997
        assert world.uid(TAKEN) == foreign
        problems = {outcome.step.name: outcome for outcome in ended.report.problems}
        assert problems.pop(REJECTED).detail == f"cannot create pod {REJECTED}: spec.x: Invalid value"
        assert problems.pop(TAKEN).step.reason == (
            "the name is held by a pod that syncctl did not make;"
            " if the Go service made it, `sync once --adopt` takes it over"
        )
        # Whose turn comes last among so many at a time nobody knows.
        ((name, over),) = problems.items()
        assert over.detail.startswith(f'cannot create pod {name}: pods "{name}" is forbidden: exceeded quota: ')
        # And so history has it.
        (record,) = list_passes(engine, 9)
        assert (record.exit_code, record.counts["created"]) == (6, 2997)
        told = {step.pod for step in list_steps(engine, record.id) if step.result in ("failed", "conflict")}
        assert told == {REJECTED, TAKEN, name}
        with reading(engine) as connection:
            spawned = select(func.count()).select_from(clients).where(clients.c.spawned_at.is_not(None))
            assert connection.execute(spawned).scalar_one() == CLIENTS
        # The next pass tries just those again, and with the reasons gone all of it is there.
        assert world.run(concurrency=16, page_size=500).results().keys() == told
        world.sandbox.faults.clear()
        world.sandbox.store.set_quota(NAMESPACE, None)
        assert world.run(concurrency=16, page_size=500).results() == {
            REJECTED: Result.CREATED,
            name: Result.CREATED,
            TAKEN: Result.CONFLICT,
        }
        assert world.violations == []


@pytest.fixture
def eight(world: World) -> Iterator[World]:
    """A fleet of eight clients that have no pod yet, one request at a time."""
    add_rows(world.engine, dict.fromkeys(range(1, 9), "vwap"))
    world.settings = msgspec.structs.replace(world.settings, concurrency=1, page_size=500)
    yield world
    assert world.violations == []


def late_at(world: World, verb: str, number: int) -> None:
    """Let the deadline pass while the n-th such request is under way."""
    seen: list[str] = []

    def hook(_request: object, asked: str) -> None:
        world.sandbox.kubelet.tick()
        seen.extend([asked] * (asked == verb))
        if asked == verb and len(seen) == number:
            world.time.pass_(world.settings.pass_deadline)

    world.sandbox.server.on_request = hook


TOO_LATE = "the pass's deadline came first"


def test_after_the_deadline_no_step_begins_and_the_next_pass_goes_on(eight: World) -> None:
    # The first is asked about before it is made.
    late_at(eight, "create", 4)
    ended = eight.run()
    assert ended.code is ExitCode.DONE
    assert sorted(ended.results().values()) == [Result.CREATED] * 3 + [Result.DEFERRED] * 5
    assert set(ended.details().values()) == {TOO_LATE}
    eight.sandbox.server.on_request = None
    eight.settle()
    assert list(eight.run().results().values()) == [Result.CREATED] * 5


def test_a_list_that_took_all_the_time_leaves_everything_to_the_next_pass(eight: World) -> None:
    late_at(eight, "list", 1)
    ended = eight.run()
    assert (ended.code, ended.writes) == (ExitCode.DONE, 0)
    assert set(ended.results().values()) == {Result.DEFERRED}


@pytest.mark.parametrize("slow", [True, False])
def test_of_the_replacements_only_those_that_were_begun_are_finished(eight: World, slow: bool) -> None:
    eight.run()
    eight.settle()
    for number in range(1, 9):
        change_row(eight.engine, number, need_restart=True)
    eight.may_go.update(map(eight.uid, ("vwap-1", "vwap-2")))
    eight.sandbox.kubelet.stop_delay = 0.0
    if slow:
        eight.befall("vwap-2", "Stuck")
    late_at(eight, "delete", 2)
    ended = eight.run()
    assert ended.code is ExitCode.DONE
    results = ended.results()
    assert (results.pop("vwap-1"), results.pop("vwap-2")) == (
        Result.REPLACED,
        Result.WAITING if slow else Result.REPLACED,
    )
    assert set(results.values()) == {Result.DEFERRED}
    details = ended.details()
    # What was told to go is waited for beyond the deadline, for its grace and a little more.
    assert details.pop("vwap-2", None) == (STILL_THERE if slow else None)
    assert set(details.values()) == {TOO_LATE}
    assert eight.made["vwap-1"] == 2


def test_a_pod_that_takes_its_whole_grace_is_waited_for_and_one_that_takes_more_is_not(eight: World) -> None:
    eight.run()
    eight.settle()
    eight.may_go.update(map(eight.uid, ("vwap-1", "vwap-2")))
    for number in (1, 2):
        change_row(eight.engine, number, need_restart=True)
    eight.sandbox.kubelet.stop_delay = 29.0
    eight.befall("vwap-2", "Stuck")
    ended = eight.run()
    assert ended.results() == {"vwap-1": Result.REPLACED, "vwap-2": Result.WAITING}
    assert ended.details() == {"vwap-2": STILL_THERE}
    assert 40.0 <= ended.seconds <= 43.0
    # Never forced: it is still there, and the next passes say what a person can do.
    eight.settle()
    ended = eight.run()
    assert (ended.code, ended.writes, ended.results()) == (ExitCode.INCOMPLETE, 0, {"vwap-2": Result.WAITING})
    assert ended.report
    (stuck,) = ended.report.problems
    assert "the kubelet of node sandbox-1 has not confirmed it; is the node lost?" in stuck.step.reason
    assert "only when the process has certainly ended: `syncctl pod force-delete vwap-2`" in stuck.step.reason
