"""What is suspended is touched by no pass until its time, whatever happens to it, and by the first after it."""

from datetime import timedelta

import pytest
from kit.clusters import NEWER_IMAGE, SandboxCluster

from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.report import Result
from syncctl.db.snapshot import read_snapshot
from syncctl.operations.figures import read_figures

from .desk import Desk, outcome_of, pod_of, results, vwap


@pytest.mark.parametrize("whose", ["acme", None])
def test_a_suspended_client_is_touched_by_no_pass_until_its_time_and_by_the_first_after_it(
    desk: Desk, whose: str | None
) -> None:
    pod = vwap(desk.add(image="desk/vwap:1"))
    desk.started()
    before = desk.cluster.pods()[pod]
    desk.suspend(whose)
    desk.change(image=NEWER_IMAGE, cpu="30m")
    desk.restart()
    for _ in range(2):
        report = desk.run()
        assert outcome_of(report, pod).result is Result.SUSPENDED
        assert exit_code_of_report(report) is ExitCode.DONE
    assert desk.cluster.pods()[pod]["metadata"]["uid"] == before["metadata"]["uid"]
    assert desk.cluster.pods()[pod]["spec"] == before["spec"]
    desk.later += timedelta(hours=2, seconds=1)
    assert outcome_of(desk.run(), pod).result is Result.REPLACED
    assert results(desk.run())[pod] == "unchanged"


@pytest.mark.parametrize("gone", ["DELETE FROM clients", "DELETE FROM algorithm_status"])
def test_what_becomes_of_the_rows_touches_nothing_and_the_guard_tells(desk: Desk, gone: str) -> None:
    pods = [vwap(desk.add(name)) for name in ("acme", "globex")]
    desk.started()
    desk.set(orphan_limit=1, orphan_percent=100.0)
    for name in ("acme", "globex"):
        desk.suspend(name)
    desk.sql(gone)
    report = desk.run()
    assert exit_code_of_report(report) is ExitCode.REFUSED
    assert [results(report)[pod].partition(":")[0] for pod in pods] == ["suspended", "suspended"]
    # Latched by that: when the time is over, they are refused.
    desk.later += timedelta(hours=3)
    report = desk.run()
    assert [results(report)[pod].partition(":")[0] for pod in pods] == ["refused", "refused"]
    assert desk.cluster.pods().keys() == set(pods)


def test_a_stop_of_a_person_goes_through(desk: Desk) -> None:
    off, deleted = vwap(desk.add("off")), vwap(desk.add("deleted"))
    desk.started()
    for name in ("off", "deleted"):
        desk.suspend(name, hours=None)
    desk.switch("off", vwap=False)
    desk.delete("deleted")
    report = desk.run()
    assert {results(report)[pod] for pod in (off, deleted)} == {"deleted"}
    # A namesake added later is another client.
    desk.until_gone(deleted)
    namesake = vwap(desk.add("deleted"))
    assert results(desk.run())[namesake] == "created"


def test_what_is_stopped_goes_stays_away_and_comes_back_when_it_is_resumed(desk: Desk) -> None:
    client = desk.add(enabled="vwap twap")
    desk.started()
    desk.suspend("acme", "vwap", stops=True, hours=None)
    report = desk.run()
    assert results(report)[vwap(client)] == "deleted"
    desk.until_gone(vwap(client))
    desk.restart()
    report = desk.run()
    assert exit_code_of_report(report) is ExitCode.DONE
    assert outcome_of(report, vwap(client)).result is Result.SUSPENDED
    assert results(report)[pod_of(client, "twap")] == "replaced"
    desk.resume()
    assert results(desk.run())[vwap(client)] == "created"


def test_a_frozen_process_that_dies_stays_down_and_is_named_by_every_pass(
    sandbox_desk: Desk, sandbox: SandboxCluster, caplog: pytest.LogCaptureFixture
) -> None:
    desk = sandbox_desk
    ended, removed = vwap(desk.add("ended")), vwap(desk.add("removed"))
    desk.started()
    desk.suspend(None, hours=None)
    desk.add("invalid")
    desk.sql("UPDATE clients SET cpu = 'lots' WHERE client_name = 'invalid'")
    sandbox.set_status(ended, phase="Failed", reason="Error")
    desk.remove(removed)
    desk.until_gone(removed)
    for _ in range(2):
        caplog.clear()
        report = desk.run()
        assert exit_code_of_report(report) is ExitCode.INCOMPLETE
        told = [record.getMessage() for record in caplog.records if "does not run, and is suspended" in record.message]
        assert sorted(line.partition(":")[0] for line in told) == sorted([ended, removed])
    assert read_snapshot(desk.engine, consume_restarts=False).back_offs == {}
    figures = read_figures(desk.engine)
    assert (figures.suspended_down, figures.problems, len(figures.suspensions)) == (2, 3, 1)
    desk.resume(None)
    assert {"created", "replaced"} <= set(results(desk.run()).values())
    assert read_figures(desk.engine).suspended_down == 0


@pytest.mark.parametrize("stops", [False, True])
def test_a_replacement_that_was_begun_is_finished_by_whichever_pass_unless_it_is_to_stop(
    desk: Desk, stops: bool
) -> None:
    pod = vwap(desk.add())
    desk.started()
    desk.hold(pod)
    desk.restart()
    desk.set(pass_deadline=0.5)
    report = desk.run()
    assert outcome_of(report, pod).result in (Result.WAITING, Result.DEFERRED), results(report)
    old = desk.uid(pod)
    desk.set(pass_deadline=120.0)
    desk.suspend(stops=stops)
    desk.let_go(pod)
    outcome = outcome_of(desk.run(), pod)
    assert outcome.result is (Result.SUSPENDED if stops else Result.CREATED), outcome
    if not stops:
        # And then it is left alone, though no process of it was there when the word came.
        assert desk.uid(pod) != old
        desk.until_running()
        desk.change(image=NEWER_IMAGE)
        assert outcome_of(desk.run(), pod).result is Result.SUSPENDED
