"""B1: what was ended for something new is brought back, whatever refuses that for a while, and nothing else waits."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kit.fleet_settings import set_fleet
from sqlalchemy import event, text

from syncctl.core import names
from syncctl.core.begun import MALFORMED_TRIES, SAME_WORDS, SAME_WORDS_OF_QUOTA
from syncctl.core.exits import ExitCode
from syncctl.core.report import Result
from syncctl.core.steps import Cause
from syncctl.db.engine import connect, writing
from syncctl.kube.transport import ATTEMPTS, LONGEST_BACK_OFF
from syncctl.operations.brake import OVERTIME, PATIENCE
from syncctl.operations.leaving import GRACE_MARGIN
from syncctl.operations.making import STILL_THERE
from syncctl.operations.planning import PassOptions
from syncctl.sandbox import PODS
from syncctl.sandbox.http.messages import Request
from syncctl.sandbox.objects import Event
from syncctl.sandbox.refusals import forbidden

from .test_wire import tell_to_stop_at, unharmed
from .world import NAMESPACE, TO_DO, World, add_rows, change_row

DEADLINE = 150.0
CONTENTION = 'Operation cannot be fulfilled on resourcequotas "q": the object has been modified; please try again'
AWAY = 'failed calling webhook "w.desk.example.com": dial tcp 10.0.0.7:443: connect: connection refused'
NO_ROOM = "not begun, for the quota has no room for a successor"
DOWN = "nothing runs until the next pass makes it: cannot create pod "
NOT_TAKEN = "left as it is, for its successor would not be taken: cannot create pod "
STATUSES = [*range(400, 432), 451, *range(500, 512), 520, 599]
MALFORMED = (400, 422)


@dataclass
class Diary:
    """When pods were told to go and when they were made, in seconds of driven time."""

    world: World
    began: float = 0.0
    told: dict[str, float] = field(default_factory=dict)
    made: dict[str, float] = field(default_factory=dict)
    most_down: int = 0

    def __post_init__(self) -> None:
        self.began = self.world.time()
        self.world.sandbox.store.subscribe(self._heard)

    def _heard(self, change: Event) -> None:
        record, previous = change.record, change.previous
        if record.resource is not PODS:
            return
        now = self.world.time() - self.began
        if previous is None:
            self.made.setdefault(record.name, now)
        elif record.terminating and not previous.terminating:
            self.told.setdefault(record.name, now)
        self.most_down = max(self.most_down, len(self.told.keys() - self.made.keys()))


@pytest.fixture
def fleet(_sqlite_template: Path, _memory_folder: Path, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes fleets of so many clients whose pods run, and of which a pass may replace all at once."""
    path = _memory_folder / f"{tmp_path.name}.db"
    shutil.copy(_sqlite_template, path)
    engine = connect(f"sqlite:///{path}")
    opened: list[World] = []

    def made(number: int, **settings: Any) -> World:
        world = World(engine, tmp_path).__enter__()
        opened.append(world)
        set_fleet(world.engine, replace_percent=100.0)
        given = {"page_size": 500, "pass_deadline": DEADLINE, **settings}
        world.settings = msgspec.structs.replace(world.settings, **given)
        add_rows(engine, dict.fromkeys(range(1, number + 1), "vwap"))
        assert world.run().code is ExitCode.DONE
        world.settle()
        return world

    yield made
    for world in opened:
        assert world.violations == []
        world.__exit__()
    engine.dispose()


def restart(world: World, *clients: int) -> Diary:
    """Ask for restarts, and begin to write down what comes of it."""
    for client in clients:
        change_row(world.engine, client, need_restart=True)
        world.may_go.add(world.uid(f"vwap-{client}"))
    return Diary(world)


def refuse(world: World, *clients: int, **how: Any) -> None:
    """Refuse the successors of these clients' pods, after the question whether they would be taken."""
    for client in clients:
        world.sandbox.faults.add(verb="create", name=f"vwap-{client}", **{"times": None, **how})


def refuse_question(world: World, client: int, **how: Any) -> None:
    """Refuse to say whether a successor would be taken, by whatever name."""
    for name in (f"vwap-{client}{names.DRY_RUN_ENDING}", f"vwap-{client}"):
        world.sandbox.faults.add(verb="create", name=name, **{"times": None, **how})


