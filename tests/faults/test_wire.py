"""Each call of a pass goes wrong in each way, before and after it has its effect.

Whatever goes wrong, no key ever has two pods, nothing is deleted that nobody asked to be deleted, the pass ends in time
with a code that says what it was, and the passes after it converge.
"""

import os
import signal
import threading
from collections.abc import Iterable
from typing import Any

import pytest
from kit.clusters import poll

from syncctl.core import names
from syncctl.core.begun import SAME_WORDS
from syncctl.core.exits import ExitCode
from syncctl.core.report import Result
from syncctl.db.history import list_passes
from syncctl.kube.transport import ATTEMPTS, LONGEST_BACK_OFF
from syncctl.operations import brake
from syncctl.operations.leaving import GRACE_MARGIN
from syncctl.sandbox import PODS
from syncctl.sandbox.http.messages import Request

from .world import LEFT, NAMESPACE, TO_DO, World

LISTS: dict[str, dict[str, Any]] = {
    "list, page 1": {"verb": "list", "skip": 0},
    "list, page 2": {"verb": "list", "skip": 1},
    "list, last page": {"verb": "list", "skip": 3},
    "list of owners": {"verb": "list", "skip": 4},
}
HOME: dict[str, dict[str, Any]] = {"get of the namespace": {"verb": "get", "name": NAMESPACE}}
LOOK: dict[str, dict[str, Any]] = {"look while replacing": {"verb": "list", "skip": 5}}
CREATES: dict[str, dict[str, Any]] = {
    "create": {"verb": "create", "name": "vwap-10", "skip": 1},
    "create a successor": {"verb": "create", "name": "vwap-5"},
}
OTHER_WRITES: dict[str, dict[str, Any]] = {
    "patch of metadata": {"verb": "patch", "name": "vwap-2"},
    "patch of an image": {"verb": "patch", "name": "vwap-3"},
    "resize": {"verb": "patch", "name": "vwap-4"},
    "patch after a resize": {"verb": "patch", "name": "vwap-4", "skip": 1},
    "delete": {"verb": "delete", "name": "vwap-7"},
    "ask for what is missing": {"verb": "create", "name": "vwap-10"},
    # By another name than its own, and where that is refused by its own.
    "ask for a successor": {"verb": "create", "name": "vwap-5*"},
    "delete to replace": {"verb": "delete", "name": "vwap-5"},
}
WRITES = CREATES | OTHER_WRITES
QUESTIONS: dict[str, dict[str, Any]] = {
    "ask what an image becomes": {"verb": "create", "name": f"vwap-3{names.DRY_RUN_ENDING}"},
    "ask what resources become": {"verb": "create", "name": f"vwap-4{names.DRY_RUN_ENDING}"},
}
"""Without an answer the change is made all the same."""
READS = LISTS | HOME

RESET, CUT, DENIED = {"reset": True}, {"cut": True}, {"status": 401}
TIME_OUT = {"latency": 0.4}
PATIENCE = 0.2
"""Seconds that a pass waits for an answer when one is late."""
TRANSIENT: dict[str, dict[str, Any]] = {
    "reset": RESET,
    "time-out": TIME_OUT,
    "cut": CUT,
    "500": {"status": 500},
    "503": {"status": 503},
}
NOT_TAKEN: dict[str, dict[str, Any]] = {
    "429": {"status": 429},
    "429 with Retry-After": {"status": 429, "retry_after": 7},
}
EXPIRED = {"status": 410}
ALL_FAULTS = TRANSIENT | NOT_TAKEN | {"410": EXPIRED, "401": DENIED}
LONGEST_STEP = ATTEMPTS * LONGEST_BACK_OFF
"""Seconds that a step may take after the last moment in which it may begin; requests are answered at once here."""
LONGEST_SUCCESSOR = SAME_WORDS + LONGEST_STEP
"""Seconds that a pass may take that has nothing to do but a successor that is never taken."""


def harm(world: World, call: dict[str, Any], fault: dict[str, Any], **how: Any) -> dict[str, Any]:
    """Add the fault and return the settings that go with it."""
    world.sandbox.faults.add(**{**call, **fault, **how})
    return {"request_timeout": PATIENCE} if "latency" in fault else {}


