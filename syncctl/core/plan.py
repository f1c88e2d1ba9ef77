"""Decide which steps bring the cluster to the state that the database asks for.

Pure: no clock, no network, no database, no log line. Equal inputs give equal plans, whatever their order.

    desired | observed pod                              | step     | cause
    --------+-------------------------------------------+----------+------------------
    yes     | none                                      | create   | missing
    yes     | none, and a foreign pod holds the name    | conflict | name-taken
    yes     | terminating                               | wait     | terminating
    yes     | Failed, Succeeded, Evicted, node lost     | replace  | finished
    yes     | same hash, same live image and resources  | keep     | in-sync
    yes     | only labels or annotations differ         | update   | metadata-differs
    yes     | another restart generation                | replace  | restart-asked
    yes     | another spec                              | replace  | spec-differs
    yes     | live image or resources were changed      | replace  | live-differs
    yes     | under another name                        | replace  | misnamed
    yes     | a second pod of the same key              | delete   | duplicate
    no      | running or finished                       | delete   | switched-off
    no      | terminating                               | wait     | terminating
    deleted | running, and there is a tombstone         | delete   | client-deleted
    gone    | running, and there is no tombstone        | delete   | orphan
    invalid | running                                   | keep     | client-invalid
    invalid | none                                      | conflict | client-invalid
    any     | ours by label, and names no client        | conflict | unreadable-labels

A replace of a pod means: delete it, wait until no pod of its key is left, create. So there is never more than one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from syncctl.core import names, quantity
from syncctl.core.desired import DesiredState
from syncctl.core.manifest import Blueprint, pod_annotations, pod_labels
from syncctl.core.model import Algorithm, DesiredPod, InvalidClient, ObservedPod, PodKey


class StepKind(StrEnum):
    """What is to be done, in the order in which a plan shows it."""

    DELETE = "delete"
    REPLACE = "replace"
    CREATE = "create"
    UPDATE = "update"
    WAIT = "wait"
    CONFLICT = "conflict"
    KEEP = "keep"


class Cause(StrEnum):
    """Why: the row of the planner's table."""

    MISSING = "missing"
    NAME_TAKEN = "name-taken"
    TERMINATING = "terminating"
    FINISHED = "finished"
    IN_SYNC = "in-sync"
    METADATA_DIFFERS = "metadata-differs"
    RESTART_ASKED = "restart-asked"
    SPEC_DIFFERS = "spec-differs"
    LIVE_DIFFERS = "live-differs"
    MISNAMED = "misnamed"
    DUPLICATE = "duplicate"
    SWITCHED_OFF = "switched-off"
    CLIENT_DELETED = "client-deleted"
    ORPHAN = "orphan"
    CLIENT_INVALID = "client-invalid"
    UNREADABLE_LABELS = "unreadable-labels"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, or to leave, with its reason in words for a person.

    `key` is None only for a pod of ours whose labels name no client. `observed` is None when there is no pod yet,
    `desired` when there should be none.
    """

    kind: StepKind
    cause: Cause
    name: str
    key: PodKey | None
    reason: str
    desired: DesiredPod | None = None
    observed: ObservedPod | None = None

    @property
    def wanted(self) -> DesiredPod:
        """The desired pod of a step that has one: create, replace, update."""
        if self.desired is None:
            raise ValueError(f"{self.kind} {self.name} has no desired pod")
        return self.desired

    @property
    def pod(self) -> ObservedPod:
        """The observed pod of a step that has one: delete, replace, update."""
        if self.observed is None:
            raise ValueError(f"{self.kind} {self.name} has no observed pod")
        return self.observed

    @property
    def client_name(self) -> str:
        """The client's name as the row has it, else as the pod remembers it, else ""."""
        if self.desired:
            return self.desired.client_name
        return self.observed.annotations.get(names.CLIENT_NAME, "") if self.observed else ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Every (client, algorithm) that is desired or observed, accounted for once, sorted."""

    steps: tuple[Step, ...]
    blueprint: Blueprint

    def count(self, kind: StepKind) -> int:
        """Return how many steps there are of a kind."""
        return sum(step.kind is kind for step in self.steps)

    def counts(self) -> dict[StepKind, int]:
        """Return how many steps there are of each kind; they add up to the number of steps."""
        found = Counter(step.kind for step in self.steps)
        return {kind: found[kind] for kind in StepKind}

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that are not `keep`."""
        return tuple(step for step in self.steps if step.kind is not StepKind.KEEP)

    @property
    def drift(self) -> bool:
        """Whether the cluster is not as the database asks, for whatever reason."""
        return any(step.kind is not StepKind.KEEP or step.cause is Cause.CLIENT_INVALID for step in self.steps)