def refuse_for(world: World, seconds: float, **how: Any) -> None:
    """Refuse all creations for a while, from the first successor on."""
    until: list[float] = []

    def hook(request: Request, verb: str) -> None:
        if verb == "create" and "dryRun" not in request.query and not until:
            until.append(world.time() + seconds)
            world.sandbox.faults.add(verb="create", times=None, **how)
        if until and world.time() >= until[0]:
            world.sandbox.faults.clear()

    world.sandbox.server.on_request = hook


def created(request: Request) -> str:
    """Return the name of the pod that is to be created."""
    return str(json.loads(request.body)["metadata"]["name"]).removesuffix(names.DRY_RUN_ENDING)


class LaggingQuota:
    """A quota whose status hears of pods that are gone only some time later."""

    def __init__(self, world: World, pods: int, lag: float) -> None:
        self._world = world
        self._pods = pods
        self._lag = lag
        self._gone: list[float] = []
        world.sandbox.store.subscribe(self._heard)
        world.sandbox.store._check_quota = self._check  # type: ignore[method-assign]

    def _heard(self, change: Event) -> None:
        if change.record.resource is PODS and change.type == "DELETED":
            self._gone.append(self._world.time())

    def _check(self, _namespace: str, name: str) -> None:
        now = self._world.time()
        used = len(self._world.pods()) + sum(now < gone + self._lag for gone in self._gone)
        if used >= self._pods:
            why = f"exceeded quota: q, requested: pods=1, used: pods={used}, limited: pods={self._pods}"
            raise forbidden("pods", name, why)


# Refused for a while --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", STATUSES)
def test_b1_whatever_refuses_a_successor_twice_it_is_there_in_the_end(harmed: World, status: int) -> None:
    refuse(harmed, 5, status=status, times=2)
    ended = harmed.run()
    assert (ended.code, ended.results()) == (ExitCode.DONE, TO_DO)
    assert ended.seconds < 10
    unharmed(harmed)


@pytest.mark.parametrize("fault", ["reset", "cut", "latency"])
@pytest.mark.parametrize("after", [False, True])
def test_b1_a_successor_whose_answer_is_lost_again_and_again_is_there_once(
    harmed: World, fault: str, after: bool
) -> None:
    how: dict[str, Any] = {"latency": 0.4} if fault == "latency" else {fault: True}
    refuse(harmed, 5, times=4, after=after, **how)
    ended = harmed.run(request_timeout=0.2)
    assert (ended.code, ended.results()) == (ExitCode.DONE, TO_DO)
    unharmed(harmed)


def test_b1_of_600_creations_27_meet_a_conflict_and_all_are_made(fleet: Callable[..., World]) -> None:
    world = fleet(1, concurrency=16)
    add_rows(world.engine, dict.fromkeys(range(2, 601), "vwap"))
    for number in range(27):
        times = min(1 + number % 5, ATTEMPTS - 1)
        name = f"vwap-{2 + 22 * number}"
        world.sandbox.faults.add(verb="create", name=name, status=409, message=CONTENTION, times=times)
    ended = world.run()
    assert ended.code is ExitCode.DONE
    assert set(ended.results().values()) == {Result.CREATED}
    assert ended.seconds < 60


def test_b1_of_150_replacements_9_meet_a_conflict_and_all_are_seen_through(fleet: Callable[..., World]) -> None:
    world = fleet(150, concurrency=16)
    restart(world, *range(1, 151))
    for number in range(9):
        refuse(world, 1 + 16 * number, status=409, message=CONTENTION, times=1 + number)
    ended = world.run()
    assert ended.code is ExitCode.DONE
    assert set(ended.results().values()) == {Result.REPLACED}
    assert ended.seconds < DEADLINE


def test_b1_a_webhook_that_is_away_for_12_seconds_costs_no_process_more_than_that(fleet: Callable[..., World]) -> None:
    world = fleet(30, concurrency=16)
    diary = restart(world, *range(1, 31))
    refuse_for(world, 12.0, status=500, message=AWAY)
    ended = world.run()
    made = {name for name, result in ended.results().items() if result is Result.REPLACED}
    # Those of which it was asked while the webhook was away are left as they are.
    left = {name for name, detail in ended.details().items() if detail.startswith(NOT_TAKEN)}
    assert diary.told.keys() == made
    assert made | left == set(world.pods())
    assert max(diary.made[name] - diary.told[name] for name in made) < 12 + 2 * LONGEST_BACK_OFF