def unharmed(world: World) -> None:
    """Let later passes put everything right, and see that nothing was done twice or to the wrong pod."""
    before = {name: pod.uid for name, pod in world.pods().items()}
    world.converges()
    after = {name: pod.uid for name, pod in world.pods().items()}
    assert world.violations == []
    assert set(after) == LEFT
    assert all(world.made[name] == 1 for name in ("vwap-5", "vwap-6", "vwap-10"))
    assert sum(world.made.values()) == 3
    # What stays is what was there all along.
    assert all(after[name] == before[name] for name in LEFT - {"vwap-5", "vwap-6", "vwap-10"})


def test_without_a_fault_a_pass_does_all_of_it_by_just_these_calls(harmed: World) -> None:
    calls: list[tuple[str, str]] = []
    harmed.sandbox.server.on_request = lambda request, verb: calls.append(
        (verb, request.query.get("labelSelector", "") or request.path.partition("/pods")[2].lstrip("/"))
    )
    ended = harmed.run()
    assert (ended.code, ended.results()) == (ExitCode.DONE, TO_DO)
    lists = [selector.partition("-")[0] for verb, selector in calls if verb == "list"]
    # The faults below count on this order.
    assert [("!=" in selector, "client" in selector.partition(",")[2]) for verb, selector in calls[:5]] == (
        [(False, False)] * 4 + [(True, False)]
    )
    # Where it is, it asks once, when it knows that it will make pods; and whether it is gone, of each old pod.
    gets = [(number, name) for number, (verb, name) in enumerate(calls) if verb == "get"]
    assert gets[0] == (5, "")
    assert sorted(name for _, name in gets[1:]) == ["vwap-5", "vwap-6"]
    assert len(lists) > 5
    assert sorted(call for call in calls if call[0] not in ("list", "get", "create")) == sorted(
        [("delete", f"vwap-{number}") for number in range(5, 10)]
        + [("patch", name) for name in ("vwap-2", "vwap-3", "vwap-4", "vwap-4/resize")]
    )
    unharmed(harmed)


def variants(calls: Iterable[str], faults: Iterable[str]) -> list[Any]:
    """Return each of the calls with each of the faults: "503 after" is one that comes after the effect."""
    return [pytest.param(call, *_when(fault), id=f"{call}-{fault}") for call in calls for fault in faults]


def _when(fault: str) -> tuple[str, bool]:
    return fault.removesuffix(" after"), fault.endswith(" after")


@pytest.mark.parametrize(
    ("call", "fault", "after"),
    [
        # Reading has no effect, and a body is cut on its way back.
        *variants(READS | LOOK, ["reset", "reset after", "time-out", "cut", "500", "503"]),
        *variants(WRITES, [*TRANSIENT, "reset after", "time-out after", "500 after", "503 after"]),
    ],
)
def test_what_goes_wrong_once_is_done_all_the_same(harmed: World, call: str, fault: str, after: bool) -> None:
    how = harm(harmed, (READS | LOOK | WRITES)[call], TRANSIENT[fault], after=after)
    ended = harmed.run(**how)
    assert (ended.code, ended.results()) == (ExitCode.DONE, TO_DO)
    assert ended.seconds <= LONGEST_STEP
    unharmed(harmed)


@pytest.mark.parametrize("fault", NOT_TAKEN)
@pytest.mark.parametrize("call", READS | LOOK | WRITES)
def test_what_is_not_taken_now_is_taken_later(harmed: World, call: str, fault: str) -> None:
    harm(harmed, (READS | LOOK | WRITES)[call], NOT_TAKEN[fault])
    ended = harmed.run()
    assert (ended.code, ended.results()) == (ExitCode.DONE, TO_DO)
    # Retry-After is obeyed, for creations too; without it the wait is short.
    assert (ended.seconds >= 7.0) is ("retry_after" in NOT_TAKEN[fault])
    unharmed(harmed)


@pytest.mark.parametrize("call", LISTS)
def test_a_list_that_expires_begins_again(harmed: World, call: str) -> None:
    harm(harmed, LISTS[call], EXPIRED)
    ended = harmed.run()
    assert (ended.code, ended.results()) == (ExitCode.DONE, TO_DO)
    unharmed(harmed)