_KIND_ORDER = {kind: place for place, kind in enumerate(StepKind)}
_ALGORITHM_ORDER = {algorithm: place for place, algorithm in enumerate(Algorithm)}


def make_plan(desired: DesiredState, observed: Iterable[ObservedPod], foreign: Mapping[str, str]) -> Plan:
    """Compare what should be with what is.

    Args:
        desired: what the database asks for.
        observed: all pods that carry the fleet's label; the list must be complete.
        foreign: names of pods that are not ours, each with whose it is, in words. Only names that a new pod would
            need have to be in it.
    """
    pods_of: dict[PodKey, list[ObservedPod]] = {}
    steps: list[Step] = []
    for pod in observed:
        key = names.pod_key(pod.labels)
        if key is None:
            steps.append(_unreadable(pod))
        else:
            pods_of.setdefault(key, []).append(pod)
    # Our own unreadable pods hold their names just as foreign ones do.
    taken = {**foreign, **{step.name: "a pod of this fleet with unreadable labels" for step in steps}}
    for key, wanted in desired.pods.items():
        steps.extend(_wanted_steps(wanted, pods_of.pop(key, []), desired.blueprint, taken))
    for client in desired.invalid.values():
        for algorithm in client.algorithms.enabled():
            key = PodKey(client.client_id, algorithm)
            steps.extend(_invalid_steps(key, client, pods_of.pop(key, [])))
    for key, pods in pods_of.items():
        steps.extend(_unwanted_step(key, pod, desired) for pod in pods)
    return Plan(tuple(sorted(steps, key=_order)), desired.blueprint)


def _order(step: Step) -> tuple[int, float, int, int, str]:
    """Kind first; then priority, highest first; then client, algorithm and name, so that nothing is left to chance."""
    priority = step.desired.priority if step.desired else 0.0
    client_id, algorithm = (step.key.client_id, _ALGORITHM_ORDER[step.key.algorithm]) if step.key else (0, 0)
    return _KIND_ORDER[step.kind], -priority, client_id, algorithm, step.name


def _wanted_steps(
    wanted: DesiredPod, pods: list[ObservedPod], blueprint: Blueprint, taken: Mapping[str, str]
) -> Iterator[Step]:
    if not pods:
        yield _create_step(wanted, taken)
        return
    # Ours by the right name first, then the living: what is kept is the pod a person would expect.
    first, *others = sorted(pods, key=lambda pod: (pod.name != wanted.name, pod.terminating, pod.name))
    for pod in others:
        if not pod.terminating:
            reason = f"second pod of {wanted.key}, beside {first.name}"
            yield Step(StepKind.DELETE, Cause.DUPLICATE, pod.name, wanted.key, reason, observed=pod)
    yield _wanted_step(wanted, first, blueprint, taken)


def _create_step(wanted: DesiredPod, taken: Mapping[str, str]) -> Step:
    if holder := taken.get(wanted.name):
        reason = f"the name is held by {holder}"
        return Step(StepKind.CONFLICT, Cause.NAME_TAKEN, wanted.name, wanted.key, reason, wanted)
    return Step(StepKind.CREATE, Cause.MISSING, wanted.name, wanted.key, "enabled, and there is no pod", wanted)


def _wanted_step(wanted: DesiredPod, pod: ObservedPod, blueprint: Blueprint, taken: Mapping[str, str]) -> Step:
    def step(kind: StepKind, cause: Cause, reason: str) -> Step:
        return Step(kind, cause, pod.name, wanted.key, reason, wanted, pod)

    if pod.terminating:
        return step(StepKind.WAIT, Cause.TERMINATING, "still terminating; its name is free when it is gone")
    if pod.name != wanted.name:
        if holder := taken.get(wanted.name):
            return step(StepKind.CONFLICT, Cause.NAME_TAKEN, f"should be {wanted.name}, a name held by {holder}")
        return step(StepKind.REPLACE, Cause.MISNAMED, f"should be named {wanted.name}")
    if pod.finished:
        return step(StepKind.REPLACE, Cause.FINISHED, f"has ended: {pod.reason or pod.phase}")
    if (recorded := pod.annotations.get(names.SPEC_HASH)) != wanted.spec_hash:
        return step(StepKind.REPLACE, *_spec_difference(wanted, pod, recorded))
    if difference := _live_difference(wanted, pod):
        return step(StepKind.REPLACE, Cause.LIVE_DIFFERS, f"changed behind syncctl's back: {difference}")
    if differing := metadata_difference(blueprint, wanted, pod):
        return step(StepKind.UPDATE, Cause.METADATA_DIFFERS, differing)
    return step(StepKind.KEEP, Cause.IN_SYNC, "in sync")