def test_b1_a_webhook_that_stays_away_ends_the_pass_after_a_minute_of_the_same_words(
    fleet: Callable[..., World],
) -> None:
    world = fleet(3, concurrency=16)
    diary = restart(world, 1, 2, 3)
    refuse_for(world, 1000.0, status=500, message=AWAY)
    ended = world.run()
    assert ended.code is ExitCode.INCOMPLETE
    assert SAME_WORDS <= ended.seconds < SAME_WORDS + 2 * LONGEST_BACK_OFF
    down = {name for name, detail in ended.details().items() if detail.startswith(DOWN)}
    assert down == diary.told.keys() != set()
    assert world.converges() == 1


def test_b1_words_that_change_keep_hope_alive_until_the_deadline_and_90_seconds(fleet: Callable[..., World]) -> None:
    world = fleet(1)
    restart(world, 1)
    numbers = iter(range(10_000))

    def hook(request: Request, verb: str) -> None:
        if verb == "create" and "dryRun" not in request.query:
            world.sandbox.faults.clear()
            world.sandbox.faults.add(verb="create", status=500, message=f"attempt {next(numbers)}")

    world.sandbox.server.on_request = hook
    ended = world.run()
    assert ended.results() == {"vwap-1": Result.FAILED}
    assert DEADLINE + OVERTIME <= ended.seconds < DEADLINE + OVERTIME + 1


@pytest.mark.parametrize("status", MALFORMED)
def test_b1_what_is_called_malformed_is_tried_three_times(fleet: Callable[..., World], status: int) -> None:
    world = fleet(1)
    restart(world, 1)
    refuse(world, 1, status=status)
    ended = world.run()
    (rule,) = world.sandbox.faults._rules
    assert (rule.hits, ended.results()) == (MALFORMED_TRIES, {"vwap-1": Result.FAILED})
    assert ended.details()["vwap-1"].startswith(DOWN)
    assert ended.seconds < 10


@pytest.mark.parametrize("status", [429, 503])
def test_b1_a_wish_of_a_minute_is_obeyed_and_nobody_else_waits(fleet: Callable[..., World], status: int) -> None:
    world = fleet(2, concurrency=1)
    diary = restart(world, 1, 2)
    refuse(world, 1, status=status, retry_after=60, times=1)
    ended = world.run()
    assert ended.code is ExitCode.DONE
    assert 60 <= diary.made["vwap-1"] < 63
    assert diary.made["vwap-2"] < 3


def test_b1_after_the_same_wish_they_do_not_all_come_at_once(fleet: Callable[..., World]) -> None:
    world = fleet(12, concurrency=16)
    diary = restart(world, *range(1, 13))
    refuse(world, *range(1, 13), status=429, retry_after=5, times=1)
    assert world.run().code is ExitCode.DONE
    assert len({round(moment, 3) for moment in diary.made.values()}) > 3


def test_b1_of_two_of_which_one_is_refused_for_ever_the_other_does_not_wait(fleet: Callable[..., World]) -> None:
    world = fleet(2, concurrency=1)
    diary = restart(world, 1, 2)
    refuse(world, 1, status=503)
    ended = world.run()
    assert ended.results() == {"vwap-1": Result.FAILED, "vwap-2": Result.REPLACED}
    assert diary.made["vwap-2"] < 3
    assert ended.seconds >= SAME_WORDS
    assert world.converges() == 1


def test_b1_what_is_refused_late_each_time_leaves_threads_to_the_others(fleet: Callable[..., World]) -> None:
    world = fleet(4, concurrency=2, pass_deadline=10_000.0)
    restart(world, 1, 2, 3, 4)
    refuse(world, 1, 2, 3, 4, status=422)
    assert set(world.run().results().values()) == {Result.FAILED}
    world.sandbox.faults.clear()
    refuse(world, 1, 2, 3, 4, latency=0.3, status=503, times=4)
    add_rows(world.engine, dict.fromkeys(range(5, 9), "vwap"))
    seen: list[str] = []

    def hook(request: Request, verb: str) -> None:
        if verb == "create":
            seen.append(created(request))
            # So that all that was refused may be tried again at once.
            world.time.pass_(LONGEST_BACK_OFF)

    world.sandbox.server.on_request = hook
    assert world.run().code is ExitCode.DONE
    fine = [place for place, name in enumerate(seen) if name in ("vwap-5", "vwap-6", "vwap-7", "vwap-8")]
    late = [place for place, name in enumerate(seen) if place not in fine]
    # One of them is asked about before it is made, and what is refused of each late one counts.
    assert (len(fine), len(late)) == (5, 20)
    # They come while the late ones are tried, and not when these are through.
    assert max(fine) < late[14]


