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
from syncctl.kube.transport import Transport
from syncctl.operations import apply, heeding

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


@contextmanager
def before_request(number: int, say: Callable[[], object]) -> Iterator[list[str]]:
    """Let somebody say something just before so many requests have been sent; yield what was done by them."""
    done: list[str] = []
    send = Transport._respond

    def respond(self: Transport, method: str, url: str, doing: str, *rest: object, **named: object) -> object:
        done.append(doing)
        if len(done) == number:
            say()
        return send(self, method, url, doing, *rest, **named)  # type: ignore[arg-type]

    Transport._respond = respond  # type: ignore[method-assign,assignment]
    try:
        yield done
    finally:
        Transport._respond = send  # type: ignore[method-assign]


def at_every_point(
    desk: Desk, sandbox: SandboxCluster, prepare: Callable[[], Client], word: str
) -> Iterator[tuple[Client, Report, list[str], int]]:
    """Run a pass for each of its requests, in which the word comes just before that one."""
    for number in count(1):
        client = prepare()
        with before_request(number, partial(WORDS[word], desk)) as done:
            report = desk.run()
        if len(done) < number:
            assert number > 3, "a pass without requests"
            return
        yield client, report, done, number
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

    for client, report, done, number in at_every_point(desk, sandbox, prepare, word):
        pod = vwap(client)
        made = [place for place, doing in enumerate(done, 1) if doing == f"create pod {pod}"]
        if word in STOPS:
            assert not alive(sandbox, pod), (number, done)
        # It was asked just before: on its way is what the word met, a question to the cluster and then the creation.
        assert all(place <= number + 1 for place in made), (number, done)
        if not alive(sandbox, pod) and pod in results(report):
            assert outcome_of(report, pod).result in (Result.DEFERRED, Result.DELETED, Result.SUSPENDED)
        if word not in ("deleted", "vanished", "flags vanished"):
            assert alive(sandbox, pod_of(client, "twap")), (number, done)


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

    for client, report, done, number in at_every_point(desk, sandbox, prepare, word):
        pod, other = vwap(client), pod_of(client, "twap")
        uid = alive(sandbox, pod)
        told = next((place for place, doing in enumerate(done, 1) if doing == f"delete pod {pod}"), 0)
        outcome = outcome_of(report, pod)
        if word in STOPS:
            assert not uid, (number, done)
            assert outcome.result is Result.DELETED, (number, outcome)
        elif word == "suspended":
            # Left as it was, or finished: its old pod was told to go, at the latest by the request that the word met.
            assert uid, (number, done)
            if change == "a restart":
                assert (uid != before[pod]) is bool(told and told <= number), (number, done)
        elif uid != before[pod] and told and change == "a restart":
            # Of a row that has vanished no pod is made, and none ended, but for what was on its way.
            assert told <= number, (number, done)
        if word in ("switched off", "stopped", "suspended"):
            assert alive(sandbox, other), (number, done)
        if word in STOPS:
            assert exit_code_of_report(report) is ExitCode.DONE


def test_stops_of_meanwhile_count_for_the_limit(desk: Desk, sandbox: SandboxCluster) -> None:
    names = ["one", "two", "three"]
    pods = [vwap(desk.add(name)) for name in names]
    desk.started()
    desk.set(switch_off_limit=2)
    for name in names:
        desk.restart(name)

    def say() -> None:
        for name in names:
            desk.switch(name, vwap=False)

    with before_request(3, say):
        report = desk.run()
    stopped = [pod for pod in pods if not alive(sandbox, pod)]
    assert len(stopped) == 2
    (left,) = [pod for pod in pods if pod not in stopped]
    assert "switch_off_limit is 2" in outcome_of(report, left).detail
    # The next pass judges that one by itself.
    assert results(desk.run())[left] == "deleted"


def test_a_policy_that_deletes_nothing_stops_nothing_and_makes_nothing_either(
    desk: Desk, sandbox: SandboxCluster
) -> None:
    client = desk.add(enabled="vwap twap")
    desk.started()
    desk.restart()
    with before_request(3, lambda: desk.switch(vwap=False, twap=False)):
        report = desk.run(policy="upsert-only")
    assert {outcome_of(report, pod).result for pod in (vwap(client), pod_of(client, "twap"))} <= {
        Result.DEFERRED,
        Result.DELETED,
    }
    assert set(results(report)) == {vwap(client), pod_of(client, "twap")}


def test_a_pass_that_writes_nothing_asks_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.add()
    desk.started()
    asked: list[object] = []
    monkeypatch.setattr(heeding, "read_said", lambda _connection, keys: asked.append(keys) or {})
    desk.run()
    assert asked == []
