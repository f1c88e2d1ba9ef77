"""Carry out a plan: many steps at a time, one outcome a step, one bad pod never stops the others.

Order: deletions (stop means stop), updates, creations, of what an earlier pass has ended before all that is merely
missing and then by priority, and last the replacements, so that what is running stands still no longer than its own end
and start take.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from syncctl.core import names
from syncctl.core.drift import differences
from syncctl.core.errors import ClusterError, LeaseLost, PodNotFound, PodRejected
from syncctl.core.heed import Heed, Heeded
from syncctl.core.manifest import evidence, pod_marks
from syncctl.core.model import ObservedPod
from syncctl.core.report import AS_ASKED, Outcome, Result
from syncctl.core.shard import bucket_of
from syncctl.core.steps import Cause, HoldKind, Plan, Step, StepKind
from syncctl.db.rows import batches
from syncctl.kube.cluster import Cluster
from syncctl.operations.admission import Admission, Fields
from syncctl.operations.brake import Brake
from syncctl.operations.clock import SYSTEM, Clock
from syncctl.operations.heeding import BATCH, Heeding, left
from syncctl.operations.making import Making

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
    HoldKind.SUSPENDED: Result.SUSPENDED,
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
    heeding: Heeding,
    on_outcome: Callable[[Outcome], None],
    clock: Clock = SYSTEM,
) -> tuple[Outcome, ...]:
    """Carry out exactly the plan and return one outcome for each drifted step, in the plan's order.

    Args:
        plan: its held steps are reported and not carried out.
        cluster: where.
        concurrency: requests at a time.
        brake: asked before each step; the rest is deferred once it says stop.
        heeding: asked before each batch of writes, and at the end about all that was written.
        on_outcome: called from this thread as each outcome becomes known.
        clock: times the pods' graces.
    """
    with ThreadPoolExecutor(concurrency, thread_name_prefix="apply") as pool:
        outcomes = {}
        for outcome in _Apply(plan, cluster, brake, heeding, pool, concurrency, clock).run():
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
        heeding: Heeding,
        pool: ThreadPoolExecutor,
        concurrency: int,
        clock: Clock,
    ) -> None:
        self._plan = plan
        self._cluster = cluster
        self._brake = brake
        self._heeding = heeding
        self._pool = pool
        self._clock = clock
        # Asked once: what is not answered is done without.
        asking = cluster.working_under(brake.check_lease, lambda _seconds: False)
        self._admission = Admission(plan.blueprint, cluster, asking)
        self._making = Making(plan, cluster, brake, heeding, pool, concurrency, clock)
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
        written = []
        for outcome in self._carried_out(to_do):
            if outcome.result in AS_ASKED:
                written.append(outcome.step)
            yield outcome
        for batch in batches(written, BATCH):
            yield from self._stop_unwanted(batch)

    def _carried_out(self, to_do: Mapping[StepKind, list[Step]]) -> Iterator[Outcome]:
        for kind, work in ((StepKind.DELETE, self._delete), (StepKind.UPDATE, self._update)):
            yield from filter(None, self._each(work, to_do[kind]))
        yield from self._making.run(to_do[StepKind.CREATE], to_do[StepKind.REPLACE] + list(self._to_replace))

    def _stop_unwanted(self, written: Sequence[Step]) -> Iterator[Outcome]:
        """Ask once more about what was written, and stop what is not wanted by now."""
        if self._brake.reason() or not self._heeding.confirmed(written):
            return
        words = [(step, word) for step in written if (word := self._heeding.of_written(step))]
        yield from self._pool.map(lambda found: self._stop(*found), words)

    def _stop(self, step: Step, word: Heeded) -> Outcome:
        pod = self._making.made.get(step.wanted.key) or step.pod
        try:
            self._cluster.delete_pod(pod.name, pod.uid)
        except (LeaseLost, ClusterError) as error:
            if isinstance(error, LeaseLost):
                self._brake.lost(error)
            return Outcome(step, Result.FAILED, f"{word.why}, and it runs: {error.message}")
        return Outcome(step, Result.DELETED, word.why)

    def _each(self, work: _Work, steps: list[Step]) -> Iterator[Outcome | None]:
        """Do the work for each step, a batch at a time, until the brake says stop; what is left is deferred."""

        def guarded(step: Step, word: Heeded | None) -> Outcome | None:
            if stop := self._brake.reason():
                return Outcome(step, Result.DEFERRED, stop)
            if word is not None and word.what is not Heed.STOP:
                return left(step, word)
            try:
                return self._delete(step, word.why) if word else work(step)
            except LeaseLost as error:
                self._brake.lost(error)
                return Outcome(step, Result.DEFERRED, error.message)
            except ClusterError as error:
                return Outcome(step, Result.FAILED, error.message)

        under_way: deque[Future[Outcome | None]] = deque()
        try:
            for batch in batches(steps, BATCH):
                if not self._brake.reason():
                    self._heeding.confirmed(batch)
                under_way.extend(self._pool.submit(guarded, step, self._heeding.word(step)) for step in batch)
                while len(under_way) > AHEAD:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            # After something that nobody foresaw, nothing more is begun.
            for future in under_way:
                future.cancel()

    def _delete(self, step: Step, why: str = "") -> Outcome:
        self._cluster.delete_pod(step.pod.name, step.pod.uid)
        return Outcome(step, Result.DELETED, why)

    def _update(self, step: Step) -> Outcome | None:
        if step.cause is Cause.BUCKET_DIFFERS:
            return self._hand_over(step)
        wanted, pod = step.wanted, step.pod
        sent = pod_marks(self._plan.blueprint, wanted)
        patch: dict[str, Any] = {"metadata": sent}
        if step.stops_process:
            answer = self._admission.ask_once(wanted)
            if answer is not None and (noted := self._admission.note(step, answer, sent)):
                return noted
            if step.cause is Cause.RESOURCES_DIFFER:
                resized = self._resized(step, answer)
                if resized is None:
                    self._to_replace.append(step)
                    return None
                sent["annotations"] |= self._admission.notes({}, wanted, resized, ("cpu", "memory"))
            # What may harm the process leaves its evidence; of a resize, once it is made.
            sent["annotations"] |= evidence(step.cause, self._clock.now())
        fields: Fields = ()
        if step.cause is Cause.IMAGE_DIFFERS:
            fields = ("image",)
            patch["spec"] = {"containers": [{"name": names.CONTAINER, "image": wanted.image}]}
        return self._admission.changed(step, sent, self._cluster.patch_pod(pod.name, pod.uid, patch), fields)

    def _resized(self, step: Step, answer: ObservedPod | None) -> ObservedPod | None:
        """Change cpu, memory or both in place, and return the pod; None when only a new one can have them.

        What admission has rewritten is left as it is, and what it would rewrite it has to see made.
        """
        wanted, pod = step.wanted, step.pod
        quantities = {each.field: getattr(wanted, each.field) for each in differences(wanted, pod)}
        if answer is not None and {each.field for each in differences(wanted, answer)} & quantities.keys():
            return None
        spec = {"containers": [{"name": names.CONTAINER, "resources": {"requests": quantities, "limits": quantities}}]}
        try:
            return self._cluster.resize_pod(pod.name, pod.uid, {"spec": spec})
        except (PodNotFound, PodRejected):
            # An old API server has no such thing, an old kubelet refuses it.
            return None

    def _hand_over(self, step: Step) -> Outcome:
        """Let the pod be found by the shard that takes care of it, and leave all else to that."""
        if step.key is None:
            raise ValueError(f"{step.name} has no key to be found by")
        labels = {names.BUCKET: str(bucket_of(step.key.client_id))}
        self._cluster.patch_pod(step.pod.name, step.pod.uid, {"metadata": {"labels": labels}})
        return Outcome(step, Result.UPDATED)