# The deadline, and signals --------------------------------------------------------------------------------------------


def test_b1_a_successor_is_tried_beyond_the_deadline_and_nothing_is_begun_there(fleet: Callable[..., World]) -> None:
    world = fleet(2, concurrency=1, pass_deadline=20.0)
    diary = restart(world, 1, 2)
    # Of the second it is to be asked again only after the deadline, and so it is of a third, which is missing.
    refuse_question(world, 2, status=429, retry_after=30, times=1)
    add_rows(world.engine, {3: "vwap"})
    refuse(world, 3, status=429, retry_after=30, times=1)
    until = 20.0 + OVERTIME - 2 * LONGEST_BACK_OFF
    refuse(world, 1, status=503)
    rule = world.sandbox.faults._rules[-1]

    def hook(_request: Request, _verb: str) -> None:
        rule.message = f"not now, it is {world.time()}"
        if world.time() - diary.began >= until:
            rule.times = 0

    world.sandbox.server.on_request = hook
    ended = world.run()
    assert ended.results() == {"vwap-1": Result.REPLACED, "vwap-2": Result.FAILED, "vwap-3": Result.FAILED}
    assert until <= diary.made["vwap-1"] < 20.0 + OVERTIME
    assert ended.details()["vwap-2"].startswith(NOT_TAKEN)
    assert (diary.told.keys(), diary.made.keys()) == ({"vwap-1"}, {"vwap-1"})


def test_b1_an_old_pod_is_waited_for_beyond_the_deadline(fleet: Callable[..., World]) -> None:
    world = fleet(2, concurrency=1, pass_deadline=5.0)
    world.sandbox.kubelet.stop_delay = 20.0
    diary = restart(world, 1)
    ended = world.run()
    assert ended.results() == {"vwap-1": Result.REPLACED}
    assert 20 <= diary.made["vwap-1"] < 25


def test_b1_nothing_is_ended_when_the_deadline_comes_while_it_is_asked_for(fleet: Callable[..., World]) -> None:
    world = fleet(2, concurrency=1)
    diary = restart(world, 1)

    def hook(request: Request, _verb: str) -> None:
        if "dryRun" in request.query:
            world.time.pass_(DEADLINE)

    world.sandbox.server.on_request = hook
    ended = world.run()
    assert ended.results() == {"vwap-1": Result.DEFERRED}
    assert ended.details() == {"vwap-1": "the pass's deadline came first"}
    assert diary.told == {}