@pytest.mark.parametrize(
    ("call", "fault", "after"),
    variants(LISTS, ["reset", "cut", "503", "429 with Retry-After", "410", "401"])
    + variants(HOME, ["reset", "cut", "503", "429 with Retry-After", "401"])
    + variants(["list, page 1"], ["time-out", "500", "429"]),
)
def test_what_cannot_be_read_whole_changes_nothing(harmed: World, call: str, fault: str, after: bool) -> None:
    how = harm(harmed, READS[call], ALL_FAULTS[fault], after=after, times=None)
    ended = harmed.run(**how)
    assert (ended.code, ended.writes) == (ExitCode.ERROR, 0)
    assert ended.error
    assert ended.error.message
    assert ended.seconds <= LONGEST_STEP
    unharmed(harmed)


@pytest.mark.parametrize(("call", "fault", "after"), variants(WRITES, ["reset", "cut", "503", "503 after"]))
def test_what_goes_wrong_for_ever_fails_alone(harmed: World, call: str, fault: str, after: bool) -> None:
    harm(harmed, WRITES[call], TRANSIENT[fault], after=after, times=None)
    ended = harmed.run()
    name = WRITES[call]["name"].rstrip("*")
    made = call in CREATES or call in ("delete to replace", "ask for what is missing")
    if (after or fault == "cut") and made:
        # The pod is read back: it is there, and it is ours; or it goes. What others have asked need not be asked again.
        assert (ended.code, ended.results()) == (ExitCode.DONE, TO_DO)
    else:
        assert (ended.code, ended.results()) == (ExitCode.INCOMPLETE, {**TO_DO, name: Result.FAILED})
        assert "cannot " in ended.details()[name]
    assert ended.seconds <= (LONGEST_SUCCESSOR if call == "create a successor" else LONGEST_STEP)
    unharmed(harmed)


@pytest.mark.parametrize(("call", "fault", "after"), variants(QUESTIONS, ["reset", "cut", "503", "401", "422", "404"]))
def test_c2_a_question_that_nobody_answers_holds_no_change_up(
    harmed: World, call: str, fault: str, after: bool
) -> None:
    harm(
        harmed,
        QUESTIONS[call],
        ALL_FAULTS.get(fault, {"status": int(fault) if fault.isdigit() else 0}),
        after=after,
        times=None,
    )
    ended = harmed.run()
    assert (ended.code, ended.results()) == (ExitCode.DONE, TO_DO)
    assert ended.seconds <= LONGEST_STEP
    unharmed(harmed)


@pytest.mark.parametrize(
    ("call", "fault", "after"),
    variants({**OTHER_WRITES, "create": None}, ["401"]) + variants(["create"], ["401 after"]),
)
def test_a_write_that_is_denied_fails_at_once(harmed: World, call: str, fault: str, after: bool) -> None:
    harm(harmed, WRITES[call], ALL_FAULTS[fault], after=after, times=None)
    ended = harmed.run()
    name = WRITES[call]["name"].rstrip("*")
    assert (ended.code, ended.results()) == (ExitCode.INCOMPLETE, {**TO_DO, name: Result.FAILED})
    # A resize is three writes and a replacement three, of which one only asks, as is done before an image is changed
    # and before the first pod is made; what is denied is not tried again.
    without = {"resize": 1, "ask for what is missing": 1, "ask for a successor": 1, "delete to replace": 1}.get(call, 0)
    assert ended.writes == len(TO_DO) + 8 - without
    unharmed(harmed)


@pytest.mark.parametrize("fault", ["reset", "cut", "503", "401"])
def test_as_long_as_nobody_can_look_no_successor_is_made(harmed: World, fault: str) -> None:
    harm(harmed, LOOK["look while replacing"], ALL_FAULTS[fault], times=None)
    ended = harmed.run()
    # They are gone, but nobody can know.
    assert (ended.code, ended.results()) == (
        ExitCode.DONE,
        {**TO_DO, "vwap-5": Result.WAITING, "vwap-6": Result.WAITING},
    )
    assert ended.seconds <= 30 + GRACE_MARGIN + LONGEST_STEP
    unharmed(harmed)


