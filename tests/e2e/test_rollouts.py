"""A change goes through a fleet at its pace and halts when it is bad, however long the old pods take to go."""

from dataclasses import replace

import pytest
from kit.clusters import NEWER_IMAGE, SandboxCluster

from syncctl.core import names
from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.holds.pace import AT_LEAST
from syncctl.core.report import Report
from syncctl.core.steps import HoldKind
from syncctl.operations.clock import SYSTEM
from syncctl.operations.planning import PassOptions
from syncctl.operations.sync import sync_once
from syncctl.sandbox import PODS
from syncctl.sandbox.objects import Event

from .desk import Desk, Silence, outcome_of, pod_of, results, vwap

CLIENTS = 3 * AT_LEAST
"""Of which a quarter is less than AT_LEAST: that is the budget."""
GRACE = 600
EVERY = 300.0
"""Seconds between two passes; each gives up waiting after the 120 of pass_deadline and OVERTIME, 90."""
LATE = pytest.mark.parametrize(
    "stop_delay", [260.0, 390.0], ids=["gone between two passes", "still going in the next pass"]
)


def template(revision: int, condition: str = "") -> str:
    """Return a template whose pods take their time to go, and come to be in this condition."""
    annotations = f'metadata: {{annotations: {{sandbox.syncctl.io/condition: "{condition}"}}}}\n' if condition else ""
    container = f'{{name: algorithm, env: [{{name: REVISION, value: "{revision}"}}]}}'
    return f"{annotations}spec: {{terminationGracePeriodSeconds: {GRACE}, containers: [{container}]}}"


class Rollout:
    """A fleet that runs, and whoever counts at every change how many of it do not."""

    def __init__(self, desk: Desk, sandbox: SandboxCluster, stop_delay: float) -> None:
        self._desk = desk
        self._sandbox = sandbox
        sandbox.sandbox.kubelet.stop_delay = stop_delay
        desk.template(template(1))
        self.pods = [vwap(desk.add(f"client {number}")) for number in range(1, CLIENTS + 1)]
        desk.started()
        self.most_down = 0
        sandbox.sandbox.store.subscribe(self._count)

    def passes(self, number: int) -> list[Report]:
        """Run passes at a steady interval."""
        return [self._one_pass() for _ in range(number)]

    def made_from(self, revision: int) -> set[str]:
        """Return the pods that a template has made, and that nobody has told to go."""
        content = {"name": "REVISION", "value": str(revision)}
        return {
            name
            for name, pod in self._desk.cluster.pods().items()
            if content in pod["spec"]["containers"][0]["env"] and "deletionTimestamp" not in pod["metadata"]
        }

    def _one_pass(self) -> Report:
        began = self._sandbox.now
        report = self._desk.run()
        self._sandbox.pass_time(began + EVERY - self._sandbox.now)
        return report

    def _count(self, _change: Event) -> None:
        pods = self._sandbox.sandbox.store.list(PODS, self._sandbox.namespace).records
        up = sum(pod.phase == "Running" and not pod.terminating for pod in pods)
        self.most_down = max(self.most_down, CLIENTS - up)


def begun(desk: Desk) -> set[str]:
    """Return the pods whose replacement the database says to be begun."""
    with desk.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT algorithm, a.id FROM begun_replacements b JOIN algorithm_status a ON a.client_id = b.client_id"
        )
        return {f"{algorithm}-{number}" for algorithm, number in rows}


@LATE
def test_a_bad_template_is_halted_though_no_pass_sees_its_replacements_through(
    sandbox_desk: Desk, sandbox: SandboxCluster, stop_delay: float
) -> None:
    rollout = Rollout(sandbox_desk, sandbox, stop_delay)
    sandbox_desk.template(template(2, "ImagePullBackOff"))
    first, *_, last = rollout.passes(6)
    assert sum(result.startswith("waiting") for result in results(first).values()) == AT_LEAST
    halted = [outcome.detail for outcome in last.outcomes if " pods changed for this are not healthy" in outcome.detail]
    assert len(halted) == CLIENTS - AT_LEAST
    assert halted[0].startswith(f"{AT_LEAST} of {AT_LEAST} pods changed for this are not healthy; look at ")
    assert len(rollout.made_from(1)) == CLIENTS - AT_LEAST
    assert rollout.most_down == AT_LEAST
    assert begun(sandbox_desk) == set()


