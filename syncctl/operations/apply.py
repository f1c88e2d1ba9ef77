"""Carry out a plan: many steps at a time, one outcome a step, one bad pod never stops the others.

Order: deletions (stop means stop), updates, creations by priority, and last the replacements, so that what is running
stands still no longer than its own end and start take. A replacement's old pod is told to go when the API server would
take its successor, and that is created when no pod of the key is left; all that are on their way out are looked at
together.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from syncctl.core import names
from syncctl.core.drift import admission, image_difference, resources_difference
from syncctl.core.errors import (
    AccessDenied,
    ClusterError,
    ClusterUnavailable,
    LeaseLost,
    PodExists,
    PodNotFound,
    PodRejected,
)
from syncctl.core.manifest import pod_annotations, pod_labels, pod_manifest
from syncctl.core.model import ObservedPod, PodKey
from syncctl.core.report import Outcome, Result
from syncctl.core.shard import bucket_of
from syncctl.core.steps import Cause, HoldKind, Plan, Step, StepKind
from syncctl.kube.cluster import Cluster
from syncctl.operations.brake import Brake
from syncctl.operations.clock import SYSTEM, Clock

GRACE_MARGIN = 10.0
"""Seconds beyond its grace for which a pass waits for a pod to be gone."""
FIRST_LOOK = 0.1
LONGEST_LOOK = 2.0
"""Seconds between two looks at what is terminating."""
CLIENTS_A_LOOK = 100
"""Clients in one label selector: about a kilobyte of URL."""
BATCH = 100
"""Steps between two questions to the database whether the lease is still ours."""
AHEAD = BATCH // 2
"""Steps of a batch that may still be under way when the next is confirmed: no thread waits for the last of a batch."""

_WITHOUT_WORK = {
    StepKind.KEEP: Result.UNCHANGED,
    StepKind.WAIT: Result.WAITING,
    StepKind.CONFLICT: Result.CONFLICT,
}
_HELD = {
    HoldKind.REFUSED: Result.REFUSED,
    HoldKind.DEFERRED: Result.DEFERRED,
    HoldKind.BACK_OFF: Result.DEFERRED,
    HoldKind.HALTED: Result.DEFERRED,
}
_Work = Callable[[Step], Outcome | None]


def apply_plan(
    plan: Plan,
    cluster: Cluster,
    *,
    concurrency: int,
    brake: Brake,
    confirm_lease: Callable[[], None],
    on_outcome: Callable[[Outcome], None],
    clock: Clock = SYSTEM,
) -> tuple[Outcome, ...]:
    """Carry out exactly the plan and return one outcome for each drifted step, in the plan's order.

    Args:
        plan: its held steps are reported and not carried out.
        cluster: where.
        concurrency: requests at a time.
        brake: asked before each step; the rest is deferred once it says stop.
        confirm_lease: called before each batch of writes; raises LeaseLost.
        on_outcome: called from this thread as each outcome becomes known.
        clock: by which pods get their time to go.
    """
    with ThreadPoolExecutor(concurrency, thread_name_prefix="apply") as pool:
        outcomes = {}
        for outcome in _Apply(plan, cluster, brake, confirm_lease, pool, clock).run():
            outcomes[id(outcome.step)] = outcome
            on_outcome(outcome)
    return tuple(outcomes[id(step)] for step in plan.drifted)


class _Apply:
    """One run of one plan. Methods that take a step run in the pool; None means that the step is not done yet."""

    def __init__(
        self,
        plan: Plan,
        cluster: Cluster,
        brake: Brake,
        confirm_lease: Callable[[], None],
        pool: ThreadPoolExecutor,
        clock: Clock,
    ) -> None:
        self._plan = plan
        self._cluster = cluster
        self._brake = brake
        self._confirm_lease = confirm_lease
        self._pool = pool
        self._clock = clock
        # Updates that the server or the node will not make in place.
        self._to_replace: deque[Step] = deque()

    def run(self) -> Iterator[Outcome]:
        to_do: dict[StepKind, list[Step]] = {kind: [] for kind in StepKind}
        for step in self._plan.drifted:
            if step.held is not None:
                yield Outcome(step, _HELD[step.held.kind], step.held.why)
            elif step.kind in _WITHOUT_WORK:
                yield Outcome(step, _WITHOUT_WORK[step.kind])
            else:
                to_do[step.kind].append(step)
        for kind, work in (
            (StepKind.DELETE, self._delete),
            (StepKind.UPDATE, self._update),
            (StepKind.CREATE, self._create),
        ):
            yield from filter(None, self._each(work, to_do[kind]))
        yield from self._replace_all(to_do[StepKind.REPLACE] + list(self._to_replace))

    def _each(self, work: _Work, steps: list[Step], *, begun: bool = False) -> Iterator[Outcome | None]:
        """Do the work for each step, a batch at a time, until the brake says stop; what is left is deferred."""

        def guarded(step: Step) -> Outcome | None:
            if stop := self._brake.reason(begun=begun):
                return Outcome(step, Result.DEFERRED, stop)
            try:
                return work(step)
            except LeaseLost as error:
                self._brake.lost(error)
                return Outcome(step, Result.DEFERRED, error.message)
            except ClusterError as error:
                return Outcome(step, Result.FAILED, error.message)

        under_way: deque[Future[Outcome | None]] = deque()
        try:
            for start in range(0, len(steps), BATCH):
                if not self._brake.reason(begun=begun):
                    try:
                        self._confirm_lease()
                    except LeaseLost as error:
                        self._brake.lost(error)
                under_way.extend(self._pool.submit(guarded, step) for step in steps[start : start + BATCH])
                while len(under_way) > AHEAD:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            # After something that nobody foresaw, nothing more is begun.
            for left in under_way:
                left.cancel()

    def _delete(self, step: Step) -> Outcome:
        self._cluster.delete_pod(step.pod.name, step.pod.uid)
        return Outcome(step, Result.DELETED)

    def _update(self, step: Step) -> Outcome | None:
        if step.cause is Cause.BUCKET_DIFFERS:
            return self._hand_over(step)
        wanted, pod = step.wanted, step.pod
        resources = {"requests": {"cpu": wanted.cpu, "memory": wanted.memory}}
        resources["limits"] = resources["requests"]
        metadata: dict[str, Any] = self._metadata(step)
        if step.cause is Cause.RESOURCES_DIFFER:
            spec = {"containers": [{"name": names.CONTAINER, "resources": resources}]}
            try:
                self._cluster.resize_pod(pod.name, pod.uid, {"spec": spec})
            except (PodNotFound, PodRejected):
                # An old API server has no such thing, an old kubelet refuses it.
                self._to_replace.append(step)
                return None
        patch: dict[str, Any] = {"metadata": metadata}
        if step.cause is Cause.IMAGE_DIFFERS:
            metadata["annotations"][names.REPLACED] = self._now()
            patch["spec"] = {"containers": [{"name": names.CONTAINER, "image": wanted.image}]}
        self._note_admission(step, self._cluster.patch_pod(pod.name, pod.uid, patch))
        return Outcome(step, Result.UPDATED)

    def _hand_over(self, step: Step) -> Outcome:
        """Let the pod be found by the shard that takes care of it, and leave all else to that."""
        if step.key is None:
            raise ValueError(f"{step.name} has no key to be found by")
        labels = {names.BUCKET: str(bucket_of(step.key.client_id))}
        self._cluster.patch_pod(step.pod.name, step.pod.uid, {"metadata": {"labels": labels}})
        return Outcome(step, Result.UPDATED)

    def _create(self, step: Step) -> Outcome:
        manifest = pod_manifest(self._plan.blueprint, step.wanted)
        if step.cause is not Cause.MISSING:
            # Of a replacement, whichever pass has begun it: it tells of a change whether that does well.
            manifest["metadata"]["annotations"][names.REPLACED] = self._now()
        try:
            self._note_admission(step, self._cluster.create_pod(manifest))
        except PodExists:
            # It came between the list and now.
            holder = self._cluster.get_pod(step.wanted.name)
            return Outcome(step, Result.CONFLICT, f"the name is held by {self._whose(holder)}")
        return Outcome(step, Result.CREATED if step.kind is StepKind.CREATE else Result.REPLACED)

    def _whose(self, holder: ObservedPod | None) -> str:
        if holder is None:
            return "a pod that has gone since"
        if holder.labels.get(names.FLEET) == self._plan.blueprint.fleet:
            return "a pod of this fleet that was not there when the plan was made, or has not gone yet"
        return names.owner(holder.labels)

    def _metadata(self, step: Step) -> dict[str, dict[str, str]]:
        blueprint = self._plan.blueprint
        return {"labels": pod_labels(blueprint, step.wanted), "annotations": pod_annotations(blueprint, step.wanted)}

    def _note_admission(self, step: Step, made: ObservedPod) -> None:
        """Keep a note on the pod when the cluster's admission made something else of it than was asked for."""
        if image_difference(step.wanted, made) or resources_difference(step.wanted, made):
            note = {names.ADMITTED: admission(step.wanted, made)}
            self._cluster.patch_pod(made.name, made.uid, {"metadata": {"annotations": note}})

    def _begin_replace(self, step: Step) -> Outcome | None:
        # A pod that was ended for one that nobody takes would be missing from then on.
        try:
            self._cluster.try_pod(pod_manifest(self._plan.blueprint, step.wanted))
        except (PodRejected, AccessDenied, ClusterUnavailable) as error:
            return Outcome(step, Result.FAILED, f"left as it is, for its successor would not be taken: {error.message}")
        self._cluster.delete_pod(step.pod.name, step.pod.uid)
        return None

    def _replace_all(self, steps: list[Step]) -> Iterator[Outcome]:
        to_begin = deque(steps)
        leaving: dict[PodKey | None, tuple[Step, float]] = {}
        pause = FIRST_LOOK
        while to_begin or leaving:
            beginning = [to_begin.popleft() for _ in range(min(len(to_begin), BATCH))]
            for step, outcome in zip(beginning, self._each(self._begin_replace, beginning), strict=True):
                if outcome is not None:
                    yield outcome
                else:
                    leaving[step.key] = step, self._clock.monotonic() + step.pod.grace_seconds + GRACE_MARGIN
            left = self._still_there(step for step, _ in leaving.values())
            gone = [key for key in leaving if key not in left]
            # Also when the pass is to stop: what was ended for something new must not stay ended until the next pass.
            yield from filter(None, self._each(self._create, [leaving.pop(key)[0] for key in gone], begun=True))
            now, stop = self._clock.monotonic(), self._brake.reason()
            for key in [key for key, (_, until) in leaving.items() if stop or now >= until]:
                step, _ = leaving.pop(key)
                yield Outcome(step, Result.WAITING, stop or "its old pod is still terminating; the next pass goes on")
            pause = FIRST_LOOK if beginning or gone else min(LONGEST_LOOK, pause * 1.5)
            if leaving and not to_begin:
                self._brake.wait(pause)

    def _still_there(self, steps: Iterable[Step]) -> set[PodKey | None]:
        """Return the keys of which some pod is left. When the cluster does not answer, that is all of them."""
        leaving = list(steps)
        clients = sorted({step.key.client_id for step in leaving if step.key})
        batches = [clients[start : start + CLIENTS_A_LOOK] for start in range(0, len(clients), CLIENTS_A_LOOK)]
        selectors = [names.clients_selector(self._plan.blueprint.fleet, batch) for batch in batches]
        keys = {step.key for step in leaving if step.key}
        try:
            pods = [pod for page in self._pool.map(self._cluster.list_pods, selectors) for pod in page]
            left = {names.pod_key(pod.labels) for pod in pods}
            # Labels may be edited, and pods of the Go service carry none of ours: a name and a uid are sure.
            claims = [(key, pod) for key in keys - left for pod in self._plan.claims[key]]
            found = list(self._pool.map(lambda claim: self._cluster.get_pod(claim[1].name), claims))
        except ClusterError:
            return {*keys}
        still = {key for (key, pod), there in zip(claims, found, strict=True) if there and there.uid == pod.uid}
        return left | still

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="seconds")
