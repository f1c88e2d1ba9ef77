"""What a pod's status says in each of the conditions that can be asked for.

A condition is a function of the pod and the time: it gives the whole status, and when it wants to be asked again. Asked
twice with nothing changed it gives the same status, so the kubelet writes only what differs.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from syncctl.sandbox.objects import Json, seconds_of, timestamp
from syncctl.sandbox.rules.defaults import is_sidecar

_LONGEST_BACK_OFF = 300.0
_EVICTED = (
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. Container {container} was using "
    "210Mi, request is {request}, has larger consumption of memory. "
)
_UNSCHEDULABLE = (
    "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
    "1 No preemption victims found for incoming pod."
)


@dataclass(frozen=True, slots=True)
class Report:
    """A status, and the time at which it may be another one (None: only when the pod changes)."""

    status: Json
    look_again: float | None = None


Condition = Callable[[Json, float], Report]


def unschedulable(pod: Json, now: float) -> Report:
    """Pending, on no node."""
    scheduled = flag(pod, now, "PodScheduled", "False", "Unschedulable", _UNSCHEDULABLE)
    return Report({"phase": "Pending", "conditions": [scheduled], "qosClass": pod["status"].get("qosClass")})


def creating(pod: Json, now: float) -> Report:
    """On its node, containers not started yet."""
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    containers = [_container(pod, one, waiting, ready=False) for one in pod["spec"]["containers"]]
    return Report(_status(pod, now, "Pending", containers))


def running(pod: Json, now: float) -> Report:
    containers = [_running(pod, one, now, ready=True) for one in pod["spec"]["containers"]]
    return Report(_status(pod, now, "Running", containers))


def not_ready(pod: Json, now: float) -> Report:
    containers = [_running(pod, one, now, ready=False) for one in pod["spec"]["containers"]]
    return Report(_status(pod, now, "Running", containers))


def image_pull_back_off(pod: Json, now: float) -> Report:
    containers: list[Json] = []
    for one in pod["spec"]["containers"]:
        message = f'Back-off pulling image "{one["image"]}"'
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
        containers.append(_container(pod, one, waiting, ready=False))
    has_run = any(one.get("containerID") for one in containers)
    return Report(_status(pod, now, "Running" if has_run else "Pending", containers))


def crash_loop(pod: Json, now: float) -> Report:
    """Restarts after 10 s, 20 s, 40 s, ... 300 s, and ends with exit code 1 each time."""
    return _crashing(pod, now, "Error", 1)


def out_of_memory(pod: Json, now: float) -> Report:
    """Killed for memory again and again; once and for all when the pod is never to restart."""
    if pod["spec"]["restartPolicy"] == "Never":
        return _ended(pod, now, "Failed", "OOMKilled", 137)
    return _crashing(pod, now, "OOMKilled", 137)


def failed(pod: Json, now: float) -> Report:
    return _ended(pod, now, "Failed", "Error", 1)


def succeeded(pod: Json, now: float) -> Report:
    return _ended(pod, now, "Succeeded", "Completed", 0)


def evicted(pod: Json, now: float) -> Report:
    first = pod["spec"]["containers"][0]
    request = (first["resources"].get("requests") or {}).get("memory", "0")
    message = _EVICTED.format(container=first["name"], request=request)
    status = _status(pod, now, "Failed", [], "Evicted", message)
    status["conditions"].append(flag(pod, now, "DisruptionTarget", "True", "TerminationByKubelet", message))
    return Report(status)


def deadline_exceeded(pod: Json, now: float) -> Report:
    message = "Pod was active on the node longer than the specified deadline"
    return Report(_status(pod, now, "Failed", [], "DeadlineExceeded", message))


def node_lost(pod: Json, now: float) -> Report:
    """The node no longer reports; what runs on it is unknown, and nobody will confirm a deletion."""
    containers = [_running(pod, one, now, ready=True) for one in pod["spec"]["containers"]]
    message = f"Node {pod['spec'].get('nodeName')} which was running pod {pod['metadata']['name']} is unresponsive"
    status = _status(pod, now, "Unknown", containers, "NodeLost", message)
    status["conditions"] = [one for one in status["conditions"] if one["type"] != "Ready"]
    status["conditions"].append(flag(pod, now, "Ready", "False", "NodeNotReady", ""))
    return Report(status)


CONDITIONS: dict[str, Condition] = {
    "Running": running,
    "Pending": running,  # keeps a pod off the node; one that is already there stays
    "Stuck": running,  # differs in its ending only
    "NotReady": not_ready,
    "ImagePullBackOff": image_pull_back_off,
    "CrashLoopBackOff": crash_loop,
    "OOMKilled": out_of_memory,
    "Failed": failed,
    "Succeeded": succeeded,
    "Evicted": evicted,
    "DeadlineExceeded": deadline_exceeded,
    "NodeLost": node_lost,
}
NEVER_SCHEDULED = frozenset({"Pending"})
NEVER_CONFIRMED = frozenset({"Stuck", "NodeLost"})


def stopped(pod: Json, now: float) -> Json:
    """The last status of a pod that was deleted and has ended politely."""
    return _ended(pod, now, "Succeeded", "Completed", 0).status


def _status(pod: Json, now: float, phase: str, containers: list[Json], reason: str = "", message: str = "") -> Json:
    old = pod.get("status", {})
    address = old.get("podIP") or _address(pod["metadata"]["uid"])
    ready = bool(containers) and all(one["ready"] for one in containers)
    verdict, why = (
        ("True", "") if ready else ("False", "PodCompleted" if phase == "Succeeded" else "ContainersNotReady")
    )
    status: Json = {"observedGeneration": pod["metadata"].get("generation", 1), "phase": phase}
    status["conditions"] = [
        flag(pod, now, "PodReadyToStartContainers", "True"),
        flag(pod, now, "Initialized", "True"),
        flag(pod, now, "Ready", verdict, why),
        flag(pod, now, "ContainersReady", verdict, why),
        flag(pod, now, "PodScheduled", "True"),
    ]
    if reason:
        status |= {"message": message, "reason": reason}
    status |= {"hostIP": "127.0.0.1", "podIP": address, "podIPs": [{"ip": address}]}
    status["startTime"] = old.get("startTime") or timestamp(now)
    if initial := pod["spec"].get("initContainers"):
        done = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": status["startTime"]}}
        status["initContainerStatuses"] = [
            _running(pod, one, now, ready=True) if is_sidecar(one) else _container(pod, one, done, ready=True)
            for one in initial
        ]
    if containers:
        status["containerStatuses"] = containers
    status["qosClass"] = old.get("qosClass", "BestEffort")
    return status


def flag(pod: Json, now: float, kind: str, verdict: str, reason: str = "", message: str = "") -> Json:
    """One condition of a pod; the time is when its verdict last changed."""
    known: list[Json] = pod.get("status", {}).get("conditions") or []
    old = next((one for one in known if one["type"] == kind), {})
    since = old["lastTransitionTime"] if old.get("status") == verdict else timestamp(now)
    condition = {"type": kind, "status": verdict, "lastProbeTime": None, "lastTransitionTime": since}
    return condition | {name: said for name, said in (("reason", reason), ("message", message)) if said}


def _before(pod: Json, name: str) -> Json:
    status = pod.get("status", {})
    known = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return next((one for one in known if one["name"] == name), {})


def _container(pod: Json, container: Json, state: Json, *, ready: bool) -> Json:
    """A container's status in this state, with the counts and identities it had."""
    old = _before(pod, container["name"])
    made: Json = {"name": container["name"], "state": state, "lastState": old.get("lastState", {}), "ready": ready}
    made |= {"restartCount": old.get("restartCount", 0), "image": container["image"]}
    made |= {"imageID": old.get("imageID", ""), "started": "running" in state}
    if old.get("containerID"):
        made["containerID"] = old["containerID"]
    return made


