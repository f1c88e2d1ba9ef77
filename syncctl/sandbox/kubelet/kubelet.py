"""A toy scheduler and kubelet in one: it puts pods on a node, runs them, and confirms their deletion.

It works through a queue of pods that are due, fed by the changes of the store; it never looks at all pods. `tick()`
does everything that is due by the clock, so tests drive it without threads or sleeping; `run()` ticks in a thread.
"""

import heapq
import itertools
import threading

from syncctl.sandbox.kubelet import podlife
from syncctl.sandbox.objects import PODS, Event, Json, Record, seconds_of
from syncctl.sandbox.rules.deletion import TERMINAL_PHASES
from syncctl.sandbox.store.store import Store

ANNOTATION = "sandbox.syncctl.io/condition"
RESIZE_ANNOTATION = "sandbox.syncctl.io/resize"
_NODE = "sandbox-1"
_TICK_SECONDS = 0.1
_RESIZE_ANSWERS = {
    "Infeasible": ("PodResizePending", "Infeasible", "Node didn't have enough capacity: cpu"),
    "Deferred": ("PodResizePending", "Deferred", "Node didn't have enough resource: cpu"),
    "InProgress": ("PodResizeInProgress", "", ""),
    "Error": ("PodResizeInProgress", "Error", "memory limit is below the current usage"),
}
_RESIZE_AGAIN_SECONDS = 10.0
"""Time after which the node looks again at a resize it has not made; it never makes an infeasible one."""
Key = tuple[str, str]


