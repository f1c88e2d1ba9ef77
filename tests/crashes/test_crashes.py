"""A pass that is killed, SIGKILL, at every request and every commit in turn: the next ones put everything right."""

import itertools
import os
import signal
import subprocess
import sys
from datetime import datetime

import pytest

from syncctl.core.errors import LeaseHeld
from syncctl.core.report import Report
from syncctl.core.steps import Step, StepKind
from syncctl.operations.clients import list_clients

from .scenario import (
    GONE,
    MADE,
    NAMESPACE,
    PODS,
    REPLACED,
    ROOT,
    STEPS,
    SUCCEEDED,
    Ground,
    Killing,
    Passes,
    Scenario,
    release,
)

KILLED = -signal.SIGKILL
CONFLICT_LEFT = 6
"""The exit code of a pass that did all it could, and one name is held by a foreign pod."""
WHEN = pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])


def test_the_pass_that_is_killed_has_each_kind_of_step_to_take(scenario: Scenario) -> None:
    with scenario.ground() as ground:
        assert {(step.kind, step.cause) for step in ground.sync().plan.steps} == STEPS


@WHEN
def test_a_pass_killed_at_any_request_is_made_good_by_the_next(scenario: Scenario, passes: Passes, after: bool) -> None:
    for number in itertools.count(1):
        with scenario.ground() as ground:
            ground.sandbox.faults._rules.append(Killing(number, after, passes.kill))
            code = passes.run(ground.settings)
            try:
                if code != KILLED:
                    assert code == CONFLICT_LEFT
                    ((outcome,),) = ground.query("SELECT outcome FROM passes ORDER BY id DESC LIMIT 1")
                    assert number > 20, f"the pass sends more requests than that: {outcome}"
                    return
                assert ground.lease_is_held()
                everything_is_put_right(ground)
            except AssertionError as error:
                error.add_note(f"killed at request {number}")
                raise


@WHEN
def test_a_pass_killed_at_any_commit_is_made_good_by_the_next(scenario: Scenario, passes: Passes, after: bool) -> None:
    commits_of_a_killed_pass(scenario, passes, after)


@WHEN
def test_a_pass_killed_at_any_commit_on_postgres_is_made_good_by_the_next(
    postgres_scenario: Scenario, passes: Passes, after: bool
) -> None:
    commits_of_a_killed_pass(postgres_scenario, passes, after)


def commits_of_a_killed_pass(scenario: Scenario, passes: Passes, after: bool) -> None:
    """Kill a pass at one commit after the other."""
    for number in itertools.count(1):
        with scenario.ground() as ground:
            code = passes.run(ground.settings, commit=number, after=after)
            try:
                if code != KILLED:
                    assert code == CONFLICT_LEFT
                    assert number > 8, "the pass commits more often than that"
                    return
                everything_is_put_right(ground)
            except AssertionError as error:
                error.add_note(f"killed at commit {number}")
                raise


def everything_is_put_right(ground: Ground) -> None:
    """Run passes until there is nothing left to do, and look at all that was done since the state before.

    Two passes, and one for the pod that was waited for. That which has ended backs off for none of them: no pass has
    replaced it yet. History tells of each of these.
    """
    ground.execute("UPDATE lease SET expires_at = NULL")
    before = len(ground.query("SELECT id FROM passes"))
    first, second = ground.sync(), ground.sync()
    assert {step.kind for step in left(second)} <= {StepKind.WAIT}
    release(ground.store)
    third, fourth = ground.sync(), ground.sync()
    assert {step.kind for step in left(third)} <= {StepKind.CREATE}
    assert not left(fourth)
    assert not ground.problems
    assert ground.made == MADE
    pods = {record.name: record for record in ground.store.list(PODS, NAMESPACE).records}
    assert not GONE & pods.keys()
    assert all(record.phase == "Running" and not record.terminating for record in pods.values())
    assert ground.query("SELECT restart_generation, need_restart FROM clients WHERE id = 5") == [(1, False)]
    assert {
        pods[name].json["metadata"]["annotations"]["syncctl.io/restart-generation"] for name in ("vwap-5", "twap-5")
    } == {"1"}
    # Whichever pass it was that made it, and however many were killed before.
    assert {name for name in MADE if REPLACED in pods[name].json["metadata"]["annotations"]} == SUCCEEDED
    assert not ground.query("SELECT client_id FROM begun_replacements")
    assert ground.query("SELECT home FROM fleet") == [(ground.home,)]
    (container,) = pods["vwap-3"].json["status"]["containerStatuses"]
    assert (container["image"], container["restartCount"]) == ("desk/algo:2", 1)
    spawned = {str(client.id): client.spawned_at for client in list_clients(ground.engine)}
    for record in pods.values():
        if client := record.labels.get("syncctl.io/client-id"):
            at = spawned[client]
            assert at, f"{record.name} is there, and no pod of client {client} was ever made"
            assert at >= datetime.fromisoformat(record.json["metadata"]["creationTimestamp"]), record.name
    told = [outcome for (outcome,) in ground.query("SELECT outcome FROM passes ORDER BY id")]
    assert told[before:] == [report.summary for report in (first, second, third, fourth)]


def left(report: Report) -> list[Step]:
    """Return the steps of a report that were not kept as they are, but for the name that a foreign pod holds."""
    return [step for step in report.plan.steps if step.kind not in (StepKind.KEEP, StepKind.CONFLICT)]


def test_the_command_itself_is_killed_and_succeeded_when_its_lease_has_truly_expired(scenario: Scenario) -> None:
    with scenario.ground() as ground:
        environment = {
            **os.environ,
            **{f"SYNCCTL_{name.upper()}": str(value) for name, value in ground.settings.items()},
        }
        command = subprocess.Popen(
            [sys.executable, "-m", "syncctl", "sync", "once", "--adopt"],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        ground.sandbox.faults._rules.append(Killing(8, True, lambda: os.kill(command.pid, signal.SIGKILL)))
        assert command.wait(30) == KILLED
        assert ground.lease_is_held()
        # It was renewed a minute ago but for the half of a second.
        ground.execute("UPDATE lease SET expires_at = strftime('%Y-%m-%d %H:%M:%f', 'now', '+0.5 seconds')")
        refused = 0
        while True:
            try:
                ground.sync()
                break
            except LeaseHeld:
                refused += 1
        assert refused
        everything_is_put_right(ground)
