"""Two questions of a monitoring system: when a pass last worked, and how many pods need a look."""

from kit.clusters import SandboxCluster, a_pod

from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.operations.figures import read_figures

from .desk import Desk, pod_of, vwap


def in_trouble(desk: Desk) -> tuple[int | None, int | None]:
    figures = read_figures(desk.engine)
    return figures.problems, figures.unhealthy


def test_c7_a_pod_that_is_as_asked_and_sick_is_exit_0_and_counted(sandbox_desk: Desk, sandbox: SandboxCluster) -> None:
    desk = sandbox_desk
    assert in_trouble(desk) == (None, None)
    pods = [vwap(desk.add(name)) for name in ("acme", "globex", "initech")]
    desk.started()
    assert in_trouble(desk) == (0, 0)
    sandbox.fate(pods[0], "CrashLoopBackOff")
    sandbox.fate(pods[1], "ImagePullBackOff")
    report = desk.run()
    assert exit_code_of_report(report) is ExitCode.DONE
    assert report.summary.endswith("; 2 of them not healthy")
    assert in_trouble(desk) == (0, 2)
    figures = read_figures(desk.engine)
    assert figures.last_success == figures.last_pass


def test_c7_what_is_behind_exit_6_is_counted_and_the_pass_has_worked(
    sandbox_desk: Desk, sandbox: SandboxCluster
) -> None:
    desk = sandbox_desk
    ends, lives = desk.add("ends"), desk.add("lives")
    desk.started()
    sandbox.set_status(vwap(ends), phase="Failed", reason="Error")
    desk.run()
    desk.until_running()
    sandbox.set_status(vwap(ends), phase="Failed", reason="Error")
    desk.api.create_pod(a_pod(pod_of(lives, "hft"), labels={"app.kubernetes.io/managed-by": "Helm"}))
    desk.switch("lives", hft=True)
    report = desk.run()
    assert exit_code_of_report(report) is ExitCode.INCOMPLETE
    assert {outcome.step.name for outcome in report.problems} == {vwap(ends), pod_of(lives, "hft")}
    assert in_trouble(desk) == (2, 0)
    figures = read_figures(desk.engine)
    assert figures.last_success == figures.last_pass