class Kubelet:
    """Drives every pod of a store on one node.

    A pod runs `start_delay` seconds after it was created, and is gone `stop_delay` seconds after its deletion began, or
    when its grace is over if that is sooner. The annotation `sandbox.syncctl.io/condition` asks for another fate (the
    names of `podlife.CONDITIONS`). `resize_answer`, or the annotation `sandbox.syncctl.io/resize` on a pod, makes the
    node answer a resize with Infeasible, Deferred, InProgress or Error.
    """

    def __init__(
        self,
        store: Store,
        *,
        start_delay: float = 0.5,
        stop_delay: float = 0.5,
    ) -> None:
        self.store = store
        self.clock = store.clock
        self.start_delay = start_delay
        self.stop_delay = stop_delay
        self.resize_answer = ""
        self._order = itertools.count()
        self._queue: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._placed: dict[str, float] = {}
        self._stopping: dict[str, float] = {}
        self._tick_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        with store.lock:
            store.subscribe(self._observe)
            for record in store.list(PODS).records:
                self._schedule((record.namespace, record.name), self.clock())

    def tick(self) -> int:
        """Do all that is due by now, also what comes due by doing it; how many pods were looked at."""
        looked_at = 0
        with self._tick_lock:
            now = self.clock()
            while (item := self._take_due(now)) is not None:
                when, key = item
                again = self._look_after(key, when, now)
                if again is not None:
                    with self.store.lock:
                        self._schedule(key, again)
                looked_at += 1
        return looked_at

    def run(self) -> None:
        """Tick every 100 ms of real time in a thread until `stop()`."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="sandbox-kubelet", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stop.wait(_TICK_SECONDS):
            self.tick()

    # The queue; the store's lock guards it, because the store's changes feed it

    def _observe(self, event: Event) -> None:
        record = event.record
        if record.resource is not PODS:
            return
        key = (record.namespace, record.name)
        if event.type == "DELETED":
            self._due.pop(key, None)
            self._placed.pop(record.uid, None)
            self._stopping.pop(record.uid, None)
        else:
            self._schedule(key, self.clock())

    def _schedule(self, key: Key, when: float) -> None:
        """Look at the pod at this time, unless it is to be looked at sooner anyway."""
        if self._due.get(key, float("inf")) > when:
            self._due[key] = when
            heapq.heappush(self._queue, (when, next(self._order), key))

    def _take_due(self, now: float) -> tuple[float, Key] | None:
        with self.store.lock:
            while self._queue and self._queue[0][0] <= now:
                when, _, key = heapq.heappop(self._queue)
                if self._due.get(key) == when:
                    del self._due[key]
                    return when, key
        return None

    # One pod; each function gives the time at which to look again, None for "when it changes"

    def _look_after(self, key: Key, when: float, now: float) -> float | None:
        record = self.store.find(PODS, *key)
        if record is None:
            return None
        if record.terminating:
            return self._stop_pod(record, when, now)
        if record.phase in TERMINAL_PHASES:
            return None
        if record.node == _NODE:
            return self._run_pod(record, when, now)
        return None if record.node else self._place(record, when, now)

    def _place(self, record: Record, when: float, now: float) -> float | None:
        pod = record.content
        if _asked(pod) in podlife.NEVER_SCHEDULED:
            self._write(record, pod, podlife.unschedulable(pod, now).status)
            return None
        self._placed[record.uid] = when
        pod["spec"]["nodeName"] = _NODE
        self.store.bind(*_identity(record), _NODE, podlife.creating(pod, now).status)
        return when + self.start_delay

    def _run_pod(self, record: Record, when: float, now: float) -> float | None:
        pod = record.content
        starts = self._placed.setdefault(record.uid, when) + self.start_delay
        if starts > now and not _has_started(pod):
            self._write(record, pod, podlife.creating(pod, now).status)
            return starts
        condition = podlife.CONDITIONS.get(_asked(pod), podlife.running)
        report = condition(pod, now)
        report = self._with_resize_answer(pod, report, now)
        self._write(record, pod, report.status)
        return report.look_again

    def _stop_pod(self, record: Record, when: float, now: float) -> float | None:
        pod = record.content
        if record.node != _NODE or _asked(pod) in podlife.NEVER_CONFIRMED:
            return None  # without a node only a finalizer holds it; on another one it is not ours
        began = self._stopping.setdefault(record.uid, when)
        ends = min(began + self.stop_delay, seconds_of(pod["metadata"]["deletionTimestamp"]))
        if now < ends:
            return ends
        self._write(record, pod, podlife.stopped(pod, now))
        self.store.confirm_deletion(*_identity(record))
        return None

    def _with_resize_answer(self, pod: Json, report: podlife.Report, now: float) -> podlife.Report:
        """Do not make a resize, or not yet: the containers keep the resources they have, and a condition says why."""
        answer = pod["metadata"].get("annotations", {}).get(RESIZE_ANNOTATION) or self.resize_answer
        if answer not in _RESIZE_ANSWERS:
            return report
        status = report.status
        old = {one["name"]: one for one in pod["status"].get("containerStatuses") or ()}
        kept = [_with_old_resources(one, old.get(one["name"], {})) for one in status.get("containerStatuses") or ()]
        if kept == status.get("containerStatuses", []):
            return report
        kind, reason, message = _RESIZE_ANSWERS[answer]
        told = podlife.flag(pod, now, kind, "True", reason, message)
        again = report.look_again if answer == "Infeasible" else now + _RESIZE_AGAIN_SECONDS
        return podlife.Report({**status, "containerStatuses": kept, "conditions": [*status["conditions"], told]}, again)

    def _write(self, record: Record, pod: Json, status: Json) -> None:
        if status != pod["status"]:
            self.store.write_status(record.namespace, record.name, status, record.uid)


def _asked(pod: Json) -> str:
    return str(pod["metadata"].get("annotations", {}).get(ANNOTATION, "Running"))


def _identity(record: Record) -> tuple[str, str, str]:
    return record.namespace, record.name, record.uid


def _has_started(pod: Json) -> bool:
    """Whether some container has ever run; a pod found running (after a restart of the sandbox) stays so."""
    return any(one.get("containerID") for one in pod["status"].get("containerStatuses") or ())


def _with_old_resources(new: Json, old: Json) -> Json:
    return {**new, **{name: old[name] for name in ("resources", "allocatedResources") if name in old}}
