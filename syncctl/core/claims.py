"""Put the fleet's pods to their keys, and know which pods may be a key's without surely being it. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from syncctl.core import names
from syncctl.core.comparison import wait_for
from syncctl.core.desired import DesiredState
from syncctl.core.identity import BY_ENVIRONMENT, BY_NAME, Identities
from syncctl.core.model import ObservedPod, PodKey
from syncctl.core.shard import bucket_of
from syncctl.core.steps import ACTING, Cause, Step, StepKind

_PUT_BACK = (
    "put the ids in algorithm_status back, or `kubectl delete pod {pod}`, and the next pass makes what is asked for"
)


class Claims:
    """Which pods run which keys, as far as each of them says.

    `pods` has them by key, those that are surely or by one thing alone the key's; `unsure` has, by uid, why a pod of
    these is not surely its key's.
    """

    def __init__(self, desired: DesiredState, identities: Identities, now: datetime) -> None:
        self._desired = desired
        self._identities = identities
        self._now = now
        self.pods: dict[PodKey, list[ObservedPod]] = {}
        self.unsure: dict[str, str] = {}
        self._unidentified: dict[PodKey, str] = {}
        self._moved: dict[PodKey, ObservedPod] = {}
        self._ended: dict[PodKey, ObservedPod] = {}

    def put(self, pod: ObservedPod) -> Step | None:
        """Put a pod to its key; return its step if it has none, or none in this shard's care."""
        named, told = self._identities.named(pod.name), names.environment_key(pod.environment)
        if named and told and named != told:
            return self._of_moved_ids(pod, named, told)
        key = named or told
        if key is None:
            return self._of_nobody(pod)
        if not self._desired.shard.has(key.client_id):
            return self._of_another_shard(pod, key)
        self.pods.setdefault(key, []).append(pod)
        if named is None or told is None:
            self.unsure[pod.uid] = BY_NAME if named else BY_ENVIRONMENT
        return None

    def claimer(self, key: PodKey) -> str:
        """Say which pod may be the key's, though nothing but its labels says so; "" when none does."""
        if pod := self._unidentified.get(key):
            way_out = f"if it is not, `kubectl delete pod {pod}`"
            return (
                f"{pod} may be it: its labels say so, and neither its name nor its environment says another; {way_out}"
            )
        return ""

    def unless_moved(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Turn each step that would do something into a conflict, where a pod whose ids have moved may be its key's."""
        for step in steps:
            moved = self._moved.get(step.key) if step.key and step.kind in ACTING else None
            if moved is None and step.key and step.may_make_pod:
                moved = self._ended.get(step.key)
            if moved is None:
                yield step
            elif moved.terminating or moved.finished:
                reason = f"{moved.name}, which may be {step.key}, has to go first"
                yield step.set_aside(StepKind.WAIT, Cause.TERMINATING, reason)
            else:
                reason = f"{moved.name} may be {step.key}; {_PUT_BACK.format(pod=moved.name)}"
                yield step.set_aside(StepKind.CONFLICT, Cause.IDS_MOVED, reason)

    def _of_moved_ids(self, pod: ObservedPod, named: PodKey, told: PodKey) -> Step:
        says = f"its name is that of {named}, and its environment says {told}"
        if pod.finished and not pod.terminating:
            # It claims nothing any more. But one on a lost node may run, so no pod is made before it has gone.
            self._ended |= {named: pod, told: pod}
            # Of either it may be, so it is left alone where either is to be.
            key = named if self._desired.suspensions.of(named) else told
            return Step(StepKind.DELETE, Cause.IDS_MOVED, pod.name, key, f"has ended; {says}", observed=pod)
        for key in (named, told):
            # One that stays decides before one that goes, and the first by name before the others.
            known = self._moved.get(key, pod)
            self._moved[key] = min(pod, known, key=lambda each: (each.terminating, each.name))
        if pod.terminating:
            return wait_for(told, pod, None, self._now)
        reason = f"{says}: nothing of either is started, ended or patched; {_PUT_BACK.format(pod=pod.name)}"
        return Step(StepKind.CONFLICT, Cause.IDS_MOVED, pod.name, told, reason, observed=pod)

    def _of_nobody(self, pod: ObservedPod) -> Step:
        key = names.pod_key(pod.labels)
        if key is not None:
            self._unidentified[key] = min(pod.name, self._unidentified.get(key, pod.name))
        if pod.terminating:
            return wait_for(key, pod, None, self._now)
        reason = "carries this fleet's label, but neither its name nor its environment says whose it is; left alone"
        if key is not None:
            reason += f", and {key}, which its labels claim, is not made beside it"
        return Step(StepKind.CONFLICT, Cause.UNIDENTIFIED, pod.name, key, reason, observed=pod)

    def _of_another_shard(self, pod: ObservedPod, key: PodKey) -> Step:
        if pod.terminating:
            return wait_for(key, pod, None, self._now)
        has, should = pod.labels.get(names.BUCKET, "none"), bucket_of(key.client_id)
        reason = f"{key} is in the care of another shard: label {names.BUCKET} {has} -> {should}"
        return Step(StepKind.UPDATE, Cause.BUCKET_DIFFERS, pod.name, key, reason, observed=pod)