@pytest.mark.parametrize("fault", ["reset", "time-out", "cut", "500", "503", "429 with Retry-After"])
@pytest.mark.parametrize("call", CREATES)
def test_reading_back_a_creation_may_go_wrong_too(harmed: World, call: str, fault: str) -> None:
    harm(harmed, CREATES[call], RESET, after=True)
    how = harm(harmed, {"verb": "get", "name": CREATES[call]["name"]}, ALL_FAULTS[fault])
    ended = harmed.run(**how)
    assert (ended.code, ended.results()) == (ExitCode.DONE, TO_DO)
    unharmed(harmed)


@pytest.mark.parametrize("fault", ["reset", "503", "401"])
@pytest.mark.parametrize("call", CREATES)
def test_a_creation_that_can_never_be_read_back_is_found_by_the_next_pass(harmed: World, call: str, fault: str) -> None:
    harm(harmed, CREATES[call], RESET, after=True)
    # Before a successor is made it is asked whether its old pod is gone.
    asked = {"verb": "get", "name": CREATES[call]["name"], "skip": int(call == "create a successor")}
    harm(harmed, asked, ALL_FAULTS[fault], times=None)
    ended = harmed.run()
    assert ended.code is ExitCode.INCOMPLETE
    assert ended.results()[CREATES[call]["name"]] is Result.FAILED
    unharmed(harmed)


@pytest.mark.parametrize("verb", ["list", "create", "patch", "delete"])
def test_everything_of_a_kind_goes_wrong_for_ever(harmed: World, verb: str) -> None:
    harmed.sandbox.faults.add(verb=verb, times=None, status=503)
    ended = harmed.run()
    failing = {"create": Result.CREATED, "patch": Result.UPDATED, "delete": Result.DELETED}
    if verb == "list":
        assert (ended.code, ended.writes) == (ExitCode.ERROR, 0)
    else:
        assert ended.code is ExitCode.INCOMPLETE
        spoilt = {failing[verb]} | ({Result.REPLACED} if verb in ("create", "delete") else set())
        assert ended.results() == {
            name: Result.FAILED if result in spoilt else result for name, result in TO_DO.items()
        }
    assert ended.seconds <= harmed.settings.pass_deadline
    unharmed(harmed)


def test_a_server_that_is_always_busy_cannot_hold_a_pass_beyond_its_deadline(harmed: World) -> None:
    harmed.sandbox.faults.add(verb="patch", times=None, status=429, retry_after=3600)
    harmed.sandbox.faults.add(verb="create", times=None, status=429, retry_after=3600)
    ended = harmed.run(pass_deadline=60.0, concurrency=1)
    assert ended.seconds <= 60.0 + LONGEST_STEP
    results = ended.results()
    assert {results["vwap-2"], results["vwap-5"], results["vwap-6"]} == {Result.FAILED, Result.DEFERRED}
    assert "the pass's deadline came first" in ended.details().values()
    unharmed(harmed)


def test_a_token_that_is_rotated_in_mid_pass_costs_the_writes_that_are_left(harmed: World) -> None:
    harmed.sandbox.server.token = "first"

    def rotate(_request: object, verb: str) -> None:
        if verb == "patch":
            harmed.sandbox.server.token = "second"

    harmed.sandbox.server.on_request = rotate
    ended = harmed.run(concurrency=1)
    assert ended.code is ExitCode.INCOMPLETE
    results = ended.results()
    assert {name for name, result in results.items() if result is Result.FAILED} == {
        name for name, result in TO_DO.items() if result is not Result.DELETED
    }
    assert "Unauthorized" in ended.details()["vwap-10"]
    # The next pass reads the kubeconfig again, with the new token.
    unharmed(harmed)


def test_a_token_that_is_of_no_use_any_more_ends_the_pass_before_anything(harmed: World) -> None:
    harmed.sandbox.server.token = "first"

    def rotate(request: Any, verb: str) -> None:
        if "continue" in request.query:
            harmed.sandbox.server.token = "second"

    harmed.sandbox.server.on_request = rotate
    ended = harmed.run()
    assert (ended.code, ended.writes) == (ExitCode.ERROR, 0)
    assert ended.error
    assert ended.error.message.startswith("cannot list pods: ")
    unharmed(harmed)


