"""The one word that says how a pod is, and the rest of its row: the real server's printing rules."""

from dataclasses import dataclass
from typing import Any

from syncctl.sandbox.http.ages import age, human_duration
from syncctl.sandbox.objects import Json, seconds_of
from syncctl.sandbox.rules.defaults import is_sidecar
from syncctl.sandbox.rules.deletion import TERMINAL_PHASES


def pod_cells(pod: Json, now: float) -> list[str]:
    """Name, Ready, Status, Restarts, Age, IP, Node, Nominated Node, Readiness Gates."""
    spec, status = pod["spec"], pod.get("status", {})
    tally = _summary(pod)
    restarts = str(tally.restarts)
    if tally.restarts and tally.restarted:
        restarts += f" ({human_duration(now - seconds_of(tally.restarted))} ago)"
    total = len(spec["containers"]) + sum(map(is_sidecar, spec.get("initContainers") or ()))
    return [
        pod["metadata"]["name"],
        f"{tally.ready}/{total}",
        tally.reason,
        restarts,
        age(pod, now),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _readiness_gates(pod),
    ]


@dataclass(slots=True)
class _Tally:
    """What the containers looked at so far add up to; `reason` is the status word, `restarted` the last restart."""

    reason: str = ""
    ready: int = 0
    restarts: int = 0
    restarted: str = ""

    def count(self, container: Json) -> None:
        self.restarts += container.get("restartCount", 0)
        ended = container.get("lastState", {}).get("terminated") or {}
        self.restarted = max(self.restarted, ended.get("finishedAt", ""))


def _summary(pod: Json) -> _Tally:
    status = pod.get("status", {})
    reason = status.get("reason") or status.get("phase", "")
    if _condition(status, "PodScheduled").get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    tally, sidecars = _init_containers(pod)
    if not tally.reason or _condition(status, "Initialized").get("status") == "True":
        sidecars.reason = tally.reason or reason
        tally = _add_containers(sidecars, status)
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            tally.reason = "Unknown"
        elif status.get("phase") not in TERMINAL_PHASES:
            tally.reason = "Terminating"
    return tally


def _add_containers(tally: _Tally, status: Json) -> _Tally:
    running = False
    for container in reversed(status.get("containerStatuses") or []):
        tally.count(container)
        state = container.get("state", {})
        if word := _container_word(state):
            tally.reason = word
        elif container.get("ready") and "running" in state:
            running = True
            tally.ready += 1
    if tally.reason == "Completed" and running:
        tally.reason = "Running" if _condition(status, "Ready").get("status") == "True" else "NotReady"
    return tally


def _init_containers(pod: Json) -> tuple[_Tally, _Tally]:
    """All init containers (with a status word while they are not done), and the sidecars among them."""
    declared = pod["spec"].get("initContainers") or []
    sidecar_names = {one["name"] for one in declared if is_sidecar(one)}
    everything, sidecars = _Tally(), _Tally()
    for index, container in enumerate(pod.get("status", {}).get("initContainerStatuses") or ()):
        state = container.get("state", {})
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        beside = container["name"] in sidecar_names
        everything.count(container)
        if beside:
            sidecars.count(container)
        if ended and ended.get("exitCode") == 0:
            continue
        if beside and container.get("started"):
            everything.ready += bool(container.get("ready"))
            sidecars.ready = everything.ready
            continue
        if ended:
            everything.reason = f"Init:{_ending(ended)}"
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            everything.reason = f"Init:{waiting['reason']}"
        else:
            everything.reason = f"Init:{index}/{len(declared)}"
        break
    return everything, sidecars


def _container_word(state: Json) -> str:
    waiting, ended = state.get("waiting") or {}, state.get("terminated")
    if waiting.get("reason"):
        return str(waiting["reason"])
    return _ending(ended) if ended else ""


def _ending(ended: Json) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _condition(status: Json, kind: str) -> dict[str, Any]:
    return next((one for one in status.get("conditions") or () if one.get("type") == kind), {})


def _readiness_gates(pod: Json) -> str:
    gates = pod["spec"].get("readinessGates") or []
    if not gates:
        return "<none>"
    status = pod.get("status", {})
    met = sum(_condition(status, gate.get("conditionType", "")).get("status") == "True" for gate in gates)
    return f"{met}/{len(gates)}"
