"""Carry out a plan: many steps at a time, one outcome a step, one bad pod never stops the others.

Order: deletions (stop means stop), updates, creations by priority, and last the replacements, so that what is running
stands still no longer than its own end and start take. A replacement's old pod is told to go, and its successor is
created when no pod of the key is left; all that are on their way out are looked at together.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from syncctl.core import names
from syncctl.core.errors import ClusterError, PodExists
from syncctl.core.manifest import pod_annotations, pod_labels, pod_manifest
from syncctl.core.model import PodKey
from syncctl.core.plan import Plan, Step, StepKind
from syncctl.core.report import Outcome, Result
from syncctl.kube.cluster import Cluster
from syncctl.kube.codec import owner

GRACE_MARGIN = 10.0
"""Seconds beyond its grace for which a pass waits for a pod to be gone."""
FIRST_LOOK = 0.1
LONGEST_LOOK = 2.0
"""Seconds between two looks at what is terminating."""
CLIENTS_A_LOOK = 100
"""Clients in one label selector: about a kilobyte of URL."""
REPLACES_A_LOOK = 100
"""Replacements begun between two looks."""

_WITHOUT_WORK = {
    StepKind.KEEP: Result.UNCHANGED,
    StepKind.WAIT: Result.WAITING,
    StepKind.CONFLICT: Result.CONFLICT,
}
_Work = Callable[[Step], Outcome | None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds an apply: requests at a time, and the time.monotonic() after which no step is begun."""

    concurrency: int
    deadline: float


def apply_plan(
    plan: Plan, cluster: Cluster, limits: Limits, on_outcome: Callable[[Outcome], None]
) -> tuple[Outcome, ...]:
    """Carry out exactly the plan and return one outcome for each step, in the plan's order.

    `on_outcome` is called from this thread as each outcome becomes known.
    """
    with ThreadPoolExecutor(limits.concurrency, thread_name_prefix="apply") as pool:
        apply = _Apply(plan, cluster, limits.deadline, pool)
        outcomes = {}
        for outcome in apply.run():
            outcomes[id(outcome.step)] = outcome
            on_outcome(outcome)
    return tuple(outcomes[id(step)] for step in plan.steps)


class _Apply:
    """One run of one plan. Methods named after a step's kind run in the pool and do one step."""

    def __init__(self, plan: Plan, cluster: Cluster, deadline: float, pool: ThreadPoolExecutor) -> None:
        self._plan = plan
        self._cluster = cluster
        self._deadline = deadline
        self._pool = pool

    def run(self) -> Iterator[Outcome]:
        of_kind: dict[StepKind, list[Step]] = {kind: [] for kind in StepKind}
        for step in self._plan.steps:
            of_kind[step.kind].append(step)
        for kind, result in _WITHOUT_WORK.items():
            yield from (Outcome(step, result) for step in of_kind[kind])
        for kind, work in (
            (StepKind.DELETE, self._delete),
            (StepKind.UPDATE, self._update),
            (StepKind.CREATE, self._create),
        ):
            yield from filter(None, self._each(work, of_kind[kind]))
        yield from self._replace_all(of_kind[StepKind.REPLACE])

    def _each(self, work: _Work, steps: Iterable[Step]) -> Iterator[Outcome | None]:
        """Do the work for each step, in order of beginning; a step that comes after the deadline is deferred."""

        def guarded(step: Step) -> Outcome | None:
            if time.monotonic() >= self._deadline:
                return Outcome(step, Result.DEFERRED, "the pass's deadline came first")
            try:
                return work(step)
            except ClusterError as error:
                return Outcome(step, Result.FAILED, error.message)

        return self._pool.map(guarded, steps)

    def _delete(self, step: Step) -> Outcome:
        self._tell_to_go(step)
        return Outcome(step, Result.DELETED)

    def _update(self, step: Step) -> Outcome:
        blueprint, wanted = self._plan.blueprint, step.wanted
        metadata = {"labels": pod_labels(blueprint, wanted), "annotations": pod_annotations(blueprint, wanted)}
        self._cluster.patch_pod(step.pod.name, step.pod.uid, {"metadata": metadata})
        return Outcome(step, Result.UPDATED)

    def _create(self, step: Step) -> Outcome:
        try:
            self._cluster.create_pod(pod_manifest(self._plan.blueprint, step.wanted))
        except PodExists:
            # It came between the list and now.
            holder = self._cluster.get_pod(step.wanted.name)
            whose = owner(holder) if holder else "a pod that has gone since"
            return Outcome(step, Result.CONFLICT, f"the name is held by {whose}")
        return Outcome(step, Result.CREATED if step.kind is StepKind.CREATE else Result.REPLACED)

    def _begin_replace(self, step: Step) -> None:
        self._tell_to_go(step)

    def _tell_to_go(self, step: Step) -> None:
        self._cluster.delete_pod(step.pod.name, step.pod.uid)

    def _replace_all(self, steps: list[Step]) -> Iterator[Outcome]:
        to_begin = deque(steps)
        leaving: dict[PodKey, tuple[Step, float]] = {}
        pause = FIRST_LOOK
        while to_begin or leaving:
            beginning = [to_begin.popleft() for _ in range(min(len(to_begin), REPLACES_A_LOOK))]
            for step, outcome in zip(beginning, self._each(self._begin_replace, beginning), strict=True):
                if outcome is not None:
                    yield outcome
                elif step.key is not None:
                    leaving[step.key] = step, time.monotonic() + step.pod.grace_seconds + GRACE_MARGIN
            gone = leaving.keys() - self._still_there(leaving)
            yield from filter(None, self._each(self._create, [leaving.pop(key)[0] for key in gone]))
            now = time.monotonic()
            for key in [key for key, (_, until) in leaving.items() if now >= min(until, self._deadline)]:
                step, _ = leaving.pop(key)
                yield Outcome(step, Result.WAITING, "its old pod is still terminating; the next pass goes on")
            pause = FIRST_LOOK if beginning or gone else min(LONGEST_LOOK, pause * 1.5)
            if leaving and not to_begin:
                time.sleep(min(pause, max(0.0, self._deadline - now)))

    def _still_there(self, keys: Iterable[PodKey]) -> set[PodKey]:
        """Return the keys of which some pod is left. When the cluster does not answer, that is all of them."""
        clients = sorted({key.client_id for key in keys})
        batches = [clients[start : start + CLIENTS_A_LOOK] for start in range(0, len(clients), CLIENTS_A_LOOK)]
        selectors = [names.clients_selector(self._plan.blueprint.fleet, batch) for batch in batches]
        try:
            pages = list(self._pool.map(self._cluster.list_pods, selectors))
        except ClusterError:
            return set(keys)
        return {key for page in pages for pod in page if (key := names.pod_key(pod.labels)) is not None}