def test_b1_nothing_is_begun_when_the_deadline_comes_while_the_lease_is_confirmed(fleet: Callable[..., World]) -> None:
    world = fleet(2, concurrency=1)
    diary = restart(world, 1)
    add_rows(world.engine, {3: "vwap"})

    def confirmed(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE lease SET expires_at"):
            world.time.pass_(DEADLINE)

    event.listen(world.engine, "before_cursor_execute", confirmed)
    ended = world.run()
    event.remove(world.engine, "before_cursor_execute", confirmed)
    assert ended.results() == {"vwap-1": Result.DEFERRED, "vwap-3": Result.DEFERRED}
    assert (diary.told, diary.made, ended.writes) == ({}, {}, 0)


def test_b1_a_signal_leaves_ten_seconds_for_what_is_down_and_the_rest_is_named(fleet: Callable[..., World]) -> None:
    world = fleet(3, concurrency=1)
    restart(world, 1, 2)
    refuse(world, 1, status=503, times=3)
    refuse(world, 2, status=503)
    tell_to_stop_at(world, "create", "vwap-2")
    ended = world.run()
    assert ended.code is ExitCode.TERMINATED
    assert ended.results() == {"vwap-1": Result.REPLACED, "vwap-2": Result.FAILED}
    assert ended.details()["vwap-2"].startswith(DOWN)
    assert ended.seconds < PATIENCE + 5


def test_b1_a_signal_ends_the_waiting_for_old_pods_after_one_more_look(fleet: Callable[..., World]) -> None:
    world = fleet(3, concurrency=1)
    world.sandbox.kubelet.stop_delay = 20.0
    diary = restart(world, 1, 2)
    told = signal.getsignal(signal.SIGTERM)

    def hook(_request: Request, verb: str) -> None:
        if verb == "list" and len(diary.told) == 2 and signal.getsignal(signal.SIGTERM) is not told:
            world.sandbox.server.on_request = None
            os.kill(os.getpid(), signal.SIGTERM)

    world.sandbox.server.on_request = hook
    ended = world.run()
    assert ended.code is ExitCode.TERMINATED
    assert ended.results() == {"vwap-1": Result.WAITING, "vwap-2": Result.WAITING}
    assert "told to stop by SIGTERM" in ended.details()["vwap-1"]
    assert ended.seconds < 5


def test_b1_after_a_signal_before_there_is_a_plan_not_even_a_successor_is_made(fleet: Callable[..., World]) -> None:
    world = fleet(2)
    refuse(world, 1, status=403, message="denied")
    restart(world, 1)
    assert world.run(pass_deadline=1).results()["vwap-1"] is Result.FAILED
    world.sandbox.faults.clear()
    told = signal.getsignal(signal.SIGTERM)

    def hook(_request: Request, verb: str) -> None:
        if verb == "list" and signal.getsignal(signal.SIGTERM) is not told:
            world.sandbox.server.on_request = None
            os.kill(os.getpid(), signal.SIGTERM)

    world.sandbox.server.on_request = hook
    writes = world.writes()
    ended = world.run()
    assert (ended.code, world.writes()) == (ExitCode.TERMINATED, writes)
    assert ended.results()["vwap-1"] is not Result.CREATED
    assert world.run().results()["vwap-1"] is Result.CREATED


# The next pass --------------------------------------------------------------------------------------------------------


def test_b1_what_is_left_is_named_and_comes_first_in_the_next_pass_and_is_tried_there_too(
    fleet: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    world = fleet(3, concurrency=1)
    restart(world, 2)
    refuse(world, 2, status=403, message="denied by a policy")
    ended = world.run()
    assert (ended.code, ended.results()) == (ExitCode.INCOMPLETE, {"vwap-2": Result.FAILED})
    assert any(record.message.startswith(f"vwap-2: failed: {DOWN}") for record in caplog.records)
    # Others are missing by now, of a higher priority.
    change_row(world.engine, 2, priority=-5.0)
    add_rows(world.engine, {4: "vwap", 5: "vwap"}, priority=99.0)
    world.sandbox.faults.clear()
    asked: list[str] = []

    def hook(request: Request, verb: str) -> None:
        if verb == "create":
            asked.append(created(request))

    world.sandbox.server.on_request = hook
    refuse(world, 2, status=403, message="denied by a policy", times=3)
    assert [step.name for step in world.plan().plan.drifted] == ["vwap-2", "vwap-4", "vwap-5"]
    ended = world.run()
    assert ended.report
    assert {step.step.cause for step in ended.report.outcomes} == {Cause.REPLACEMENT_BEGUN, Cause.MISSING}
    assert set(ended.results().values()) == {Result.CREATED}
    assert list(dict.fromkeys(asked)) == ["vwap-2", "vwap-4", "vwap-5"]
    assert asked.count("vwap-2") == 4


@pytest.mark.parametrize("status", [409, 429, 500, 503, 599])
def test_b1_what_is_merely_missing_is_tried_a_few_times_and_then_left(fleet: Callable[..., World], status: int) -> None:
    world = fleet(1, concurrency=1)
    add_rows(world.engine, {2: "vwap", 3: "vwap", 4: "vwap"})
    refuse(world, 2, status=status, times=ATTEMPTS - 1)
    refuse(world, 3, status=status)
    ended = world.run()
    assert ended.results() == {"vwap-2": Result.CREATED, "vwap-3": Result.FAILED, "vwap-4": Result.CREATED}
    assert ended.details()["vwap-3"].startswith("cannot create pod vwap-3: ")
    assert ended.seconds < SAME_WORDS


# Whether it would be taken --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", STATUSES)
def test_b1_whatever_refuses_the_question_the_old_pod_is_left_as_it_is(harmed: World, status: int) -> None:
    refuse_question(harmed, 5, status=status)
    before = harmed.uid("vwap-5")
    ended = harmed.run()
    assert (ended.code, ended.results()) == (ExitCode.INCOMPLETE, {**TO_DO, "vwap-5": Result.FAILED})
    assert ended.details()["vwap-5"].startswith(NOT_TAKEN)
    assert harmed.uid("vwap-5") == before
    unharmed(harmed)


# Quotas ---------------------------------------------------------------------------------------------------------------


def test_b1_with_a_full_quota_they_begin_one_at_a_time_and_ever_more(fleet: Callable[..., World]) -> None:
    world = fleet(20, concurrency=16)
    world.sandbox.store.set_quota(NAMESPACE, 20)
    diary = restart(world, *range(1, 21))
    ended = world.run()
    assert ended.code is ExitCode.DONE
    assert set(ended.results().values()) == {Result.REPLACED}
    told = sorted(diary.told.values())
    made = sorted(diary.made.values())
    # The second one begins when the first is back, the fourth when three are.
    assert told[1] >= made[0]
    assert told[3] >= made[2]
    assert diary.most_down <= 8


def test_b1_without_a_full_quota_they_begin_all_at_once(fleet: Callable[..., World]) -> None:
    world = fleet(20, concurrency=16)
    world.sandbox.kubelet.stop_delay = 5.0
    diary = restart(world, *range(1, 21))
    assert world.run().code is ExitCode.DONE
    assert diary.most_down == 20


def test_b1_a_quota_that_lags_by_115_seconds_costs_one_process_at_a_time(fleet: Callable[..., World]) -> None:
    world = fleet(20, concurrency=16)
    LaggingQuota(world, 20, lag=115.0)
    diary = restart(world, *range(1, 21))
    results = world.run().results()
    assert diary.most_down == 1
    first = min(diary.told, key=diary.told.__getitem__)
    assert results[first] is Result.REPLACED
    assert 115 <= diary.made[first] - diary.told[first] < 115 + 2 * LONGEST_BACK_OFF
    # For a second one the time may be too short. No third one is begun.
    assert len(diary.told) == 2
    assert set(results.values()) <= {Result.REPLACED, Result.DEFERRED, Result.FAILED}


def test_b1_while_a_successor_is_refused_for_the_quota_no_other_pod_is_ended(fleet: Callable[..., World]) -> None:
    # There is room for one, so nobody is told at first that there is none.
    world = fleet(20, concurrency=1)
    LaggingQuota(world, 21, lag=20.0)
    diary = restart(world, *range(1, 21))
    world.sandbox.server.on_request = lambda _request, _verb: world.time.pass_(0.05)
    ended = world.run()
    assert set(ended.results().values()) <= {Result.REPLACED, Result.DEFERRED}
    # Those are the ones that were begun before the first was refused.
    assert diary.most_down <= 8


def test_b1_nor_is_one_that_was_asked_for_before(fleet: Callable[..., World]) -> None:
    world = fleet(3, concurrency=2)
    world.sandbox.kubelet.stop_delay = 0.0
    diary = restart(world, 1, 2, 3)
    refuse(world, 1, status=403, message="exceeded quota: q", times=4)
    verbs: list[tuple[str, bool]] = []
    tried, being_asked = threading.Event(), threading.Event()

    def hook(request: Request, verb: str) -> None:
        asked = "dryRun" in request.query
        verbs.append((verb, asked))
        if verb == "list":
            world.time.pass_(0.1)
        if verb == "create" and not asked:
            assert being_asked.wait(20)
            tried.set()
        if asked and created(request) == "vwap-2":
            # Its answer comes when the first successor has been refused.
            being_asked.set()
            assert tried.wait(20)
            time.sleep(0.3)

    world.sandbox.server.on_request = hook
    ended = world.run()
    assert ended.code is ExitCode.DONE
    assert diary.made["vwap-1"] <= min(diary.told["vwap-2"], diary.told["vwap-3"])
    # Nor is anything asked for meanwhile.
    tries = [place for place, each in enumerate(verbs) if each == ("create", False)]
    assert ("create", True) not in verbs[tries[0] : tries[4]]


def test_b1_a_quota_that_is_lowered_ends_the_pass_after_two_minutes_with_one_process_down(
    fleet: Callable[..., World],
) -> None:
    world = fleet(5, concurrency=16)
    world.sandbox.store.set_quota(NAMESPACE, 3)
    diary = restart(world, *range(1, 6))
    ended = world.run()
    assert ended.code is ExitCode.INCOMPLETE
    assert SAME_WORDS_OF_QUOTA <= ended.seconds < SAME_WORDS_OF_QUOTA + 2 * LONGEST_BACK_OFF
    (down,) = diary.told
    assert ended.results() == {
        **dict.fromkeys((f"vwap-{client}" for client in range(1, 6)), Result.DEFERRED),
        down: Result.FAILED,
    }
    assert ended.details()[down].startswith(DOWN)
    assert {detail for name, detail in ended.details().items() if name != down} == {NO_ROOM}


# A1: what has a claim -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [names.FLEET, names.CLIENT_ID, names.ALGORITHM])
def test_a1_an_old_pod_whose_labels_are_edited_in_mid_pass_is_still_waited_for(
    fleet: Callable[..., World], label: str
) -> None:
    world = fleet(2, concurrency=1)
    # Its successor has another name, so no name keeps the two apart.
    with writing(world.engine) as connection:
        connection.execute(text("UPDATE algorithm_status SET id = 101 WHERE client_id = 1"))
    old = world.uid("vwap-1")
    world.may_go.add(old)
    world.sandbox.kubelet.stop_delay = 20.0
    diary = Diary(world)
    beside: list[str] = []

    def hook(request: Request, verb: str) -> None:
        if verb == "list" and diary.told and "vwap-1" in world.pods():
            body = f'{{"metadata": {{"labels": {{"{label}": "7"}}}}}}'
            world.violations.clear()
            world.sandbox.store.patch(PODS, NAMESPACE, "vwap-1", body.encode())
        if verb == "create" and "dryRun" not in request.query and world.sandbox.store.find(PODS, NAMESPACE, "vwap-1"):
            beside.append("vwap-101")

    world.sandbox.server.on_request = hook
    # Of a pod by the old number only its environment says whose it is.
    ended = world.run(PassOptions(allow_pods=frozenset({"vwap-1"})))
    assert beside == []
    assert ended.results() == {"vwap-1": Result.REPLACED}
    assert diary.made["vwap-101"] >= 20
    world.violations.clear()


def test_a1_and_no_longer_than_its_grace_and_a_little_more(fleet: Callable[..., World]) -> None:
    world = fleet(2, concurrency=1)
    world.befall("vwap-1", "Stuck")
    diary = restart(world, 1)

    def hook(_request: Request, verb: str) -> None:
        if verb == "list" and diary.told:
            body = f'{{"metadata": {{"labels": {{"{names.CLIENT_ID}": "7"}}}}}}'
            world.sandbox.store.patch(PODS, NAMESPACE, "vwap-1", body.encode())

    world.sandbox.server.on_request = hook
    ended = world.run()
    assert ended.details() == {"vwap-1": STILL_THERE}
    assert 30 + GRACE_MARGIN <= ended.seconds < 30 + GRACE_MARGIN + 5


def test_a1_a_namesake_of_another_uid_has_no_claim_and_holds_the_name(fleet: Callable[..., World]) -> None:
    world = fleet(2, concurrency=1)
    diary = restart(world, 1)

    def hook(_request: Request, verb: str) -> None:
        # It comes at the very moment when the old pod is gone.
        if verb in ("list", "get") and diary.told and "vwap-1" not in world.pods():
            world.sandbox.server.on_request = None
            world.stray("vwap-1")

    world.sandbox.server.on_request = hook
    ended = world.run()
    assert (ended.code, ended.results()) == (ExitCode.INCOMPLETE, {"vwap-1": Result.CONFLICT})
    assert ended.details()["vwap-1"].startswith("the name is held by a pod that syncctl did not make")
    assert ended.seconds < 5


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 403}, {"reset": True}])
def test_a1_as_long_as_nobody_says_that_the_old_pod_is_gone_no_successor_is_made(
    fleet: Callable[..., World], fault: dict[str, Any]
) -> None:
    world = fleet(2, concurrency=1)
    diary = restart(world, 1, 2)
    world.sandbox.faults.add(verb="get", name="vwap-1", times=None, **fault)
    ended = world.run()
    assert ended.results() == {"vwap-1": Result.FAILED, "vwap-2": Result.REPLACED}
    assert ended.details()["vwap-1"].startswith("cannot get pod vwap-1: ")
    assert diary.made.keys() == {"vwap-2"}
    assert world.converges() == 1
