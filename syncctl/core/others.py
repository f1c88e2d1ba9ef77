"""Pods that do not carry the fleet's label, and what they are to the fleet. Pure.

Three kinds of them matter. Who holds the name that a new pod needs. The Go service's, which label nothing and are known
by their names alone: <algorithm>-<id>, and vmap for vwap, with any id that is or was a client's. And those from which
somebody has taken the fleet's label: until it is back they may be what a new pod would be a second of.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from syncctl.core import names
from syncctl.core.desired import DesiredState
from syncctl.core.identity import Identities
from syncctl.core.model import Algorithm, DesiredPod, ObservedPod, OtherPod, PodKey
from syncctl.core.steps import Cause, Step, StepKind


@dataclass(frozen=True, slots=True)
class Others:
    """Pods that are not the fleet's, as far as they matter to it.

    `pods` are those of the namespace that hold names; `adoptable` those of the Go service that a person wants taken
    over; `unlike` names those that are not as the Go service makes them, where somebody has looked.
    """

    pods: tuple[OtherPod, ...] = ()
    adoptable: tuple[ObservedPod, ...] = ()
    unlike: frozenset[str] = frozenset()


class OtherPods:
    """The others of one plan, by whose pod each may be.

    `adoptable` has, by key, what is still to be taken over; whoever plans a key takes it out. `unclaimed` are the names
    of pods that look like the Go service's and that no row claims.
    """

    def __init__(self, desired: DesiredState, identities: Identities, others: Others) -> None:
        self._desired = desired
        self._identities = identities
        self.adoptable: dict[PodKey, list[ObservedPod]] = {}
        self.unclaimed: list[str] = []
        self._unlike = others.unlike
        for pod in sorted(others.adoptable, key=lambda pod: pod.name):
            if (key := self._go_key(pod.name)) is not None and desired.shard.has(key.client_id):
                self.adoptable.setdefault(key, []).append(pod)
        taken = {pod.name for pods in self.adoptable.values() for pod in pods}
        self._holders: dict[str, OtherPod] = {}
        self._of_key: dict[PodKey, list[OtherPod]] = {}
        for other in sorted(others.pods, key=lambda other: other.name):
            if other.name not in taken:
                self._sort_in(other)
        # By name, the deleted clients whose pods of the Go service may still run.
        self._deleted: dict[str, list[int]] = {}
        for client_id, tombstone in desired.deleted.items() if others.pods or others.adoptable else ():
            self._deleted.setdefault(tombstone.name, []).append(client_id)

    def __bool__(self) -> bool:
        """Whether there is any that matters to a key."""
        return bool(self._of_key)

    def take(self, key: PodKey) -> list[ObservedPod]:
        """Return the Go service's pods of this key that are to be taken over; nobody else will get them."""
        return self.adoptable.pop(key, [])

    def blocker(self, wanted: DesiredPod, but: str = "") -> str:
        """Say which other pod holds the wanted one's name, or may run the same thing; "" when none does."""
        if (holder := self._holders.get(wanted.name)) and holder.name != but:
            return f"the name is held by {holder.owner}{self._way_out(holder)}"
        for other in self._of_key.get(wanted.key, ()):
            if other.name != but:
                what = "by its labels the same" if other.lost else "its name in the Go service"
                return f"{other.name}, {what}, is held by {other.owner}{self._way_out(other)}"
        for client_id in self._deleted.get(wanted.client_name, ()):
            for other in self._of_key.get(PodKey(client_id, wanted.key.algorithm), ()):
                what = "of a former client of this name"
                return f"{other.name}, {what}, is held by {other.owner}{self._way_out(other)}"
        return ""

    def former(self) -> Iterator[tuple[tuple[str, Algorithm], str]]:
        """Yield, by client's name and algorithm, the pods that are to be taken over from deleted clients."""
        for key, pods in self.adoptable.items():
            if (tombstone := self._desired.deleted.get(key.client_id)) is not None:
                yield (tombstone.name, key.algorithm), pods[0].name

    def problems(self, ours: Mapping[PodKey, str]) -> Iterator[Step]:
        """Yield a conflict for each pod that runs beside ours, or where nothing should.

        Args:
            ours: the name of the fleet's pod of each key that has one. A key that is asked for and has none is in
                conflict by itself, as `blocker` says.
        """
        for key, others in self._of_key.items():
            asked_for = self._desired.asks_for(key)
            if not self._desired.shard.has(key.client_id) or (asked_for and key not in ours):
                continue
            for other in others:
                if other.lost:
                    cause = Cause.FLEET_LABEL_LOST
                    reason = f"{key} may run in {other.name}, {other.owner}{self._way_out(other)}"
                elif other.plain and self._desired.go_service and not asked_for:
                    cause = Cause.GO_SERVICE
                    reason = f"{key} is not asked for, and {other.name} of the Go service runs{self._stop_it(other)}"
                elif other.plain and self._desired.go_service:
                    cause = Cause.GO_SERVICE
                    reason = (
                        f"{key} may run twice: {other.name} of the Go service beside {ours[key]}{self._stop_it(other)}"
                    )
                else:
                    continue
                yield Step(StepKind.CONFLICT, cause, other.name, key, reason)

    @cached_property
    def _remembered(self) -> set[int]:
        """The clients that live, in any shard, or were deleted."""
        desired = self._desired
        return {*desired.known, *desired.deleted, *desired.elsewhere.values()}

    def _sort_in(self, other: OtherPod) -> None:
        self._holders[other.name] = other
        labelled = names.pod_key(other.labels) if other.lost else None
        # What carries another fleet's label is that one's, and holds no more than its name.
        named = None if names.FLEET in other.labels else self._go_key(other.name)
        keys = [key for key in dict.fromkeys((labelled, named)) if key is not None]
        for key in keys:
            self._of_key.setdefault(key, []).append(other)
        like_one = other.plain and not other.labels and self._desired.go_service and names.read_seed_name(other.name)
        # One shard is enough to tell of them.
        if not keys and self._desired.shard.index == 0 and (other.lost or like_one):
            self.unclaimed.append(other.name)

    def _go_key(self, name: str) -> PodKey | None:
        """Return whose a pod by this name is, if that client lives or was deleted: nobody's pod is ever taken over."""
        key = self._identities.named_by_go_service(name)
        return key if key is not None and key.client_id in self._remembered else None

    def _way_out(self, other: OtherPod) -> str:
        if other.lost:
            label = f"kubectl label pod {other.name} {names.FLEET}={self._desired.blueprint.fleet}"
            return f"; put the label back if it is this fleet's: `{label}`"
        if other.owner == names.NOT_OURS and self._go_key(other.name) is not None:
            return f"; if the Go service made it, `{self._adopting(other)}` takes it over"
        return ""

    def _stop_it(self, other: OtherPod) -> str:
        return f"; stop the Go service, then `{self._adopting(other)}` ends it"

    def _adopting(self, other: OtherPod) -> str:
        """Return the command that takes a pod over; one that is not as the Go service makes them has to be named."""
        return f"sync once --adopt-pod {other.name}" if other.name in self._unlike else "sync once --adopt"


def unclaimed(pods: Sequence[str]) -> str:
    """Say which pods may be the fleet's or the Go service's, and are of no client that anybody knows."""
    return f"left alone, for no row claims them: {names.listed(pods)}"
