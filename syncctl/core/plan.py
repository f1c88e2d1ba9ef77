"""Decide which steps bring the cluster to the state that the database asks for.

Pure: no clock, no network, no database, no log line. Equal inputs give equal plans, whatever their order.

    desired | observed pod                                  | step     | cause
    --------+-----------------------------------------------+----------+------------------
    yes     | none                                          | create   | missing
    yes     | none, and its replacement was begun           | create   | replacement-begun
    yes     | none, and another pod may be it               | conflict | name-taken
    yes     | none, and a pod of which little is known      | conflict | claimed
    yes     | none, and a former client's pod is there      | wait     | client-back
    yes     | terminating                                   | wait     | terminating
    any     | terminating, long past its grace              | wait     | stuck
    yes     | Failed, Succeeded, Evicted, node lost         | replace  | finished
    yes     | same hash, same live image and resources      | keep     | in-sync
    yes     | only labels or annotations differ             | update   | metadata-differs
    yes     | only the live image differs                   | update   | image-differs
    yes     | the same, and admission rewrites it           | replace  | image-differs
    yes     | only the live resources differ                | update   | resources-differ
    yes     | the same, and admission rewrites them         | replace  | resources-differ
    yes     | the node refuses other resources              | replace  | resize-refused
    yes     | the node has not yet given them               | wait     | resizing
    yes     | another restart generation                    | replace  | restart-asked
    yes     | more of the spec differs                      | replace  | spec-differs
    yes     | SYNCCTL_SPEC is there and cannot be read      | conflict | unreadable-spec
    yes     | under another name                            | replace  | misnamed
    yes     | a pod of the Go service, with --adopt         | replace  | adopted
    yes     | to be replaced, beside another that may be it | conflict | name-taken
    yes     | a second pod of the same key                  | delete   | duplicate
    any     | beside one of a Go service that is at work    | conflict | go-service
    any     | made by syncctl, without a fleet's label      | conflict | fleet-label-lost
    yes     | there, and a suspension stops it              | delete   | stopped
    yes     | the same, and none                            | create   | stopped
    no      | running or finished                           | delete   | switched-off
    no      | terminating                                   | wait     | terminating
    deleted | running, and there is a tombstone             | delete   | client-deleted
    gone    | running, and there is no tombstone            | delete   | orphan
    invalid | running                                       | keep     | client-invalid
    invalid | none                                          | conflict | client-invalid
    any     | name and environment say another key each     | conflict | ids-moved
    any     | the same, and it has ended                    | delete   | ids-moved
    any     | neither name nor environment says a key       | conflict | unidentified
    any     | in the care of another shard                  | update   | bucket-differs

Whose a pod is its name and its environment say (core/identity.py). Of a key that a pod with moved ids may be, nothing
is started, ended or patched. A pod that says nothing is never ended, and what its labels claim is not made.

A former client's pod is one of a deleted or vanished client by the wanted one's name: of a client that is deleted and
added again, the old process ends before the new one starts.

What a suspension stops is not made either: that creation is held (core/holds/suspended.py).

A replace of a pod means: delete it, wait until no pod of its key is left, create. So there is never more than one. An
update patches in place; a new image restarts the container, new resources do not.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec.structs import replace

from syncctl.core import names
from syncctl.core.begun import still_away
from syncctl.core.claims import Claims
from syncctl.core.comparison import compared, wait_for
from syncctl.core.desired import DesiredState
from syncctl.core.identity import Identities
from syncctl.core.manifest import carries_its_marks
from syncctl.core.model import Algorithm, DesiredPod, InvalidClient, ObservedPod, PodKey
from syncctl.core.others import OtherPods, Others
from syncctl.core.steps import Cause, Plan, Step, StepKind

_ALGORITHM, _CLIENT_ID = names.ALGORITHM, names.CLIENT_ID
_KIND_ORDER = {kind: place for place, kind in enumerate(StepKind)}


def make_plan(desired: DesiredState, observed: Iterable[ObservedPod], now: datetime, others: Others) -> Plan:
    """Compare what should be with what is.

    Args:
        desired: what the database asks for.
        observed: all pods that carry the fleet's label; the list must be complete.
        now: the time that decides whether a terminating pod is stuck.
        others: who else holds names.
    """
    planner = _Planner(desired, now, others)
    drifted = sorted(planner.drifted(observed), key=_order)
    matches = sorted(planner.matches, key=lambda match: match[0].key.place)
    plan = Plan(
        tuple(drifted), tuple(matches), desired.blueprint, {}, _claims(drifted), tuple(planner.others.unclaimed)
    )
    return replace(plan, away=still_away(desired, plan)) if desired.begun else plan


def _order(step: Step) -> tuple[int, bool, float, tuple[int, int], str]:
    """Kind; of creations first those whose old pod was ended; priority, highest first; then what leaves no chance."""
    priority = step.desired.priority if step.desired else 0.0
    place = step.key.place if step.key else (0, 0)
    return _KIND_ORDER[step.kind], step.cause is not Cause.REPLACEMENT_BEGUN, -priority, place, step.name


def _claims(drifted: Iterable[Step]) -> dict[PodKey, tuple[ObservedPod, ...]]:
    """Return, for each key that gets a pod in another's place, the pods of all its steps."""
    claims: dict[PodKey, tuple[ObservedPod, ...]] = {}
    for step in drifted:
        if step.key and step.observed and step.may_make_pod:
            claims[step.key] = ()
    for step in drifted if claims else ():
        if step.key in claims and step.observed:
            claims[step.key] += (step.observed,)
    return claims


