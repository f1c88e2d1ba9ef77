"""The word comes while a pass is at work: at every point of a creation, of a replacement, of an update."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count

import pytest
from kit.clusters import NEWER_IMAGE, SandboxCluster

from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.model import Client
from syncctl.core.report import Report, Result
from syncctl.db.snapshot import read_snapshot
from syncctl.kube.transport import Transport
from syncctl.operations import apply, clients, heeding

from .desk import Desk, outcome_of, pod_of, results, vwap

WORDS: dict[str, Callable[[Desk], object]] = {
    "switched off": lambda desk: desk.switch(vwap=False),
    "deleted": lambda desk: desk.delete(),
    "stopped": lambda desk: desk.suspend("acme", "vwap", stops=True, hours=None),
    "suspended": lambda desk: desk.suspend("acme", "vwap", hours=None),
    "vanished": lambda desk: desk.sql("DELETE FROM clients WHERE client_name = 'acme'"),
    "flags vanished": lambda desk: desk.sql("DELETE FROM algorithm_status"),
}
STOPS = ("switched off", "deleted", "stopped")


@pytest.fixture
def desk(sandbox_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """One request at a time, and a question before each."""
    monkeypatch.setattr(heeding, "BATCH", 1)
    monkeypatch.setattr(apply, "BATCH", 1)
    sandbox_desk.set(concurrency=1)
    return sandbox_desk


class Sent(list[str]):
    """What was asked of the cluster, in words, and after how many of these the word came; 0 while it has not."""

    said = 0

    def of(self, doing: str) -> list[int]:
        """Return the places of those that do this."""
        return [place for place, each in enumerate(self, 1) if each == doing]


@contextmanager
def saying(say: Callable[[], object], when: Callable[[Sent], bool]) -> Iterator[Sent]:
    """Let somebody say something just before the first request with which this is true."""
    sent, send = Sent(), Transport._respond

    def respond(self: Transport, method: str, url: str, doing: str, *rest: object, **named: object) -> object:
        sent.append(doing)
        if not sent.said and when(sent):
            sent.said = len(sent)
            say()
        return send(self, method, url, doing, *rest, **named)  # type: ignore[arg-type]

    Transport._respond = respond  # type: ignore[method-assign,assignment]
    try:
        yield sent
    finally:
        Transport._respond = send  # type: ignore[method-assign]


def nth(doing: str, times: int) -> Callable[[Sent], bool]:
    """Return what is true of the request that does this for so many times."""
    return lambda sent: sent[-1] == doing and sent.count(doing) == times


def at(number: int) -> Callable[[Sent], bool]:
    """Return what is true of that request."""
    return lambda sent: len(sent) == number


def at_every_point(
    desk: Desk, sandbox: SandboxCluster, prepare: Callable[[], Client], word: str
) -> Iterator[tuple[Client, Report, Sent, int]]:
    """Run a pass for each of its requests, in which the word comes just before that one."""
    for number in count(1):
        client = prepare()
        with saying(partial(WORDS[word], desk), at(number)) as sent:
            report = desk.run()
        if not sent.said:
            assert number > 3, "a pass without requests"
            return
        yield client, report, sent, number
        desk.sql("DELETE FROM clients")
        desk.sql("DELETE FROM suspensions")
        desk.sql("DELETE FROM guard_latches")
        for name in sandbox.pods():
            desk.remove(name)
        desk.until_gone(*sandbox.pods())


def alive(sandbox: SandboxCluster, name: str) -> str:
    """Return the uid of a pod that was not told to go, "" when there is none."""
    pod = sandbox.pods().get(name)
    return "" if pod is None or "deletionTimestamp" in pod["metadata"] else str(pod["metadata"]["uid"])


@pytest.mark.parametrize("word", WORDS)
def test_nothing_starts_that_was_said_to_stop_before_it_was_asked_about(
    desk: Desk, sandbox: SandboxCluster, word: str
) -> None:
    def prepare() -> Client:
        return desk.add(enabled="vwap twap")

    for client, report, sent, number in at_every_point(desk, sandbox, prepare, word):
        pod = vwap(client)
        made = sent.of(f"create pod {pod}")
        if word in STOPS:
            assert not alive(sandbox, pod), (number, sent)
        # It was asked just before: on its way is what the word met, a question to the cluster and then the creation.
        assert all(place <= number + 1 for place in made), (number, sent)
        if not alive(sandbox, pod) and pod in results(report):
            assert outcome_of(report, pod).result in (Result.DEFERRED, Result.DELETED, Result.SUSPENDED)
        if word not in ("deleted", "vanished", "flags vanished"):
            assert alive(sandbox, pod_of(client, "twap")), (number, sent)


@pytest.mark.parametrize("change", ["a restart", "another image"])
@pytest.mark.parametrize("word", WORDS)
def test_what_is_replaced_or_changed_is_stopped_by_the_same_pass_or_left(
    desk: Desk, sandbox: SandboxCluster, word: str, change: str
) -> None:
    before: dict[str, str] = {}

    def prepare() -> Client:
        client = desk.add(enabled="vwap twap")
        desk.started()
        before.update({name: desk.uid(name) for name in sandbox.pods()})
        if change == "a restart":
            desk.restart()
        else:
            desk.change(image=NEWER_IMAGE)
        return client

    for client, report, sent, number in at_every_point(desk, sandbox, prepare, word):
        pod, other = vwap(client), pod_of(client, "twap")
        uid = alive(sandbox, pod)
        told = next(iter(sent.of(f"delete pod {pod}")), 0)
        outcome = outcome_of(report, pod)
        if word in STOPS:
            assert not uid, (number, sent)
            assert outcome.result is Result.DELETED, (number, outcome)
        elif word == "suspended":
            # Left as it was, or finished: its old pod was told to go, at the latest by the request that the word met.
            assert uid, (number, sent)
            if change == "a restart":
                assert (uid != before[pod]) is bool(told and told <= number), (number, sent)
        elif uid != before[pod] and told and change == "a restart":
            # Of a row that has vanished no pod is made, and none ended, but for what was on its way.
            assert told <= number, (number, sent)
        if word in ("switched off", "stopped", "suspended"):
            assert alive(sandbox, other), (number, sent)
        if word in STOPS:
            assert exit_code_of_report(report) is ExitCode.DONE
            # Not changed first, and stopped only in the end: with that change it would have begun something.
            assert all(place <= number + 1 for place in sent.of(f"patch pod {pod}"))


def test_a_successor_that_is_refused_is_asked_about_before_each_attempt(
    sandbox_desk: Desk, sandbox: SandboxCluster
) -> None:
    desk = sandbox_desk
    desk.set(concurrency=1)
    pod = vwap(desk.add())
    desk.started()
    desk.restart()
    # The question of the dry run is answered.
    sandbox.sandbox.faults.add(verb="create", name=pod, status=503, times=6)
    with saying(desk.switch_off, nth(f"create pod {pod}", 4)) as sent:
        report = desk.run()
    # That one was on its way; no other is sent.
    assert sent.of(f"create pod {pod}")[-1] == sent.said, sent
    assert outcome_of(report, pod).result is Result.DELETED
    assert not alive(sandbox, pod)


def test_a_pass_does_not_wait_for_what_nobody_wants_back(sandbox_desk: Desk, sandbox: SandboxCluster) -> None:
    desk = sandbox_desk
    pod = vwap(desk.add())
    desk.started()
    desk.hold(pod)
    desk.restart()
    with saying(desk.switch_off, nth("list pods", 4)):
        before = desk.cluster.clock.monotonic()
        report = desk.run()
    assert desk.cluster.clock.monotonic() - before < 10.0
    outcome = outcome_of(report, pod)
    assert outcome.result is Result.DELETED
    assert "its old pod was told to go, and nothing is made" in outcome.detail


def test_a_successor_whose_creation_got_no_answer_is_stopped(sandbox_desk: Desk, sandbox: SandboxCluster) -> None:
    desk = sandbox_desk
    desk.set(concurrency=1)
    pod = vwap(desk.add())
    desk.started()
    desk.restart()
    # It is made, and nobody hears of that, nor when it is looked for.
    sandbox.sandbox.faults.add(verb="create", name=pod, after=True, reset=True)
    sandbox.sandbox.faults.add(verb="get", name=pod, skip=1, status=503, times=4)
    with saying(desk.switch_off, nth(f"get pod {pod}", 2)) as sent:
        report = desk.run()
    assert not alive(sandbox, pod), sent
    assert outcome_of(report, pod).result is Result.DELETED


@pytest.mark.parametrize("allowed", [False, True])
def test_stops_of_meanwhile_count_for_the_limit_unless_they_may_pass_it(
    desk: Desk, sandbox: SandboxCluster, allowed: bool
) -> None:
    names = ["one", "two", "three"]
    pods = [vwap(desk.add(name)) for name in names]
    desk.started()
    desk.set(switch_off_limit=2)
    for name in names:
        desk.restart(name)

    def say() -> None:
        if allowed:
            clients.stop_clients(desk.engine, None)
        else:
            desk.sql("UPDATE algorithm_status SET vwap = false")

    with saying(say, at(3)):
        report = desk.run()
    stopped = [pod for pod in pods if not alive(sandbox, pod)]
    if allowed:
        assert stopped == pods
    else:
        assert len(stopped) == 2
        (left,) = [pod for pod in pods if pod not in stopped]
        assert "switch_off_limit is 2" in outcome_of(report, left).detail
        # The next pass judges that one by itself.
        assert results(desk.run())[left] == "deleted"


def test_what_a_red_button_allows_lasts_until_it_is_carried_out(desk: Desk, sandbox: SandboxCluster) -> None:
    pods = [vwap(desk.add(name)) for name in ("one", "two", "three")]
    desk.started()
    desk.set(switch_off_limit=1)
    clients.stop_clients(desk.engine, ["one", "two"])
    report = desk.run(policy="upsert-only")
    assert {outcome_of(report, pod).result for pod in pods[:2]} == {Result.DEFERRED}
    assert read_snapshot(desk.engine, consume_restarts=False).allowed_stops.keys() == {1, 2}
    report = desk.run()
    assert [results(report)[pod] for pod in pods] == ["deleted", "deleted", "unchanged"]
    assert read_snapshot(desk.engine, consume_restarts=False).allowed_stops == {}
    assert [alive(sandbox, pod) != "" for pod in pods] == [False, False, True]


def test_a_policy_that_deletes_nothing_stops_nothing_and_makes_nothing_either(
    desk: Desk, sandbox: SandboxCluster
) -> None:
    client = desk.add(enabled="vwap twap")
    desk.started()
    desk.restart()
    pods = {name: desk.uid(name) for name in (vwap(client), pod_of(client, "twap"))}
    with saying(lambda: desk.switch(vwap=False, twap=False), at(1)):
        report = desk.run(policy="upsert-only")
    assert {name: alive(sandbox, name) for name in pods} == pods
    assert {outcome_of(report, name).result for name in pods} == {Result.DEFERRED}
    assert "the next pass that may stop it does" in outcome_of(report, vwap(client)).detail


def test_a_pass_that_writes_nothing_asks_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.add()
    desk.started()
    asked: list[object] = []
    monkeypatch.setattr(heeding, "read_said", lambda _connection, keys: asked.append(keys) or {})
    desk.run()
    assert asked == []
