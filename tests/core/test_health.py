"""Health, by statuses as a kubelet, a scheduler and a node controller write them."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from syncctl.core.health import (
    MISSING,
    RESIZE_PATIENCE,
    START_PATIENCE,
    STUCK_MARGIN,
    Health,
    HealthCode,
    HealthStatus,
    pod_health,
)
from syncctl.core.model import ContainerState, ObservedPod

from .builders import NOW, pod_of

READY = ContainerState("algorithm", ready=True)
RUNNING = pod_of(phase="Running", containers=(READY,))
PENDING = pod_of(phase="Pending", containers=())
JUST_NOW = (NOW - RESIZE_PATIENCE).isoformat()
LONG_AGO = (NOW - RESIZE_PATIENCE - timedelta(seconds=1)).isoformat()
LEAVING_BY = "2026-03-02T14:30:00Z"  # NOW, as the API server writes it


def test_c3_both_kinds_of_patience_are_as_long() -> None:
    # The times above are those of either.
    assert START_PATIENCE == RESIZE_PATIENCE


def of_container(phase: str = "Running", **fields: object) -> ObservedPod:
    return replace(RUNNING, phase=phase, containers=(replace(READY, ready=False, **fields),))


NO_IMAGE = 'Back-off pulling image "desk/vwap:9": ErrImagePull: desk/vwap:9: not found'
NO_NODE = "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available"
LOW_MEMORY = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 88Mi. "

STATUSES = {
    "running and ready": (RUNNING, HealthCode.HEALTHY, ""),
    "running, its init container completed": (
        replace(
            RUNNING, containers=(ContainerState("warm-up", ready=True, terminated="Completed", exit_code=0), READY)
        ),
        HealthCode.HEALTHY,
        "",
    ),
    "restarted once, long ago": (
        replace(RUNNING, containers=(replace(READY, restarts=1, last_terminated="OOMKilled", exit_code=137),)),
        HealthCode.HEALTHY,
        "",
    ),
    "running, not ready yet": (of_container(), HealthCode.PROGRESSING, "not ready"),
    "running, a sidecar not ready": (
        replace(RUNNING, containers=(READY, ContainerState("logs"))),
        HealthCode.PROGRESSING,
        "not ready",
    ),
    "ended well a moment ago, about to be restarted": (
        of_container(terminated="Completed", exit_code=0),
        HealthCode.PROGRESSING,
        "not ready",
    ),
    "c3: not ready, and changed a while ago": (
        replace(of_container(), changed_at=JUST_NOW, created_at=LONG_AGO),
        HealthCode.PROGRESSING,
        "not ready",
    ),
    "c3: not ready for ever": (
        replace(of_container(), changed_at=LONG_AGO, unready="ContainersNotReady: containers with unready status: [a]"),
        HealthCode.DEGRADED,
        "not ready for more than 10 minutes: ContainersNotReady: containers with unready status: [a]",
    ),
    "c3: ContainerCreating for five days": (
        replace(
            of_container("Pending", waiting="ContainerCreating"), changed_at=LONG_AGO, unready="ContainersNotReady"
        ),
        HealthCode.DEGRADED,
        "starting for more than 10 minutes: ContainerCreating",
    ),
    "c3: a scheduler that nobody runs": (
        replace(PENDING, created_at=LONG_AGO, node=""),
        HealthCode.DEGRADED,
        "starting for more than 10 minutes: no scheduler has given it a node",
    ),
    "just created": (PENDING, HealthCode.PROGRESSING, "starting"),
    "ContainerCreating": (of_container("Pending", waiting="ContainerCreating"), HealthCode.PROGRESSING, "starting"),
    "PodInitializing": (of_container("Pending", waiting="PodInitializing"), HealthCode.PROGRESSING, "starting"),
    "Unschedulable": (
        replace(PENDING, unschedulable=NO_NODE),
        HealthCode.DEGRADED,
        f"Unschedulable: {NO_NODE}",
    ),
    "ErrImagePull": (
        of_container("Pending", waiting="ErrImagePull", message="desk/vwap:9: not found"),
        HealthCode.DEGRADED,
        "ErrImagePull: desk/vwap:9: not found",
    ),
    "ImagePullBackOff": (
        of_container("Pending", waiting="ImagePullBackOff", message=NO_IMAGE),
        HealthCode.DEGRADED,
        f"ImagePullBackOff: {NO_IMAGE}",
    ),
    "CreateContainerConfigError": (
        of_container("Pending", waiting="CreateContainerConfigError", message='secret "keys" not found'),
        HealthCode.DEGRADED,
        'CreateContainerConfigError: secret "keys" not found',
    ),
    "InvalidImageName without a message": (
        of_container("Pending", waiting="InvalidImageName"),
        HealthCode.DEGRADED,
        "InvalidImageName",
    ),
    "CrashLoopBackOff": (
        of_container(
            waiting="CrashLoopBackOff",
            message="back-off 5m0s restarting failed container=algorithm pod=vwap-107_trading(uid)",
            restarts=7,
            last_terminated="Error",
            exit_code=2,
        ),
        HealthCode.DEGRADED,
        "CrashLoopBackOff: last run ended with Error, exit code 2",
    ),
    "CrashLoopBackOff after OOMKilled": (
        of_container(waiting="CrashLoopBackOff", restarts=3, last_terminated="OOMKilled", exit_code=137),
        HealthCode.DEGRADED,
        "CrashLoopBackOff: last run ended with OOMKilled, exit code 137",
    ),
    "CrashLoopBackOff of an unknown exit": (
        of_container(waiting="CrashLoopBackOff", last_terminated="ContainerStatusUnknown"),
        HealthCode.DEGRADED,
        "CrashLoopBackOff: last run ended with ContainerStatusUnknown",
    ),
    "OOMKilled a moment ago": (
        of_container(terminated="OOMKilled", exit_code=137),
        HealthCode.DEGRADED,
        "OOMKilled",
    ),
    "ended with an error a moment ago": (
        of_container(terminated="Error", exit_code=1, message="panic: no market data"),
        HealthCode.DEGRADED,
        "Error: panic: no market data",
    ),
    "the init container fails": (
        replace(
            PENDING,
            containers=(
                ContainerState("warm-up", waiting="CrashLoopBackOff", last_terminated="Error", exit_code=1),
                replace(READY, ready=False, waiting="PodInitializing"),
            ),
        ),
        HealthCode.DEGRADED,
        "CrashLoopBackOff: last run ended with Error, exit code 1",
    ),
    "a sidecar fails beside a healthy algorithm": (
        replace(RUNNING, containers=(READY, ContainerState("logs", waiting="ImagePullBackOff", message=NO_IMAGE))),
        HealthCode.DEGRADED,
        f"ImagePullBackOff: {NO_IMAGE}",
    ),
    "Evicted": (
        replace(PENDING, phase="Failed", reason="Evicted", message=LOW_MEMORY),
        HealthCode.DEGRADED,
        f"Evicted: {LOW_MEMORY}",
    ),
    "Failed with an exit code": (
        of_container("Failed", terminated="OOMKilled", exit_code=137),
        HealthCode.DEGRADED,
        "Failed: algorithm: OOMKilled (exit code 137)",
    ),
    "Failed with an unknown exit code": (
        of_container("Failed", terminated="ContainerStatusUnknown"),
        HealthCode.DEGRADED,
        "Failed: algorithm: ContainerStatusUnknown",
    ),
    "Failed, and nobody knows why": (replace(RUNNING, phase="Failed"), HealthCode.DEGRADED, "Failed"),
    "Succeeded": (
        of_container("Succeeded", terminated="Completed", exit_code=0),
        HealthCode.DEGRADED,
        "Succeeded: algorithm: Completed (exit code 0)",
    ),
    "a resize that has just been put off": (
        replace(RUNNING, resizing="Deferred: no room", resizing_since=JUST_NOW),
        HealthCode.HEALTHY,
        "",
    ),
    "a resize in progress": (
        replace(RUNNING, resizing="in progress", resizing_since=JUST_NOW),
        HealthCode.HEALTHY,
        "",
    ),
    "a resize put off for too long": (
        replace(RUNNING, resizing="Deferred: no room", resizing_since=LONG_AGO),
        HealthCode.DEGRADED,
        "not resized: Deferred: no room",
    ),
    "a resize in progress for too long": (
        replace(RUNNING, resizing="in progress", resizing_since=LONG_AGO),
        HealthCode.DEGRADED,
        "not resized: in progress",
    ),
    "a resize put off, nobody says since when": (
        replace(RUNNING, resizing="Deferred: no room"),
        HealthCode.HEALTHY,
        "",
    ),
    "a resize in error": (
        replace(RUNNING, resizing="Error: memory is in use", resizing_since=JUST_NOW),
        HealthCode.DEGRADED,
        "not resized: Error: memory is in use",
    ),
    "a resize in error, and it crashes": (
        replace(of_container(waiting="CrashLoopBackOff"), resizing="Error: memory is in use"),
        HealthCode.DEGRADED,
        "CrashLoopBackOff",
    ),
    "node lost": (
        replace(
            RUNNING,
            phase="Unknown",
            reason="NodeLost",
            message="Node node-1 which was running pod vwap-107 is unresponsive",
        ),
        HealthCode.DEGRADED,
        "NodeLost: Node node-1 which was running pod vwap-107 is unresponsive",
    ),
}


@pytest.mark.parametrize(("pod", "code", "message"), STATUSES.values(), ids=STATUSES)
def test_a_status_is_judged(pod: ObservedPod, code: HealthCode, message: str) -> None:
    assert pod_health(pod, NOW) == Health(code, message)


def test_a_pod_told_to_go_is_terminating_until_its_grace_and_a_margin_are_over() -> None:
    leaving = replace(RUNNING, deleted_at=LEAVING_BY)
    for moment in (NOW - timedelta(seconds=30), NOW, NOW + STUCK_MARGIN):
        assert pod_health(leaving, moment) == Health(HealthCode.TERMINATING)


def test_a_pod_told_to_go_is_terminating_whatever_its_containers_do() -> None:
    leaving = replace(of_container(waiting="CrashLoopBackOff", last_terminated="Error"), deleted_at=LEAVING_BY)
    assert pod_health(leaving, NOW) == Health(HealthCode.TERMINATING)
    assert pod_health(replace(leaving, phase="Failed"), NOW) == Health(HealthCode.TERMINATING)


LATE = NOW + STUCK_MARGIN + timedelta(seconds=1)


def test_a_finalizer_that_holds_a_pod_is_named() -> None:
    leaving = replace(RUNNING, deleted_at=LEAVING_BY, finalizers=("desk/audit", "batch.kubernetes.io/job-tracking"))
    assert pod_health(leaving, LATE) == Health(
        HealthCode.STUCK,
        "should have been gone 61 s ago: held by finalizer desk/audit, batch.kubernetes.io/job-tracking",
    )


def test_a_node_that_does_not_confirm_is_named() -> None:
    leaving = replace(RUNNING, deleted_at=LEAVING_BY)
    assert pod_health(leaving, LATE) == Health(
        HealthCode.STUCK,
        "should have been gone 61 s ago: the kubelet of node node-1 has not confirmed it; is the node lost?",
    )


def test_times_are_compared_across_zones() -> None:
    leaving = replace(RUNNING, deleted_at="2026-03-02T17:30:00+03:00")
    assert pod_health(leaving, NOW + STUCK_MARGIN).code is HealthCode.TERMINATING
    assert pod_health(leaving, LATE).code is HealthCode.STUCK


def test_the_worst_comes_last() -> None:
    assert min(HealthCode, key=list(HealthCode).index) is HealthCode.HEALTHY
    assert max(HealthCode, key=list(HealthCode).index) is HealthCode.MISSING
    assert Health(HealthCode.MISSING) == MISSING


def test_each_code_is_one_of_five_words() -> None:
    assert {code: Health(code).status for code in HealthCode} == {
        HealthCode.HEALTHY: HealthStatus.HEALTHY,
        HealthCode.PROGRESSING: HealthStatus.PROGRESSING,
        HealthCode.TERMINATING: HealthStatus.PROGRESSING,
        HealthCode.STOPPED: HealthStatus.STOPPED,
        HealthCode.DEGRADED: HealthStatus.DEGRADED,
        HealthCode.STUCK: HealthStatus.DEGRADED,
        HealthCode.MISSING: HealthStatus.MISSING,
    }