class _Planner:
    """The inputs of one plan, and a method for each part of the table."""

    def __init__(self, desired: DesiredState, now: datetime, others: Others) -> None:
        self._desired = desired
        self._now = now
        identities = Identities(desired)
        self._claims = Claims(desired, identities, now)
        self.others = OtherPods(desired, identities, others)
        # Filled in by drifted(): the pods that are as they should be.
        self.matches: list[tuple[DesiredPod, ObservedPod]] = []
        self._carries_its_marks = carries_its_marks(desired.blueprint)

    def drifted(self, observed: Iterable[ObservedPod]) -> Iterator[Step]:
        """Yield the steps of all that is not a match."""
        settled: dict[PodKey, ObservedPod] = {}
        by_name = {wanted.name: wanted for wanted in self._desired.pods.values()}
        for pod in observed:
            # Nearly all pods of nearly all passes are just as they were made: these take the short way.
            if (named := by_name.get(pod.name)) is not None and self._is_as_made(named, pod):
                settled[named.key] = pod
            elif step := self._claims.put(pod):
                yield step
        yield from self._claims.unless_moved(self._of_keys(settled))
        if self.others:
            ours = {key: pods[0].name for key, pods in self._claims.pods.items()}
            yield from self.others.problems(ours | {key: pod.name for key, pod in settled.items()})

    def _of_keys(self, settled: dict[PodKey, ObservedPod]) -> Iterator[Step]:
        pods_of = dict(self._claims.pods)
        # In reverse, so that the first by name is the one that is named.
        self._former = dict(sorted(self._former_pods(), key=lambda found: found[1], reverse=True))
        suspensions = self._desired.suspensions
        for key, wanted in self._desired.pods.items():
            pods = pods_of.pop(key, [])
            kept = settled.get(key)
            if suspensions and suspensions.stop_of(key):
                yield from self._stopped(wanted, pods if kept is None else [kept, *pods])
            elif kept is not None and not pods and key not in self.others.adoptable:
                self.matches.append((wanted, kept))
            else:
                yield from self._wanted(wanted, pods if kept is None else [kept, *pods])
        for client in self._desired.invalid.values():
            for algorithm in client.algorithms.on:
                key = PodKey(client.client_id, algorithm)
                yield from self._invalid(key, client, pods_of.pop(key, []))
        for key, pods in pods_of.items():
            yield from (self._unwanted(key, pod) for pod in pods)
        for key, pods in self.others.adoptable.items():
            # What an invalid row asks for is left alone, as the fleet's own pod of it is.
            if not self._desired.is_invalid(key):
                yield from (self._unwanted(key, pod) for pod in pods)

    def _former_pods(self) -> Iterator[tuple[tuple[str, Algorithm], str]]:
        """Yield, by client's name and algorithm, the pods of clients that are not there, or have that switched off."""
        yield from self.others.former()
        for key, pods in self._claims.pods.items():
            if self._desired.asks_for(key):
                continue
            tombstone = self._desired.deleted.get(key.client_id)
            for pod in pods:
                yield (pod.annotations.get(names.CLIENT_NAME, ""), key.algorithm), pod.name
                if tombstone is not None:
                    yield (tombstone.name, key.algorithm), pod.name

    def _wanted(self, wanted: DesiredPod, pods: list[ObservedPod]) -> Iterator[Step]:
        pods = pods + self.others.take(wanted.key)
        if not pods:
            yield self._create(wanted)
            return
        # Ours by the right name first, then the living: what is kept is the pod a person would expect.
        fleet = self._desired.blueprint.fleet
        first, *rest = sorted(
            pods,
            key=lambda pod: (
                pod.labels.get(names.FLEET) != fleet,
                pod.uid in self._claims.unsure,
                pod.name != wanted.name,
                pod.terminating,
                pod.name,
            ),
        )
        for pod in rest:
            if pod.terminating:
                yield wait_for(wanted.key, pod, None, self._now)
            else:
                reason = f"{wanted.key} may run twice: {pod.name} beside {first.name}"
                yield self._ending(Step(StepKind.DELETE, Cause.DUPLICATE, pod.name, wanted.key, reason, observed=pod))
        if first.terminating:
            yield wait_for(wanted.key, first, wanted, self._now)
        elif step := self._existing(wanted, first):
            yield self._ending(step)
        else:
            self.matches.append((wanted, first))

    def _stopped(self, wanted: DesiredPod, pods: list[ObservedPod]) -> Iterator[Step]:
        pods = pods + self.others.take(wanted.key)
        yield from (self._unwanted(wanted.key, pod) for pod in pods)
        if not pods:
            step, reason = self._create(wanted), "enabled, and stopped by a suspension"
            yield replace(step, cause=Cause.STOPPED, reason=reason) if step.kind is StepKind.CREATE else step

    def _is_as_made(self, wanted: DesiredPod, pod: ObservedPod) -> bool:
        """Whether the pod is surely a match, found out at a fifth of the price of comparing it."""
        if not self._carries_its_marks(wanted, pod):
            return False
        # The labels are the key's, so what says the same as they do is right too.
        labels, environment = pod.labels, pod.environment
        told = labels[_ALGORITHM], labels[_CLIENT_ID], wanted.spec_hash
        return (
            (environment == told or environment == (*told[:2], None))
            and pod.image == wanted.image
            and pod.resources == (wanted.cpu, wanted.memory, wanted.cpu, wanted.memory)
            and pod.phase == "Running"
            and pod.deleted_at is None
            and not (pod.reason or pod.resize_refused or pod.resizing)
        )

    def _create(self, wanted: DesiredPod) -> Step:
        def step(kind: StepKind, cause: Cause, reason: str) -> Step:
            return Step(kind, cause, wanted.name, wanted.key, reason, wanted)

        if blocker := self.others.blocker(wanted):
            return step(StepKind.CONFLICT, Cause.NAME_TAKEN, blocker)
        if claimer := self._claims.claimer(wanted.key):
            return step(StepKind.CONFLICT, Cause.CLAIMED, claimer)
        if former := self._former.get((wanted.client_name, wanted.key.algorithm)):
            reason = f"{former} is there for a former client of this name, and has to go first"
            return step(StepKind.WAIT, Cause.CLIENT_BACK, reason)
        if begun := self._desired.begun.get(wanted.key):
            reason = f"its old pod was told to go at {begun.at:%Y-%m-%d %H:%M:%S} UTC to be replaced, and is gone"
            return step(StepKind.CREATE, Cause.REPLACEMENT_BEGUN, reason)
        return step(StepKind.CREATE, Cause.MISSING, "enabled, and there is no pod")

    def _existing(self, wanted: DesiredPod, pod: ObservedPod) -> Step | None:
        step = compared(self._desired.blueprint, wanted, pod)
        # A replacement makes a pod, and a resize may come to one: never beside one that may run the same thing already.
        if step is None or not step.may_make_pod:
            return step
        for cause, blocker in (
            (Cause.NAME_TAKEN, self.others.blocker(wanted, but=pod.name)),
            (Cause.CLAIMED, self._claims.claimer(wanted.key)),
        ):
            if blocker:
                return step.set_aside(StepKind.CONFLICT, cause, f"{step.reason}; but {blocker}")
        return step

    def _ending(self, step: Step) -> Step:
        """Note of a step that would end a process why that is not surely what a person has asked for."""
        unsure = self._claims.unsure.get(step.pod.uid, "")
        ends = (step.kind is StepKind.DELETE or step.may_make_pod) and not step.pod.finished
        return replace(step, unsure=unsure) if unsure and ends else step

    def _invalid(self, key: PodKey, client: InvalidClient, pods: list[ObservedPod]) -> Iterator[Step]:
        reason = f'client "{client.name}" is invalid: {"; ".join(client.problems)}'
        if pods and self._desired.suspensions.stop_of(key):
            yield from (self._unwanted(key, pod) for pod in pods)
            return
        if not pods:
            name = names.pod_name(key.algorithm, client.algorithms.id)
            yield Step(StepKind.CONFLICT, Cause.CLIENT_INVALID, name, key, reason, client=client.name)
        for pod in pods:
            if pod.terminating:
                yield wait_for(key, pod, None, self._now)
            else:
                left = f"left as it is; {reason}"
                yield Step(StepKind.KEEP, Cause.CLIENT_INVALID, pod.name, key, left, observed=pod, client=client.name)

    def _unwanted(self, key: PodKey, pod: ObservedPod) -> Step:
        if pod.terminating:
            return wait_for(key, pod, None, self._now)
        if stop := self._desired.suspensions.stop_of(key):
            cause, reason = Cause.STOPPED, f"stopped {stop.words}"
        elif key.client_id in self._desired.known:
            cause, reason = Cause.SWITCHED_OFF, f"{key.algorithm} is switched off"
        elif key.client_id in self._desired.deleted:
            cause, reason = Cause.CLIENT_DELETED, f"client {key.client_id} was deleted"
        else:
            cause = Cause.ORPHAN
            reason = f"orphan: {self._what_has_vanished(key.client_id)} from the database without being deleted"
        return self._ending(Step(StepKind.DELETE, cause, pod.name, key, reason, observed=pod))

    def _what_has_vanished(self, client_id: int) -> str:
        if client_id in self._desired.without_flags:
            return f"the row in algorithm_status of client {client_id} has vanished"
        return f"client {client_id} has vanished"
