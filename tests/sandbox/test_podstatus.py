"""The status word of a pod, by the real server's printing rules."""

from typing import Any

import pytest

from syncctl.sandbox.http.ages import human_duration
from syncctl.sandbox.http.podstatus import pod_cells

from .support import Json

READY = {"type": "Ready", "status": "True"}
INITIALIZED = {"type": "Initialized", "status": "True"}


def container(name: str = "c", **state: Json) -> Json:
    return {"name": name, "state": state, "ready": "running" in state, "restartCount": 0}


def cells(status: Json, *, initial: list[Json] | None = None, gone: bool = False, **spec: Any) -> str:
    """Ready, Status and Restarts."""
    metadata = {"name": "p", "creationTimestamp": "2026-11-24T22:00:00Z"}
    if gone:
        metadata["deletionTimestamp"] = "2026-11-24T22:00:30Z"
    body = {
        "metadata": metadata,
        "status": status,
        "spec": {"containers": [{"name": "c"}], "initContainers": initial, **spec},
    }
    return " ".join(pod_cells(body, 1_795_557_600.0 + 600)[1:4])


INIT = [{"name": "a"}, {"name": "b"}]
CASES: dict[str, tuple[str, Json, dict[str, Any]]] = {
    "pending": ("0/1 Pending 0", {"phase": "Pending"}, {}),
    "status reason": ("0/1 Evicted 0", {"phase": "Failed", "reason": "Evicted"}, {}),
    "gated": (
        "0/1 SchedulingGated 0",
        {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
        {},
    ),
    "init running": (
        "0/1 Init:0/2 0",
        {"phase": "Pending", "initContainerStatuses": [container("a", running={}), container("b", waiting={})]},
        {"initial": INIT},
    ),
    "init second": (
        "0/1 Init:1/2 0",
        {
            "phase": "Pending",
            "initContainerStatuses": [container("a", terminated={"exitCode": 0}), container("b", running={})],
        },
        {"initial": INIT},
    ),
    "init failed": (
        "0/1 Init:Error 0",
        {"phase": "Pending", "initContainerStatuses": [container("a", terminated={"exitCode": 1, "reason": "Error"})]},
        {"initial": INIT},
    ),
    "init exit code": (
        "0/1 Init:ExitCode:3 0",
        {"phase": "Pending", "initContainerStatuses": [container("a", terminated={"exitCode": 3})]},
        {"initial": INIT},
    ),
    "init signal": (
        "0/1 Init:Signal:9 0",
        {"phase": "Pending", "initContainerStatuses": [container("a", terminated={"exitCode": 137, "signal": 9})]},
        {"initial": INIT},
    ),
    "init waiting": (
        "0/1 Init:ImagePullBackOff 0",
        {"phase": "Pending", "initContainerStatuses": [container("a", waiting={"reason": "ImagePullBackOff"})]},
        {"initial": INIT},
    ),
    "init pod initializing": (
        "0/1 Init:0/2 0",
        {"phase": "Pending", "initContainerStatuses": [container("a", waiting={"reason": "PodInitializing"})]},
        {"initial": INIT},
    ),
    "sidecar": (
        "2/2 Running 3",
        {
            "phase": "Running",
            "conditions": [READY, INITIALIZED],
            "initContainerStatuses": [{**container("a", running={}), "started": True, "restartCount": 3}],
            "containerStatuses": [container(running={})],
        },
        {"initial": [{"name": "a", "restartPolicy": "Always"}]},
    ),
    "init restarts are forgotten": (
        "1/1 Running 0",
        {
            "phase": "Running",
            "conditions": [READY],
            "initContainerStatuses": [{**container("a", terminated={"exitCode": 0}), "restartCount": 3}],
            "containerStatuses": [container(running={})],
        },
        {"initial": [{"name": "a"}]},
    ),
    "first bad container wins": (
        "0/1 CrashLoopBackOff 0",
        {
            "phase": "Running",
            "containerStatuses": [
                container("c", waiting={"reason": "CrashLoopBackOff"}),
                container("d", terminated={"exitCode": 1, "reason": "Error"}),
            ],
        },
        {},
    ),
    "exit code": (
        "0/1 ExitCode:2 0",
        {"phase": "Failed", "containerStatuses": [container(terminated={"exitCode": 2})]},
        {},
    ),
    "one of two done": (
        "1/1 Running 0",
        {
            "phase": "Running",
            "conditions": [READY],
            "containerStatuses": [container("c", terminated={"reason": "Completed"}), container("d", running={})],
        },
        {},
    ),
    "one of two done, not ready": (
        "1/1 NotReady 0",
        {
            "phase": "Running",
            "containerStatuses": [container("c", terminated={"reason": "Completed"}), container("d", running={})],
        },
        {},
    ),
    "last restart": (
        "1/1 Running 2 (5m ago)",
        {
            "phase": "Running",
            "containerStatuses": [
                {
                    **container(running={}),
                    "restartCount": 2,
                    "lastState": {"terminated": {"finishedAt": "2026-11-24T22:05:00Z"}},
                }
            ],
        },
        {},
    ),
    "terminating": (
        "1/1 Terminating 0",
        {"phase": "Running", "containerStatuses": [container(running={})]},
        {"gone": True},
    ),
    "terminating, ended": (
        "0/1 Completed 0",
        {"phase": "Succeeded", "containerStatuses": [container(terminated={"reason": "Completed"})]},
        {"gone": True},
    ),
    "terminating, node lost": ("0/1 Unknown 0", {"phase": "Running", "reason": "NodeLost"}, {"gone": True}),
}


@pytest.mark.parametrize(("shown", "status", "rest"), CASES.values(), ids=CASES)
def test_a_pod_is_shown_in_one_word(shown: str, status: Json, rest: dict[str, Any]) -> None:
    assert cells(status, **rest) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (11100, "3h5m"),
        (28800, "8h"),
        (172799, "47h"),
        (172800, "2d"),
        (180000, "2d2h"),
        (691200, "8d"),
        (63071999, "729d"),
        (63072000, "2y"),
        (63158400, "2y1d"),
        (252288000, "8y"),
    ],
)
def test_an_age_is_written_as_kubectl_writes_it(seconds: float, shown: str) -> None:
    assert human_duration(seconds) == shown
