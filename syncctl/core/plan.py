"""Decide which steps bring the cluster to the state that the database asks for.

Pure: no clock, no network, no database, no log line. Equal inputs give equal plans, whatever their order.

    desired | observed pod                              | step     | cause
    --------+-------------------------------------------+----------+------------------
    yes     | none                                      | create   | missing
    yes     | none, and its replacement was begun       | create   | replacement-begun
    yes     | none, and another pod holds the name      | conflict | name-taken
    yes     | none, and a pod that goes holds the name  | wait     | name-taken
    yes     | none, and a former client's pod is there  | wait     | client-back
    yes     | terminating                               | wait     | terminating
    any     | terminating, long past its grace          | wait     | stuck
    yes     | Failed, Succeeded, Evicted, node lost     | replace  | finished
    yes     | same hash, same live image and resources  | keep     | in-sync
    yes     | only labels or annotations differ         | update   | metadata-differs
    yes     | only the live image differs               | update   | image-differs
    yes     | only the live resources differ            | update   | resources-differ
    yes     | the node refuses other resources          | replace  | resize-refused
    yes     | another restart generation                | replace  | restart-asked
    yes     | more of the spec differs                  | replace  | spec-differs
    yes     | under another name                        | replace  | misnamed
    yes     | a pod of the Go service, with --adopt     | replace  | adopted
    yes     | to be replaced, beside the Go service's   | conflict | name-taken
    yes     | a second pod of the same key              | delete   | duplicate
    no      | running or finished                       | delete   | switched-off
    no      | terminating                               | wait     | terminating
    deleted | running, and there is a tombstone         | delete   | client-deleted
    gone    | running, and there is no tombstone        | delete   | orphan
    invalid | running                                   | keep     | client-invalid
    invalid | none                                      | conflict | client-invalid
    any     | ours by label, and names no client        | conflict | unreadable-labels

A former client's pod is one that carries the wanted client's name and is not wanted: of a client that is deleted and
added anew, the old process ends before the new one starts.

A replace of a pod means: delete it, wait until no pod of its key is left, create. So there is never more than one. An
update patches in place; a new image restarts the container, new resources do not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from syncctl.core import names
from syncctl.core.desired import DesiredState
from syncctl.core.drift import admission, image_difference, metadata_difference, resources_difference
from syncctl.core.health import HealthCode, pod_health
from syncctl.core.manifest import carries_its_marks
from syncctl.core.model import Algorithm, Begun, DesiredPod, InvalidClient, ObservedPod, PodKey
from syncctl.core.steps import Cause, Plan, Step, StepKind

_KIND_ORDER = {kind: place for place, kind in enumerate(StepKind)}


@dataclass(frozen=True, slots=True)
class Others:
    """Pods that are not the fleet's, as far as they matter to it.

    `owners` says by name whose each is, in words; only names that a new pod would need have to be in it. `adoptable`
    holds pods of the Go service that a person wants taken over.
    """

    owners: Mapping[str, str] = field(default_factory=dict)
    adoptable: tuple[ObservedPod, ...] = ()


def make_plan(desired: DesiredState, observed: Iterable[ObservedPod], now: datetime, others: Others) -> Plan:
    """Compare what should be with what is.

    Args:
        desired: what the database asks for.
        observed: all pods that carry the fleet's label; the list must be complete.
        now: the moment by which a terminating pod is judged to be stuck.
        others: who else holds names.
    """
    planner = _Planner(desired, now, others)
    drifted = sorted(planner.drifted(observed), key=_order)
    matches = sorted(planner.matches, key=lambda match: match[0].key.place)
    return Plan(tuple(drifted), tuple(matches), desired.blueprint, planner.away(drifted))


def _order(step: Step) -> tuple[int, float, tuple[int, int], str]:
    """Kind first; then priority, highest first; then client, algorithm and name, so that nothing is left to chance."""
    priority = step.desired.priority if step.desired else 0.0
    return _KIND_ORDER[step.kind], -priority, step.key.place if step.key else (0, 0), step.name


class _Planner:
    """The inputs of one plan, and a method for each part of the table."""

    def __init__(self, desired: DesiredState, now: datetime, others: Others) -> None:
        self._desired = desired
        self._now = now
        self._others = others
        # Filled in by drifted(): the pods that are as they should be, who holds each name, and which names our own pods
        # hold that this plan makes go.
        self.matches: list[tuple[DesiredPod, ObservedPod]] = []
        self._seeds = {pod.name: pod for pod in others.adoptable}
        self._holders = {name: owner for name, owner in others.owners.items() if name not in self._seeds}
        self._going: dict[str, PodKey] = {}
        # By client's name and algorithm, the pods of clients that are not there any more, or have that switched off.
        self._former: dict[tuple[str, Algorithm], str] = {}
        self._carries_its_marks = carries_its_marks(desired.blueprint)

    def drifted(self, observed: Iterable[ObservedPod]) -> Iterator[Step]:
        """Yield the steps of all that is not a match."""
        settled: dict[PodKey, ObservedPod] = {}
        pods_of: dict[PodKey, list[ObservedPod]] = {}
        by_name = {wanted.name: wanted for wanted in self._desired.pods.values()}
        for pod in observed:
            # Nearly all pods of nearly all passes are just as they were made: these take the short way.
            if (named := by_name.get(pod.name)) is not None and self._is_as_made(named, pod):
                settled[named.key] = pod
                continue
            key = names.pod_key(pod.labels)
            if key is None:
                yield _unreadable(pod)
                self._holders[pod.name] = "a pod of this fleet with unreadable labels"
                continue
            pods_of.setdefault(key, []).append(pod)
            if self._is_invalid(key):
                self._holders[pod.name] = f"the pod of {key}, which is invalid"
                continue
            self._going[pod.name] = key
            if key not in self._desired.pods:
                former = pod.annotations.get(names.CLIENT_NAME, ""), key.algorithm
                self._former[former] = min(pod.name, self._former.get(former, pod.name))
        for key, wanted in self._desired.pods.items():
            pods = pods_of.pop(key, [])
            kept = settled.get(key)
            if kept is not None and not pods and not self._seeds:
                self.matches.append((wanted, kept))
            else:
                yield from self._wanted(wanted, pods if kept is None else [kept, *pods])
        for client in self._desired.invalid.values():
            for algorithm in client.algorithms.enabled():
                key = PodKey(client.client_id, algorithm)
                yield from self._invalid(key, client, pods_of.pop(key, []))
        for key, pods in pods_of.items():
            yield from (self._unwanted(key, pod) for pod in pods)
        if self._seeds:
            yield from self._unwanted_seeds()

    def away(self, drifted: Iterable[Step]) -> dict[PodKey, Begun]:
        """Return what was begun of pods that are asked for, by an invalid row too, and of which none lives."""
        begun = self._desired.begun
        if not begun:
            return {}
        living = {wanted.key for wanted, _ in self.matches}
        living |= {step.key for step in drifted if step.key and step.observed and not step.observed.terminating}
        return {key: each for key, each in begun.items() if key not in living and self._is_asked_for(key)}

    def _is_asked_for(self, key: PodKey) -> bool:
        return key in self._desired.pods or self._is_invalid(key)

    def _is_invalid(self, key: PodKey) -> bool:
        """Whether the pod is asked for by a row that cannot become pods."""
        invalid = self._desired.invalid.get(key.client_id)
        return invalid is not None and key.algorithm in invalid.algorithms.enabled()

    def _wanted(self, wanted: DesiredPod, pods: list[ObservedPod]) -> Iterator[Step]:
        pods = pods + self._seeds_of(wanted.key)
        if not pods:
            yield self._create(wanted)
            return
        # Ours by the right name first, then the living: what is kept is the pod a person would expect.
        fleet = self._desired.blueprint.fleet
        first, *rest = sorted(
            pods,
            key=lambda pod: (pod.labels.get(names.FLEET) != fleet, pod.name != wanted.name, pod.terminating, pod.name),
        )
        for pod in rest:
            if pod.terminating:
                yield self._wait(wanted.key, pod, None)
            else:
                reason = f"second pod of {wanted.key}, beside {first.name}"
                yield Step(StepKind.DELETE, Cause.DUPLICATE, pod.name, wanted.key, reason, observed=pod)
        if first.terminating:
            yield self._wait(wanted.key, first, wanted)
        elif step := self._existing(wanted, first):
            yield step
        else:
            self.matches.append((wanted, first))

    def _is_as_made(self, wanted: DesiredPod, pod: ObservedPod) -> bool:
        """Whether the pod is surely a match, found out at a fifth of the price of _compared."""
        return (
            self._carries_its_marks(wanted, pod)
            and pod.image == wanted.image
            and pod.resources == (wanted.cpu, wanted.memory, wanted.cpu, wanted.memory)
            and pod.phase == "Running"
            and pod.deleted_at is None
            and not (pod.reason or pod.resize_refused)
        )

    def _create(self, wanted: DesiredPod) -> Step:
        def step(kind: StepKind, cause: Cause, reason: str) -> Step:
            return Step(kind, cause, wanted.name, wanted.key, reason, wanted)

        if held := self._held(wanted):
            return step(StepKind.CONFLICT, Cause.NAME_TAKEN, held)
        if other := self._going.get(wanted.name):
            return step(
                StepKind.WAIT, Cause.NAME_TAKEN, f"the name is held by the pod of {other}, which has to go first"
            )
        if former := self._former.get((wanted.client_name, wanted.key.algorithm)):
            reason = f"{former} is there for a former client of this name, and has to go first"
            return step(StepKind.WAIT, Cause.CLIENT_BACK, reason)
        if begun := self._desired.begun.get(wanted.key):
            reason = f"its old pod was told to go at {begun.at:%Y-%m-%d %H:%M:%S} UTC to be replaced, and is gone"
            return step(StepKind.CREATE, Cause.REPLACEMENT_BEGUN, reason)
        return step(StepKind.CREATE, Cause.MISSING, "enabled, and there is no pod")

    def _held(self, wanted: DesiredPod, but: str = "") -> str:
        """Say who holds a name under which the same thing may run already; "" when nobody does."""
        status_id = self._desired.known[wanted.key.client_id]
        for name in names.seed_names(wanted.key.algorithm, status_id):
            if name != but and (holder := self._holders.get(name)):
                held = "the name is" if name == wanted.name else f"{name}, its name in the Go service, is"
                reason = f"{held} held by {holder}"
                if holder == names.NOT_OURS:
                    reason += "; if the Go service made it, `sync once --adopt` takes it over"
                return reason
        return ""

    def _existing(self, wanted: DesiredPod, pod: ObservedPod) -> Step | None:
        step = self._compared(wanted, pod)
        if step is None:
            return None
        # A replacement makes a pod, and a resize may come to one: never beside one that runs the same thing already.
        if (step.kind is StepKind.REPLACE or step.cause is Cause.RESOURCES_DIFFER) and (
            held := self._held(wanted, but=pod.name)
        ):
            reason = f"{step.reason}; but {held}"
            return Step(StepKind.CONFLICT, Cause.NAME_TAKEN, pod.name, wanted.key, reason, wanted, pod)
        return step

    def _compared(self, wanted: DesiredPod, pod: ObservedPod) -> Step | None:
        """Return what is to be done to a pod of the key; None when it is as it should be."""

        def step(kind: StepKind, cause: Cause, reason: str) -> Step:
            return Step(kind, cause, pod.name, wanted.key, reason, wanted, pod)

        blueprint = self._desired.blueprint
        if pod.labels.get(names.FLEET) != blueprint.fleet:
            return step(StepKind.REPLACE, Cause.ADOPTED, f"made by the Go service; becomes {wanted.name}")
        if pod.name != wanted.name:
            if holder := self._holders.get(wanted.name):
                return step(StepKind.CONFLICT, Cause.NAME_TAKEN, f"should be {wanted.name}, a name held by {holder}")
            return step(StepKind.REPLACE, Cause.MISNAMED, f"should be named {wanted.name}")
        if pod.finished:
            return step(StepKind.REPLACE, Cause.FINISHED, f"has ended: {pod.reason or pod.phase}")
        image, resources = image_difference(wanted, pod), resources_difference(wanted, pod)
        if (recorded := pod.annotations.get(names.SPEC_HASH)) != wanted.spec_hash:
            return step(StepKind.REPLACE, *_spec_difference(wanted, pod, recorded))
        if (image or resources) and pod.annotations.get(names.ADMITTED) == admission(wanted, pod):
            image = resources = ""
        if image and resources:
            return step(StepKind.REPLACE, Cause.SPEC_DIFFERS, f"{image}, {resources}")
        if image:
            return step(StepKind.UPDATE, Cause.IMAGE_DIFFERS, image)
        if resources:
            return step(StepKind.UPDATE, Cause.RESOURCES_DIFFER, resources)
        if pod.resize_refused:
            return step(StepKind.REPLACE, Cause.RESIZE_REFUSED, f"not resized in place: {pod.resize_refused}")
        if differing := metadata_difference(blueprint, wanted, pod):
            return step(StepKind.UPDATE, Cause.METADATA_DIFFERS, differing)
        return None

    def _wait(self, key: PodKey, pod: ObservedPod, wanted: DesiredPod | None) -> Step:
        health = pod_health(pod, self._now)
        if health.code is HealthCode.STUCK:
            cause, reason = Cause.STUCK, f"{health.message}; {STUCK_ADVICE.format(pod=pod.name)}"
        else:
            cause, reason = Cause.TERMINATING, "still terminating; its name is free when it is gone"
        return Step(StepKind.WAIT, cause, pod.name, key, reason, wanted, pod)

    def _invalid(self, key: PodKey, client: InvalidClient, pods: list[ObservedPod]) -> Iterator[Step]:
        reason = f'client "{client.name}" is invalid: {"; ".join(client.problems)}'
        if not pods:
            name = names.pod_name(key.algorithm, client.algorithms.id)
            yield Step(StepKind.CONFLICT, Cause.CLIENT_INVALID, name, key, reason, client=client.name)
        for pod in pods:
            if pod.terminating:
                yield self._wait(key, pod, None)
            else:
                left = f"left as it is; {reason}"
                yield Step(StepKind.KEEP, Cause.CLIENT_INVALID, pod.name, key, left, observed=pod, client=client.name)

    def _unwanted(self, key: PodKey, pod: ObservedPod) -> Step:
        if pod.terminating:
            return self._wait(key, pod, None)
        if key.client_id in self._desired.known:
            cause, reason = Cause.SWITCHED_OFF, f"{key.algorithm} is switched off"
        elif key.client_id in self._desired.deleted:
            cause, reason = Cause.CLIENT_DELETED, f"client {key.client_id} was deleted"
        else:
            cause = Cause.ORPHAN
            reason = f"orphan: {self._what_has_vanished(key.client_id)} from the database without being deleted"
        return Step(StepKind.DELETE, cause, pod.name, key, reason, observed=pod)

    def _what_has_vanished(self, client_id: int) -> str:
        if client_id in self._desired.without_flags:
            return f"the row in algorithm_status of client {client_id} has vanished"
        return f"client {client_id} has vanished"

    def _seeds_of(self, key: PodKey) -> list[ObservedPod]:
        """Take the Go service's pods of this key out of those still to be looked at."""
        if not self._seeds:
            return []
        possible = names.seed_names(key.algorithm, self._desired.known[key.client_id])
        return [self._seeds.pop(name) for name in possible if name in self._seeds]

    def _unwanted_seeds(self) -> Iterator[Step]:
        """Yield steps for the Go service's pods of algorithms that are switched off; those of nobody are left alone."""
        for client_id in self._desired.known:
            if client_id in self._desired.invalid:
                continue
            for algorithm in Algorithm:
                key = PodKey(client_id, algorithm)
                yield from (self._unwanted(key, pod) for pod in self._seeds_of(key))


STUCK_ADVICE = (
    "look at `kubectl describe pod {pod}`; only when the process has certainly ended: `syncctl pod force-delete {pod}`"
)


def _spec_difference(wanted: DesiredPod, pod: ObservedPod, recorded: str | None) -> tuple[Cause, str]:
    generation = pod.annotations.get(names.RESTART_GENERATION)
    if generation is not None and generation != str(wanted.restart_generation):
        return Cause.RESTART_ASKED, f"restart asked for: generation {generation} -> {wanted.restart_generation}"
    return Cause.SPEC_DIFFERS, f"pod template changed: spec {recorded or 'unknown'} -> {wanted.spec_hash}"


def _unreadable(pod: ObservedPod) -> Step:
    labels = ", ".join(f"{key}={pod.labels.get(key, '')!r}" for key in (names.CLIENT_ID, names.ALGORITHM))
    reason = f"carries this fleet's label, but {labels} name no client and algorithm; left alone"
    return Step(StepKind.CONFLICT, Cause.UNREADABLE_LABELS, pod.name, None, reason, observed=pod)
