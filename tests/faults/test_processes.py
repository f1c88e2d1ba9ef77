"""Passes as real processes: two at once, one that is stopped for too long, and those that are told to end."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from syncctl.db.engine import connect, reading, writing
from syncctl.db.history import list_passes, list_steps
from syncctl.db.lease import Lease, acquire_lease, release_lease
from syncctl.db.tables import clients
from syncctl.operations.lease import lease_status
from syncctl.operations.planning import PassOptions
from syncctl.operations.sync import sync_once
from syncctl.sandbox.http.messages import Request

from .processes import PATIENCE, Child, poll, run
from .world import Witness, World, add_rows, change_row, outlive_lease

NUMBER = 8
ONE_AT_A_TIME = ("sync", "once", "-o", "json", "--concurrency", "1")
A_SLOW_START = """
import syncctl
syncctl.STARTED -= 61
from syncctl.cli.app import main
main()
"""
SHORT_TERM = """
import datetime
import syncctl.db.lease
syncctl.db.lease.TERM = datetime.timedelta(seconds=2)
import syncctl.operations.lease
syncctl.operations.lease.SAFETY = 0.5
from syncctl.cli.app import main
main()
"""


@pytest.fixture
def live(_sqlite_template: Path, _graveyard: ThreadPoolExecutor, tmp_path: Path) -> Iterator[World]:
    """A fleet of clients that have no pod yet, in a cluster that goes by real time."""
    path = tmp_path / "syncctl.db"
    path.write_bytes(_sqlite_template.read_bytes())
    engine = connect(f"sqlite:///{path}")
    world = World(engine, tmp_path, live=True).__enter__()
    add_rows(engine, dict.fromkeys(range(1, NUMBER + 1), "vwap"))
    yield world
    assert world.violations == []
    _graveyard.submit(world.__exit__)
    engine.dispose()


def at(world: World, verb: str, number: int, act: Callable[[], object]) -> None:
    """Act when the cluster is asked to do a thing for the n-th time, before it is answered."""
    seen: list[Any] = []

    def hook(request: Request, asked: str) -> None:
        if asked == verb and "dryRun" not in request.query:
            seen.append(True)
            if len(seen) == number:
                act()

    world.sandbox.server.on_request = hook


def codes(world: World) -> list[int]:
    """Return the exit codes of all passes, as history has them, oldest first."""
    return [each.exit_code for each in reversed(list_passes(world.engine, 9))]


# Two at once


def test_of_two_at_once_one_works_and_one_says_who_does(live: World) -> None:
    one_has_ended = threading.Event()
    at(live, "list", 1, lambda: one_has_ended.wait(PATIENCE))
    with Child(live, "sync", "once") as first, Child(live, "sync", "once") as second:
        poll(lambda: first.process.poll() is not None or second.process.poll() is not None)
        one_has_ended.set()
        ends = {child.pid: child.ended() for child in (first, second)}
    loser, winner = sorted(ends, key=lambda pid: ends[pid].code, reverse=True)
    assert (ends[winner].code, ends[loser].code) == (0, 5), ends
    assert f"error: another pass is at work: {os.uname().nodename}, process {winner} holds the lease since 20" in (
        ends[loser].err
    )
    assert " UTC, until 20" in ends[loser].err
    assert ends[loser].err.endswith(
        "hint: wait for it (`--wait 65s`); if that process is certainly dead, the lease ends by itself,"
        " or `syncctl lease release`\n"
    )
    assert set(live.made.values()) == {1}
    assert len(live.pods()) == NUMBER
    assert sorted(codes(live)) == [0, 5]
    assert lease_status(live.engine).holder is None


def test_a_holder_that_is_stopped_past_its_expiry_writes_nothing_more(live: World) -> None:
    with Child(live, *ONE_AT_A_TIME, launcher=SHORT_TERM) as stopped:
        frozen = threading.Event()

        def freeze() -> None:
            stopped.signal(signal.SIGSTOP)
            frozen.set()

        at(live, "create", 3, freeze)
        poll(lambda: frozen.is_set() or stopped.process.poll() is not None)
        assert frozen.is_set(), stopped.ended()
        poll(lambda: lease_status(live.engine).expired)
        successor = run(live, "sync", "once", "-o", "json")
        assert (successor.code, successor.counts) == (0, {"created": NUMBER - 3, "unchanged": 3})
        writes = live.writes()
        stopped.signal(signal.SIGCONT)
        end = stopped.ended()
    assert live.writes() == writes
    assert end.code == 5
    # The third was on its way when it was stopped, and was made.
    assert end.counts == {"created": 3, "deferred": NUMBER - 3}
    # Its own clock says the one, the thread that renews the other; whoever is scheduled first.
    assert end.details <= {
        "the lease has expired before it could be renewed",
        "the lease was lost: it expired, was released or is another's",
    }
    # In the order in which they were recorded.
    assert codes(live) == [0, 5]
    assert set(live.made.values()) == {1}


def test_a_lease_that_a_person_takes_away_stops_the_next_batch(live: World) -> None:
    change = threading.Event()

    def take_away() -> None:
        assert run(live, "lease", "release", "--yes").code == 0
        change.set()

    # Replacements come after creations, and each batch asks the database.
    assert run(live, "sync", "once").code == 0
    add_rows(live.engine, {NUMBER + 1: "vwap"})
    change_row(live.engine, 1, need_restart=True)
    at(live, "create", 1, take_away)
    end = run(live, *ONE_AT_A_TIME)
    assert change.is_set()
    assert (end.code, end.counts) == (5, {"created": 1, "deferred": 1, "unchanged": NUMBER - 1})
    assert end.details == {"the lease was lost: it expired, was released or is another's"}


# Waiting for the lease


@contextmanager
def waiting(world: World) -> Iterator[Child]:
    """Start a pass while another one has the lease, and yield it when it says that it waits."""
    holder = lease_status(world.engine).holder
    with Child(world, *ONE_AT_A_TIME, "--wait", "60s") as child:
        assert child.process.stderr
        line = child.process.stderr.readline()
        assert f"waiting for the lease, 60 s at the most: another pass is at work: {holder} holds" in line
        yield child


@pytest.fixture
def other(live: World) -> Lease:
    """The lease of a pass that is at work elsewhere."""
    with writing(live.engine) as connection:
        return acquire_lease(connection, "another, process 7")


def test_b2_a_pass_that_waits_for_another_goes_on_when_that_has_ended(live: World, other: Lease) -> None:
    with waiting(live) as child:
        assert live.sandbox.requests.total() == 0
        with writing(live.engine) as connection:
            release_lease(connection, other)
        end = child.ended()
    assert (end.code, end.counts) == (0, {"created": NUMBER})
    assert codes(live) == [0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_b2_a_signal_ends_the_wait_for_the_lease(live: World, other: Lease, number: signal.Signals, code: int) -> None:
    with waiting(live) as child:
        child.signal(number)
        end = child.ended()
    assert (end.code, end.out) == (code, "")
    assert "error: the pass was told to stop before it had a plan; nothing was written to the cluster" in end.err
    assert "Traceback" not in end.err
    assert live.sandbox.requests.total() == 0
    assert codes(live) == [code]
    assert lease_status(live.engine) == other


def test_b2_what_a_tick_replaces_makes_room_for_the_pass_that_waits(live: World) -> None:
    let_go = threading.Event()
    at(live, "list", 1, lambda: let_go.wait(PATIENCE))
    with Child(live, *ONE_AT_A_TIME) as old:
        poll(lambda: live.sandbox.requests.total() == 1)
        with waiting(live) as new:
            old.signal(signal.SIGTERM)
            let_go.set()
            assert old.ended().code == 143
            end = new.ended()
    assert (end.code, end.counts) == (0, {"created": NUMBER})
    assert codes(live) == [143, 0]


def test_b2_a_pass_that_waits_goes_on_where_a_killed_one_has_stopped(live: World) -> None:
    with Child(live, *ONE_AT_A_TIME) as dead:
        at(live, "create", 4, lambda: dead.signal(signal.SIGKILL))
        assert dead.ended().code == -signal.SIGKILL
        poll(lambda: len(live.pods()) == 4)
    live.sandbox.server.on_request = None
    with waiting(live) as child:
        outlive_lease(live.engine)
        end = child.ended()
    assert (end.code, end.counts) == (0, {"created": NUMBER - 4, "unchanged": 4})
    assert live.unrecorded() == set()


def test_b2_the_deadline_counts_from_the_start_of_the_process(live: World) -> None:
    with Child(live, *ONE_AT_A_TIME, "--pass-deadline", "60", launcher=A_SLOW_START) as child:
        end = child.ended()
    assert (end.code, end.counts) == (0, {"deferred": NUMBER})
    assert end.details == {"the pass's deadline came first"}
    assert live.writes() == 0


def test_b2_the_deadline_counts_the_wait_for_the_lease(live: World, other: Lease) -> None:
    clock, slept = live.time.clock(), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        live.time.pass_(seconds)
        if sum(slept) > 59:
            with writing(live.engine) as connection:
                release_lease(connection, other)

    settings = msgspec.structs.replace(live.settings, pass_deadline=60.0)
    arguments = (live.engine, live.cluster(), settings, PassOptions(), Witness(), replace(clock, sleep=sleep))
    report = sync_once(*arguments, wait=65.0, started=clock.monotonic() - 1.0)
    assert {outcome.detail for outcome in report.outcomes} == {"the pass's deadline came first"}
    assert 59 < sum(slept) < 61


# Killed


@pytest.mark.parametrize("freed", ["by time", "by a person"])
def test_what_a_killed_pass_has_made_is_recorded_by_the_next(live: World, freed: str) -> None:
    with Child(live, *ONE_AT_A_TIME) as child:
        at(live, "create", 4, lambda: child.signal(signal.SIGKILL))
        assert child.ended().code == -signal.SIGKILL
    # The fourth was on its way when it was killed, and is made or will be.
    poll(lambda: len(live.pods()) == 4)
    assert live.unrecorded() == set(live.pods())
    if freed == "by time":
        outlive_lease(live.engine)
    else:
        assert run(live, "lease", "release", "--yes").code == 0
    live.sandbox.server.on_request = None
    assert run(live, *ONE_AT_A_TIME).counts == {"created": NUMBER - 4, "unchanged": 4}
    assert len(live.pods()) == NUMBER
    assert live.unrecorded() == set()
    assert lease_status(live.engine).holder is None


# Signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_lets_what_runs_finish_and_begins_nothing(live: World, number: signal.Signals, code: int) -> None:
    live.sandbox.faults.add(verb="create", skip=3, latency=0.4)
    with Child(live, *ONE_AT_A_TIME) as child:
        at(live, "create", 3, lambda: child.signal(number))
        end = child.ended()
    assert (end.code, end.counts) == (code, {"created": 3, "deferred": NUMBER - 3})
    assert end.details == {f"the pass was told to stop by {number.name}"}
    assert len(live.pods()) == 3
    assert f"{NUMBER} pods: 3 created, 0 replaced, 0 deleted, 0 unchanged, 0 waiting, 5 deferred" in end.err
    # History, its steps, the clients' times and the lease are written.
    (record,) = list_passes(live.engine, 9)
    assert record.exit_code == code
    assert len(list_steps(live.engine, record.id)) == NUMBER
    with reading(live.engine) as connection:
        spawned = connection.execute(select(clients.c.id).where(clients.c.spawned_at.is_not(None))).scalars()
        assert len(list(spawned)) == 3
    assert lease_status(live.engine).holder is None
    live.sandbox.server.on_request = None
    assert run(live, *ONE_AT_A_TIME).counts == {"created": NUMBER - 3, "unchanged": 3}


def test_a_second_signal_ends_it_at_once(live: World) -> None:
    let_go = threading.Event()
    try:
        with Child(live, *ONE_AT_A_TIME) as child:
            reached = threading.Event()
            at(live, "create", 3, lambda: (reached.set(), let_go.wait(PATIENCE)))
            poll(lambda: reached.is_set() or child.process.poll() is not None)
            assert reached.is_set(), child.ended()
            child.signal(signal.SIGTERM)
            # The request is not answered, so the first signal alone would not end it.
            poll(lambda: (child.signal(signal.SIGTERM), child.process.poll())[1] is not None)
            assert child.ended().code == 143
        # At once means just that: the lease is left to end by itself.
        assert lease_status(live.engine).holder == f"{os.uname().nodename}, process {child.pid}"
        assert codes(live) == []
    finally:
        let_go.set()


def test_a_signal_during_the_wait_for_a_slow_pod_ends_the_wait(live: World) -> None:
    assert run(live, "sync", "once").code == 0
    change_row(live.engine, 2, need_restart=True)
    live.befall("vwap-2", "Stuck")
    live.may_go.add(live.uid("vwap-2"))
    with Child(live, *ONE_AT_A_TIME) as child:
        # The fleet, whose names are taken, and three looks.
        at(live, "list", 5, lambda: child.signal(signal.SIGTERM))
        end = child.ended()
    assert (end.code, end.counts) == (143, {"waiting": 1, "unchanged": NUMBER - 1})
    assert end.details == {"the pass was told to stop by SIGTERM"}
    assert live.made["vwap-2"] == 1


def test_a_replacement_that_was_begun_gets_its_successor(live: World) -> None:
    # Else what was ended for something new would stay ended until the next pass.
    assert run(live, "sync", "once").code == 0
    for number in (2, 3):
        change_row(live.engine, number, need_restart=True)
    live.may_go.add(live.uid("vwap-2"))
    live.sandbox.faults.add(verb="delete", latency=0.4, after=True)
    with Child(live, *ONE_AT_A_TIME) as child:
        at(live, "delete", 1, lambda: child.signal(signal.SIGTERM))
        end = child.ended()
    assert (end.code, end.counts) == (143, {"replaced": 1, "deferred": 1, "unchanged": NUMBER - 2})
    assert live.made["vwap-2"] == 2
    assert live.made["vwap-3"] == 1


def test_a_signal_before_there_is_a_plan_lets_it_do_nothing(live: World) -> None:
    live.sandbox.faults.add(verb="list", latency=0.4)
    with Child(live, *ONE_AT_A_TIME) as child:
        at(live, "list", 1, lambda: child.signal(signal.SIGTERM))
        end = child.ended()
    assert (end.code, end.counts) == (143, {"deferred": NUMBER})
    assert live.writes() == 0
    assert codes(live) == [143]


def test_a_signal_before_the_pass_begins_leaves_no_trace(live: World) -> None:
    with Child(live, *ONE_AT_A_TIME) as child:
        child.signal(signal.SIGTERM)
        # By the handler, or by the kernel while Python itself is still starting.
        assert child.ended().code in (143, -signal.SIGTERM)
    assert live.sandbox.requests.total() == 0
    assert codes(live) == []
    assert lease_status(live.engine).token == 0