@LATE
def test_a_good_template_comes_to_all_and_no_more_than_the_budget_is_ever_down(
    sandbox_desk: Desk, sandbox: SandboxCluster, stop_delay: float
) -> None:
    rollout = Rollout(sandbox_desk, sandbox, stop_delay)
    sandbox_desk.template(template(2))
    last = rollout.passes(10)[-1]
    assert set(results(last).values()) == {"unchanged"}
    assert rollout.made_from(2) == set(rollout.pods)
    assert rollout.most_down == AT_LEAST
    assert begun(sandbox_desk) == set()


def test_what_was_begun_is_told_from_what_was_missing(sandbox_desk: Desk, sandbox: SandboxCluster) -> None:
    desk = sandbox_desk
    rollout = Rollout(desk, sandbox, 260.0)
    pod = rollout.pods[0]
    desk.restart("client 1")
    missing = vwap(desk.add("late"))
    rollout.passes(1)
    assert begun(desk) == {pod}
    (report,) = rollout.passes(1)
    assert results(report)[pod] == "created"
    assert outcome_of(report, pod).step.cause == "replacement-begun"
    pods = desk.cluster.pods()
    assert names.REPLACED in pods[pod]["metadata"]["annotations"]
    # Which pass has made it tells nothing of what it was made for.
    assert pods[pod]["metadata"]["annotations"][names.CHANGED_FOR] == "restart-asked"
    assert names.REPLACED not in pods[missing]["metadata"]["annotations"]
    assert begun(desk) == set()


def test_what_nobody_asks_for_any_longer_is_forgotten(sandbox_desk: Desk, sandbox: SandboxCluster) -> None:
    desk = sandbox_desk
    rollout = Rollout(desk, sandbox, 390.0)
    for number in (1, 2, 3):
        desk.restart(f"client {number}")
    rollout.passes(1)
    assert begun(desk) == set(rollout.pods[:3])
    desk.switch("client 1", vwap=False)
    desk.delete("client 2")
    rollout.passes(1)
    assert begun(desk) == {rollout.pods[2]}
    # And what was switched off is a pod like any other when it is switched on again.
    rollout.passes(1)
    desk.switch("client 1", vwap=True)
    (report,) = rollout.passes(1)
    assert outcome_of(report, rollout.pods[0]).step.cause == "missing"
    assert begun(desk) == set()


def test_a_successor_that_cannot_be_made_is_not_forgotten(sandbox_desk: Desk, sandbox: SandboxCluster) -> None:
    desk = sandbox_desk
    rollout = Rollout(desk, sandbox, 260.0)
    pod = rollout.pods[0]
    desk.restart("client 1")
    rollout.passes(1)
    sandbox.sandbox.faults.add(verb="create", name=pod, status=403, times=None)
    (report,) = rollout.passes(1)
    assert results(report)[pod].startswith("failed: nothing runs until the next pass makes it: cannot create pod ")
    assert begun(desk) == {pod}
    sandbox.sandbox.faults.clear()
    (report,) = rollout.passes(1)
    assert (results(report)[pod], outcome_of(report, pod).step.cause) == ("created", "replacement-begun")
    assert begun(desk) == set()


def test_an_invalid_row_does_not_make_its_replacement_forgotten(sandbox_desk: Desk, sandbox: SandboxCluster) -> None:
    desk = sandbox_desk
    rollout = Rollout(desk, sandbox, 260.0)
    desk.restart("client 1")
    rollout.passes(1)
    desk.sql("UPDATE clients SET cpu = '1,5' WHERE client_name = 'client 1'")
    rollout.passes(2)
    assert begun(desk) == {rollout.pods[0]}
    desk.sql("UPDATE clients SET cpu = '' WHERE client_name = 'client 1'")
    (report,) = rollout.passes(1)
    assert outcome_of(report, rollout.pods[0]).step.cause == "replacement-begun"