def _running(pod: Json, container: Json, now: float, *, ready: bool) -> Json:
    old = _before(pod, container["name"])
    since = old.get("state", {}).get("running")
    same_process = since and old["image"] == container["image"]
    made = _container(
        pod, container, {"running": since if same_process else {"startedAt": timestamp(now)}}, ready=ready
    )
    if not same_process:
        if old.get("containerID"):
            made["restartCount"] += 1
        if since:
            made["lastState"] = {"terminated": _end(old, "Completed", 0, since["startedAt"], timestamp(now))}
        _identify(pod, container, made)
    made["allocatedResources"] = container["resources"].get("requests") or {}
    made["resources"] = {part: amounts for part, amounts in container["resources"].items() if amounts}
    return made


def _identify(pod: Json, container: Json, made: Json) -> None:
    """New identities, different for each pod, image and restart and the same whenever computed."""
    seed = f"{pod['metadata']['uid']}/{container['name']}/{made['restartCount']}"
    made["containerID"] = f"sandbox://{hashlib.sha256(seed.encode()).hexdigest()}"
    digest = hashlib.sha256(container["image"].encode()).hexdigest()
    made["imageID"] = f"{container['image'].partition('@')[0]}@sha256:{digest}"


def _end(old: Json, reason: str, exit_code: int, started: str, finished: str) -> Json:
    ended: Json = {"exitCode": exit_code, "reason": reason, "startedAt": started, "finishedAt": finished}
    if old.get("containerID"):
        ended["containerID"] = old["containerID"]
    return ended


