"""A pod that ends again and again waits by the database's clock, is named meanwhile, and is let go when mended."""

from datetime import timedelta

import pytest
from kit.clusters import NEWER_IMAGE, SandboxCluster

from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.report import Result
from syncctl.db.snapshot import read_snapshot

from .desk import Desk, counted_transactions, outcome_of, vwap


def always_ending(desk: Desk, sandbox: SandboxCluster, ends: int = 4) -> str:
    """Let a client's pod end so often in a row, each time as soon as it is replaced, and return its name."""
    pod = vwap(desk.add())
    desk.started()
    for _ in range(ends - 1):
        sandbox.set_status(pod, phase="Failed", reason="Error")
        assert outcome_of(desk.run(), pod).result is Result.REPLACED
        desk.until_running()
        desk.later += timedelta(hours=6)
    desk.later -= timedelta(hours=6)
    sandbox.set_status(pod, phase="Failed", reason="Error")
    return pod


@pytest.mark.parametrize("mend", ["another image", "a restart", "more memory"])
def test_b4_a_person_who_mends_a_pod_that_backs_off_need_not_wait(
    sandbox_desk: Desk, sandbox: SandboxCluster, mend: str
) -> None:
    desk = sandbox_desk
    pod = always_ending(desk, sandbox)
    assert outcome_of(desk.run(), pod).result is Result.DEFERRED
    if mend == "another image":
        desk.change(image=NEWER_IMAGE)
    elif mend == "a restart":
        desk.restart()
    else:
        desk.change(memory="64Mi")
    report = desk.run()
    assert outcome_of(report, pod).result is Result.REPLACED
    assert exit_code_of_report(report) is ExitCode.DONE
    # It has started over: the next end waits for five minutes, and not for forty.
    desk.until_running()
    sandbox.set_status(pod, phase="Failed", reason="Error")
    assert "has ended twice in a row" in outcome_of(desk.run(), pod).detail
    desk.later += timedelta(minutes=5)
    assert outcome_of(desk.run(), pod).result is Result.REPLACED


def test_b4_what_is_down_and_backs_off_is_named_by_every_pass_with_exit_6(
    sandbox_desk: Desk, sandbox: SandboxCluster, caplog: pytest.LogCaptureFixture
) -> None:
    desk = sandbox_desk
    pod = always_ending(desk, sandbox)
    (back_off,) = read_snapshot(desk.engine, consume_restarts=False).back_offs.values()
    until = back_off.until + timedelta(seconds=60)
    told = f"has ended 4 times in a row; backing off until {until:%H:%M} UTC"
    with counted_transactions(desk.engine) as ended:
        for _ in range(3):
            caplog.clear()
            report = desk.run()
            assert exit_code_of_report(report) is ExitCode.INCOMPLETE
            assert [(outcome.step.name, outcome.detail) for outcome in report.problems] == [(pod, told)]
            assert f"{pod}: deferred: {told}" in caplog.messages
            assert report.counts()[Result.DEFERRED] == 1
    # Lease, rows, record, lease: what waits is not stored again.
    assert ended == {"commit": 3 * 4}


def test_b4_the_databases_clock_set_back_lets_no_pod_wait_for_longer_than_its_back_off(
    sandbox_desk: Desk, sandbox: SandboxCluster
) -> None:
    desk = sandbox_desk
    pod = always_ending(desk, sandbox)
    desk.later -= timedelta(days=1)
    assert outcome_of(desk.run(), pod).result is Result.DEFERRED
    desk.later += timedelta(minutes=19)
    assert outcome_of(desk.run(), pod).result is Result.DEFERRED
    desk.later += timedelta(minutes=2)
    assert outcome_of(desk.run(), pod).result is Result.REPLACED


@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=-1)], ids=["fast", "slow"])
def test_b4_another_host_whose_clock_is_wrong_ends_no_wait(
    sandbox_desk: Desk, sandbox: SandboxCluster, ahead: timedelta
) -> None:
    desk = sandbox_desk
    pod = always_ending(desk, sandbox)
    for host in (ahead, timedelta()):
        desk.host_ahead = host
        assert outcome_of(desk.run(), pod).result is Result.DEFERRED
    desk.later += timedelta(minutes=21)
    assert outcome_of(desk.run(), pod).result is Result.REPLACED
