"""The requests that put one pod in another's place, part by part. Each is sent once, and nothing waits here."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from syncctl.core import names
from syncctl.core.begun import Refusals
from syncctl.core.errors import ClusterError, ClusterUnavailable, PodExists, PodRejected
from syncctl.core.manifest import evidence, pod_manifest
from syncctl.core.model import ObservedPod
from syncctl.core.report import Outcome, Result
from syncctl.core.steps import Cause, Plan, Step, StepKind
from syncctl.kube.cluster import Cluster
from syncctl.operations.admission import TAKES_AWAY, Admission
from syncctl.operations.clock import Clock


@dataclass(eq=False, slots=True)
class Item:
    """A pod to be made, and how far that has come.

    `claims` are the pods that have to be gone before, `until` the moment to which they are waited for. `refusals` are
    those of the part that it is in. `foreseen` are the notes to make it with, as soon as they were asked for; `sent` is
    there as soon as a creation was sent, `made` as soon as the pod is.
    """

    step: Step
    claims: tuple[ObservedPod, ...] = ()
    until: float = 0.0
    refusals: Refusals | None = None
    foreseen: dict[str, str] | None = None
    sent: dict[str, Any] | None = None
    made: ObservedPod | None = None


class Parts:
    """What the threads do; each method raises leaves of ClusterError, or LeaseLost."""

    def __init__(self, plan: Plan, cluster: Cluster, clock: Clock) -> None:
        self.admission = Admission(plan.blueprint, cluster, cluster)
        self._blueprint = plan.blueprint
        self._away = plan.away
        self._cluster = cluster
        self._clock = clock

    def ask(self, item: Item) -> bool | Outcome:
        """Return whether the quota has room for the successor beside its old pod, when all else is well with it.

        Where the successor would be just what its old pod is, there is nothing to do but to note that.
        """
        step = item.step
        room, answer = self.admission.ask(step.wanted, beside=True)
        if answer is None:
            return room
        if lacking := self.admission.lacks(step.wanted, answer):
            raise PodRejected(TAKES_AWAY.format(lacking))
        noted = self.admission.note(step, answer) if step.only_rewritten else None
        return noted or room

    def end(self, item: Item) -> None:
        """Tell the old pod to go."""
        pod = item.step.pod
        try:
            self._cluster.delete_pod(pod.name, pod.uid)
        except ClusterUnavailable as error:
            # The answer may be lost and the pod on its way; then its successor has to follow.
            if not error.sent or not self._goes(pod):
                raise

    def _goes(self, pod: ObservedPod) -> bool:
        try:
            found = self._cluster.get_pod(pod.name)
        except ClusterError:
            return False
        return found is None or found.uid != pod.uid or found.terminating

    def look(self, clients: Iterable[int]) -> list[ObservedPod]:
        """Return the pods of these clients."""
        return self._cluster.list_pods(names.clients_selector(self._blueprint.fleet, clients))

    def is_gone(self, item: Item) -> bool:
        """Return whether each pod is gone that has a claim to the key, whatever its labels are by now."""
        found = ((pod, self._cluster.get_pod(pod.name)) for pod in item.claims)
        return not any(there and there.uid == pod.uid for pod, there in found)

    def stop(self, item: Item, why: str) -> Outcome:
        """Tell the pod to go for good: that of the step, or the one that was made for it, should it be there."""
        pod = item.made if item.sent else item.step.observed
        if item.sent and pod is None:
            # Its creation was sent, and nobody said what came of it.
            found = self._cluster.get_pod(item.step.wanted.name)
            mine = found is not None and names.environment_key(found.environment) == item.step.key
            pod = found if mine and found and found.uid not in {claim.uid for claim in item.claims} else None
        if pod is None:
            # The old one of a replacement was told to go by this pass.
            return Outcome(item.step, Result.DELETED if item.claims else Result.DEFERRED, why)
        self._cluster.delete_pod(pod.name, pod.uid)
        return Outcome(item.step, Result.DELETED, why)

    def make(self, item: Item) -> Outcome:
        """Create the pod."""
        step = item.step
        if item.made is None:
            manifest = self._manifest(step)
            if item.foreseen is None:
                # Asked once: what is refused later is refused to the creation itself.
                item.foreseen = self.admission.foresee(manifest, step.wanted)
            manifest["metadata"]["annotations"] |= item.foreseen
            item.sent = manifest["metadata"]
            try:
                item.made = self._cluster.create_pod(manifest, again=item.refusals is not None)
            except PodExists:
                # It came between the list and now.
                holder = self._whose(self._cluster.get_pod(step.wanted.name))
                return Outcome(step, Result.CONFLICT, f"the name is held by {holder}")
        result = Result.CREATED if step.kind is StepKind.CREATE else Result.REPLACED
        return self.admission.made(step, item.sent or {}, item.made, result)

    def _manifest(self, step: Step) -> dict[str, Any]:
        manifest = pod_manifest(self._blueprint, step.wanted)
        if step.cause is not Cause.MISSING:
            # Of a replacement, whichever pass has begun it: it tells of a change whether that does well.
            begun = self._away.get(step.key) if step.cause is Cause.REPLACEMENT_BEGUN and step.key else None
            manifest["metadata"]["annotations"] |= evidence(begun.cause if begun else step.cause, self._clock.now())
        return manifest

    def _whose(self, holder: ObservedPod | None) -> str:
        if holder is None:
            return "a pod that has gone since"
        if holder.labels.get(names.FLEET) == self._blueprint.fleet:
            return "a pod of this fleet that was not there when the plan was made, or has not gone yet"
        return names.owner(holder.labels)