def _crashing(pod: Json, now: float, reason: str, exit_code: int) -> Report:
    containers: list[Json] = []
    next_times: list[float] = []
    for one in pod["spec"]["containers"]:
        made, restart_at = _crashed(pod, one, now, reason, exit_code)
        containers.append(made)
        next_times.append(restart_at)
    return Report(_status(pod, now, "Running", containers), min(next_times))


def _crashed(pod: Json, container: Json, now: float, reason: str, exit_code: int) -> tuple[Json, float]:
    """The container between two runs, and when the next one (which will crash at once) begins."""
    old = _before(pod, container["name"])
    last = old.get("lastState", {}).get("terminated") or {}
    looping = (
        last.get("reason") == reason and "running" not in old.get("state", {}) and old["image"] == container["image"]
    )
    restarts = old.get("restartCount", 0)
    restart_at = seconds_of(last["finishedAt"]) + _back_off(restarts) if looping else now
    if looping and now < restart_at:
        return old, restart_at
    made = _container(pod, container, {}, ready=False)
    made["restartCount"] = restarts + 1
    _identify(pod, container, made)
    made["lastState"] = {"terminated": _end(made, reason, exit_code, timestamp(now), timestamp(now))}
    made["state"] = _crash_state(pod, container, made["restartCount"], made["lastState"])
    return made, seconds_of(timestamp(now)) + _back_off(made["restartCount"])


def _crash_state(pod: Json, container: Json, restarts: int, last: Json) -> Json:
    if last["terminated"]["reason"] == "OOMKilled":
        return last
    metadata, pause = pod["metadata"], _go_duration(_back_off(restarts))
    who = f"container={container['name']} pod={metadata['name']}_{metadata['namespace']}({metadata['uid']})"
    return {"waiting": {"reason": "CrashLoopBackOff", "message": f"back-off {pause} restarting failed {who}"}}


def _back_off(restarts: int) -> float:
    return float(min(10.0 * 2 ** min(max(restarts - 1, 0), 10), _LONGEST_BACK_OFF))


def _go_duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _ended(pod: Json, now: float, phase: str, reason: str, exit_code: int) -> Report:
    containers: list[Json] = []
    for one in pod["spec"]["containers"]:
        old = _before(pod, one["name"])
        started = (old.get("state", {}).get("running") or {}).get("startedAt") or timestamp(now)
        ended = old.get("state", {}).get("terminated") or _end(old, reason, exit_code, started, timestamp(now))
        made = _container(pod, one, {"terminated": ended}, ready=False)
        if not made.get("containerID"):
            _identify(pod, one, made)
        containers.append(made)
    return Report(_status(pod, now, phase, containers))


def _address(uid: str) -> str:
    """An address in 10.0.0.0/8 that is the pod's own for its life."""
    number = int(uid[:8], 16)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