def test_a_resize_that_falls_back_to_a_replacement_is_begun_too_and_one_in_place_is_not(
    sandbox_desk: Desk, sandbox: SandboxCluster
) -> None:
    desk = sandbox_desk
    rollout = Rollout(desk, sandbox, 260.0)
    desk.change("client 1", cpu="30m")
    (report,) = rollout.passes(1)
    assert (results(report)[rollout.pods[0]], begun(desk)) == ("updated", set())
    sandbox.sandbox.store.supports_resize = False
    desk.change("client 2", cpu="30m")
    desk.change("client 3", image=NEWER_IMAGE)
    rollout.passes(1)
    assert begun(desk) == {rollout.pods[1]}


def test_a_pass_that_stood_still_before_it_was_recorded_forgets_nothing(sandbox_desk: Desk) -> None:
    class StandsStill(Silence):
        seconds = 0.0

        def reported(self, report: Report) -> None:
            self.seconds = 120.0

    desk, witness = sandbox_desk, StandsStill()
    pod = vwap(desk.add())
    desk.started()
    desk.restart()
    clock = replace(desk.cluster.clock, boottime=lambda: SYSTEM.boottime() + witness.seconds)
    report = sync_once(desk.engine, desk.api, desk.settings, PassOptions(), witness, clock)
    assert (results(report), begun(desk)) == ({pod: "replaced"}, {pod})
    desk.until_running()
    assert (results(desk.run()), begun(desk)) == ({pod: "unchanged"}, set())


def test_a_replacement_that_was_put_off_before_its_pod_was_told_to_go_is_not_begun(
    sandbox_desk: Desk, sandbox: SandboxCluster
) -> None:
    desk = sandbox_desk
    desk.template(template(1))
    client = desk.add(enabled="vwap twap")
    desk.started()
    desk.set(concurrency=1, pass_deadline=1.0)
    desk.restart()
    slow = pod_of(client, "twap")
    for algorithm in ("vwap", "twap"):
        desk.hold(pod_of(client, algorithm))

    def hook(_request: object, verb: str) -> None:
        # The first of the two takes all the time there is.
        if verb == "delete":
            sandbox.pass_time(2.0)

    sandbox.sandbox.server.on_request = hook
    report = desk.run()
    assert sorted(result.partition(":")[0] for result in results(report).values()) == ["deferred", "waiting"]
    assert len(begun(desk)) == 1
    assert (slow in begun(desk)) == results(report)[slow].startswith("waiting")


def test_a7_a_resize_that_harms_halts_as_a_bad_image_does(sandbox_desk: Desk, sandbox: SandboxCluster) -> None:
    desk = sandbox_desk
    clients = [desk.add(f"client {number}") for number in range(CLIENTS)]
    desk.started()
    desk.set(default_memory="16Mi")
    sandbox.pass_time(EVERY)
    first = desk.run()
    resized = {name for name, result in results(first).items() if result == "updated"}
    assert len(resized) == AT_LEAST
    for name in resized:
        annotations = sandbox.pods()[name]["metadata"]["annotations"]
        assert annotations[names.CHANGED_FOR] == "resources-differ"
        sandbox.fate(name, "CrashLoopBackOff")
    sandbox.pass_time(EVERY)
    for _ in range(2):
        halted = desk.run()
        assert exit_code_of_report(halted) is ExitCode.INCOMPLETE
        left = [outcome for outcome in halted.outcomes if outcome.step.name not in resized]
        assert {outcome.step.held.kind for outcome in left if outcome.step.held} == {HoldKind.HALTED}
        assert len(left) == len(clients) - AT_LEAST
        sandbox.pass_time(EVERY)


def test_b5_a_pod_that_was_healed_and_ends_again_halts_nobody_elses_restart(
    sandbox_desk: Desk, sandbox: SandboxCluster
) -> None:
    desk = sandbox_desk
    healed, asking = desk.add("v"), desk.add("w")
    desk.started()
    sandbox.fate(vwap(healed), "Failed")
    sandbox.pass_time(5)
    assert results(desk.run())[vwap(healed)] == "replaced"
    desk.until_running()
    sandbox.fate(vwap(healed), "CrashLoopBackOff")
    sandbox.pass_time(60)
    desk.restart("w")
    assert results(desk.run())[vwap(asking)] == "replaced"