def test_a_pod_that_is_read_back_and_runs_for_another_client_is_not_the_one(harmed: World) -> None:
    # Equal in all but whose it is, and there by somebody's hand at just that moment.
    def come(_request: object, verb: str) -> None:
        if verb == "create" and "vwap-10" not in harmed.pods():
            other = harmed.sandbox.store.get(PODS, NAMESPACE, "vwap-11").content
            metadata = {**{key: other["metadata"][key] for key in ("labels", "annotations")}, "name": "vwap-10"}
            container = {"name": "algorithm", "image": "desk/vwap:1"}
            pod = {"metadata": metadata, "spec": {"containers": [container]}}
            harmed.sandbox.store.create(PODS, NAMESPACE, pod)

    harmed.sandbox.server.on_request = come
    harm(harmed, CREATES["create"], RESET)
    ended = harmed.run(concurrency=1)
    assert (ended.code, ended.results()) == (ExitCode.INCOMPLETE, {**TO_DO, "vwap-10": Result.CONFLICT})


# Told to stop while the server refuses --------------------------------------------------------------------------------


def tell_to_stop_at(world: World, verb: str, name: str) -> None:
    """Send SIGTERM to this process, which runs the pass, when a request for the pod comes."""

    def hook(request: Request, asked: str) -> None:
        if asked == verb and name in request.body.decode() and "dryRun" not in request.query:
            world.sandbox.server.on_request = None
            told = signal.getsignal(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            # Driven time does not wait for the main thread, which may be about to wait for this very request.
            poll(lambda: (wake_main_thread(), signal.getsignal(signal.SIGTERM) != told)[1])

    signal.signal(signal.SIGUSR1, lambda *_: None)
    world.sandbox.server.on_request = hook


def wake_main_thread() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


def test_a_pass_that_is_told_to_stop_soon_gives_up_on_a_server_that_refuses(harmed: World) -> None:
    harmed.sandbox.faults.add(verb="create", name="vwap-5", status=503, retry_after=9, times=None)
    tell_to_stop_at(harmed, "create", "vwap-5")
    ended = harmed.run()
    assert ended.code is ExitCode.TERMINATED
    assert ended.results()["vwap-5"] == Result.FAILED
    # Not the minute for which it would be tried otherwise.
    assert brake.PATIENCE <= ended.seconds < brake.PATIENCE + 9
    unharmed(harmed)


def test_a_pass_that_is_told_to_stop_does_not_stay_for_what_was_not_there_before(harmed: World) -> None:
    harmed.sandbox.faults.add(verb="create", name="vwap-10", skip=1, status=503, retry_after=9, times=None)
    tell_to_stop_at(harmed, "create", "vwap-10")
    ended = harmed.run()
    assert (ended.code, ended.results()["vwap-10"]) == (ExitCode.TERMINATED, Result.FAILED)
    assert ended.seconds < 1
    unharmed(harmed)


def test_a_pass_that_is_told_to_stop_still_sees_to_it_that_what_it_ended_comes_back(harmed: World) -> None:
    harmed.sandbox.faults.add(verb="create", name="vwap-5", status=503, times=2)
    tell_to_stop_at(harmed, "create", "vwap-5")
    ended = harmed.run()
    assert ended.code is ExitCode.TERMINATED
    assert ended.results()["vwap-5"] == Result.REPLACED
    unharmed(harmed)


def test_a_pass_that_is_told_to_stop_before_it_has_a_plan_gives_up_at_once(harmed: World) -> None:
    harmed.sandbox.faults.add(verb="list", status=503, retry_after=9, times=None)
    tell_to_stop_at(harmed, "list", "")
    ended = harmed.run()
    assert (ended.code, ended.writes) == (ExitCode.TERMINATED, 0)
    assert ended.seconds < 9
    assert list_passes(harmed.engine, 1)[0].exit_code == ExitCode.TERMINATED
    unharmed(harmed)


# Where nobody may know ------------------------------------------------------------------------------------------------


def test_a_pass_that_may_not_read_the_namespace_does_all_of_it(harmed: World) -> None:
    rule = harmed.sandbox.faults.add(verb="get", name=NAMESPACE, status=403, times=None)
    ended = harmed.run()
    assert (ended.code, ended.results(), rule.hits) == (ExitCode.DONE, TO_DO, 1)
    unharmed(harmed)
