"""How a pod is doing, apart from whether it is the pod that should be. Pure.

The first rule that fits decides:

    what is seen                                     | code
    -------------------------------------------------+------------
    told to go, within its grace and a margin        | Terminating
    told to go, and past that                        | Stuck
    Failed, Succeeded, evicted, node lost            | Degraded
    fits on no node                                  | Degraded
    a container waits with an error or a back-off    | Degraded
    a container has just ended with an error         | Degraded
    a resize fails, or is not done for some minutes  | Degraded
    neither ready nor changed for some minutes       | Degraded
    Running, every container ready, and the pod too  | Healthy
    the same, but the pod is not ready: a lost node  | Degraded
    anything else                                    | Progressing
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec.structs import replace

from syncctl.core.model import ContainerState, ObservedPod

STUCK_MARGIN = timedelta(seconds=60)
"""How long after its grace a terminating pod is still only slow."""

RESIZE_PATIENCE = timedelta(minutes=10)
"""How long a node may put a resize off before somebody should look for room."""

START_PATIENCE = timedelta(minutes=10)
"""How long a pod that is not ready may show no change before somebody should look: a large image takes minutes."""

# Waiting reasons that are a normal part of starting; every other one is trouble.
_STARTING = {"", "ContainerCreating", "PodInitializing"}


class HealthCode(StrEnum):
    """From best to worst."""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    TERMINATING = "Terminating"
    STOPPED = "Stopped"
    DEGRADED = "Degraded"
    STUCK = "Stuck"
    MISSING = "Missing"


class HealthStatus(StrEnum):
    """One of the two axes of a status: how it goes, in five words, from best to worst."""

    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    STOPPED = "stopped"
    DEGRADED = "degraded"
    MISSING = "missing"


_STATUS = {
    HealthCode.HEALTHY: HealthStatus.HEALTHY,
    HealthCode.PROGRESSING: HealthStatus.PROGRESSING,
    HealthCode.TERMINATING: HealthStatus.PROGRESSING,
    HealthCode.STOPPED: HealthStatus.STOPPED,
    HealthCode.DEGRADED: HealthStatus.DEGRADED,
    HealthCode.STUCK: HealthStatus.DEGRADED,
    HealthCode.MISSING: HealthStatus.MISSING,
}


@dataclass(frozen=True, slots=True)
class Health:
    """A code, and its cause in words for a person."""

    code: HealthCode
    message: str = ""

    @property
    def status(self) -> HealthStatus:
        """The code in one of five words."""
        return _STATUS[self.code]

    @property
    def words(self) -> str:
        """The code with its cause."""
        return f"{self.code}: {self.message}" if self.message else str(self.code)

    @property
    def reason(self) -> str:
        """The cause without its details: Evicted, and not what the node was low on."""
        return self.message.partition(": ")[0]


MISSING = Health(HealthCode.MISSING)
STOPPED = Health(HealthCode.STOPPED)


def pod_health(pod: ObservedPod, now: datetime) -> Health:
    """Judge a pod by its own status at the moment `now`."""
    if pod.deleted_at is not None:
        return _terminating(pod, datetime.fromisoformat(pod.deleted_at), now)
    if pod.finished:
        return Health(HealthCode.DEGRADED, _joined(pod.reason or pod.phase, pod.message or _last_words(pod)))
    if pod.unschedulable:
        return Health(HealthCode.DEGRADED, _joined("Unschedulable", pod.unschedulable))
    for container in pod.containers:
        if container.waiting not in _STARTING:
            return Health(HealthCode.DEGRADED, _joined(container.waiting, _why_waiting(container)))
        if container.terminated and container.exit_code != 0:
            return Health(HealthCode.DEGRADED, _joined(container.terminated, container.message))
    if pod.resizing and _resize_is_stuck(pod, now):
        return Health(HealthCode.DEGRADED, f"not resized: {pod.resizing}")
    if pod.phase == "Running" and all(container.ready for container in pod.containers):
        return Health(HealthCode.DEGRADED, f"not ready: {pod.unready}") if pod.unready else Health(HealthCode.HEALTHY)
    doing = "not ready" if pod.phase == "Running" else "starting"
    since = pod.changed_at or pod.created_at
    if since and now - datetime.fromisoformat(since) > START_PATIENCE:
        minutes = START_PATIENCE // timedelta(minutes=1)
        return Health(HealthCode.DEGRADED, _joined(f"{doing} for more than {minutes} minutes", _waits_for(pod)))
    return Health(HealthCode.PROGRESSING, doing)


def process_health(pod: ObservedPod, now: datetime) -> Health:
    """Judge what runs in the pod: that a node has no room for more says nothing of that."""
    return pod_health(replace(pod, resizing="") if pod.resizing else pod, now)


def _terminating(pod: ObservedPod, gone_by: datetime, now: datetime) -> Health:
    overdue = now - gone_by
    if overdue <= STUCK_MARGIN:
        return Health(HealthCode.TERMINATING)
    seconds = int(overdue.total_seconds())
    if pod.finalizers:
        cause = f"held by finalizer {', '.join(pod.finalizers)}"
    else:
        cause = f"the kubelet of node {pod.node or '?'} has not confirmed it; is the node lost?"
    return Health(HealthCode.STUCK, f"should have been gone {seconds} s ago: {cause}")


def _resize_is_stuck(pod: ObservedPod, now: datetime) -> bool:
    if pod.resizing.startswith("Error"):
        return True
    return bool(pod.resizing_since) and now - datetime.fromisoformat(pod.resizing_since) > RESIZE_PATIENCE


def _waits_for(pod: ObservedPod) -> str:
    for container in pod.containers:
        if container.waiting:
            return _joined(container.waiting, container.message)
    return pod.unready or ("" if pod.node else "no scheduler has given it a node")


def _why_waiting(container: ContainerState) -> str:
    if container.last_terminated:
        code = "" if container.exit_code is None else f", exit code {container.exit_code}"
        return f"last run ended with {container.last_terminated}{code}"
    return container.message


def _last_words(pod: ObservedPod) -> str:
    for container in pod.containers:
        if container.terminated:
            code = "" if container.exit_code is None else f" (exit code {container.exit_code})"
            return f"{container.name}: {container.terminated}{code}"
    return ""


def _joined(reason: str, detail: str) -> str:
    return f"{reason}: {detail}" if detail and detail != reason else reason