def _spec_difference(wanted: DesiredPod, pod: ObservedPod, recorded: str | None) -> tuple[Cause, str]:
    generation = pod.annotations.get(names.RESTART_GENERATION)
    if live := _live_difference(wanted, pod):
        return Cause.SPEC_DIFFERS, live
    if generation is not None and generation != str(wanted.restart_generation):
        return Cause.RESTART_ASKED, f"restart asked for: generation {generation} -> {wanted.restart_generation}"
    return Cause.SPEC_DIFFERS, f"pod template changed: spec {recorded or 'unknown'} -> {wanted.spec_hash}"


def _live_difference(wanted: DesiredPod, pod: ObservedPod) -> str:
    """Say how the running container's image, cpu and memory differ from the wanted ones; "" when they do not."""
    found = []
    if pod.image != wanted.image:
        found.append(f"image {pod.image or 'none'} -> {wanted.image}")
    live = pod.resources
    for part, request, limit, value in (
        ("cpu", live.cpu_request, live.cpu_limit, wanted.cpu),
        ("memory", live.memory_request, live.memory_limit, wanted.memory),
    ):
        if not (quantity.same(request, value) and quantity.same(limit, value)):
            shown = request if request == limit else f"{request or 'none'}/{limit or 'none'}"
            found.append(f"{part} {shown or 'none'} -> {value}")
    return ", ".join(found)


def metadata_difference(blueprint: Blueprint, wanted: DesiredPod, pod: ObservedPod) -> str:
    """Say which labels and annotations differ from the wanted ones; "" when none does."""
    found = [
        f"{key} {live.get(key, 'none')} -> {value}"
        for live, should in (
            (pod.labels, pod_labels(blueprint, wanted)),
            (pod.annotations, pod_annotations(blueprint, wanted)),
        )
        for key, value in should.items()
        if live.get(key) != value
    ]
    return ", ".join(found)


def _invalid_steps(key: PodKey, client: InvalidClient, pods: list[ObservedPod]) -> Iterator[Step]:
    reason = f'client "{client.name}" is invalid: {"; ".join(client.problems)}'
    if not pods:
        name = names.pod_name(key.algorithm, client.algorithms.id)
        yield Step(StepKind.CONFLICT, Cause.CLIENT_INVALID, name, key, reason)
    for pod in pods:
        kind = StepKind.WAIT if pod.terminating else StepKind.KEEP
        yield Step(kind, Cause.CLIENT_INVALID, pod.name, key, f"left as it is; {reason}", observed=pod)


def _unwanted_step(key: PodKey, pod: ObservedPod, desired: DesiredState) -> Step:
    if pod.terminating:
        kind, cause, reason = StepKind.WAIT, Cause.TERMINATING, "still terminating"
    elif key.client_id in desired.known:
        kind, cause, reason = StepKind.DELETE, Cause.SWITCHED_OFF, f"{key.algorithm} is switched off"
    elif key.client_id in desired.deleted:
        kind, cause, reason = StepKind.DELETE, Cause.CLIENT_DELETED, f"client {key.client_id} was deleted"
    else:
        kind, cause = StepKind.DELETE, Cause.ORPHAN
        reason = f"orphan: client {key.client_id} has vanished from the database without being deleted"
    return Step(kind, cause, pod.name, key, reason, observed=pod)


def _unreadable(pod: ObservedPod) -> Step:
    labels = ", ".join(f"{key}={pod.labels.get(key, '')!r}" for key in (names.CLIENT_ID, names.ALGORITHM))
    reason = f"carries this fleet's label, but {labels} name no client and algorithm; left alone"
    return Step(StepKind.CONFLICT, Cause.UNREADABLE_LABELS, pod.name, None, reason, observed=pod)
