"""Which pods should exist, given the rows. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from syncctl.core.fleet import FleetSettings
from syncctl.core.manifest import Blueprint, spec_hash
from syncctl.core.memory import Begun
from syncctl.core.model import Client, DesiredPod, InvalidClient, PodKey, Tombstone
from syncctl.core.names import pod_name
from syncctl.core.quantity import canonical_cpu, canonical_memory
from syncctl.core.shard import WHOLE, Shard
from syncctl.core.snapshot import Snapshot
from syncctl.core.suspensions import Suspensions
from syncctl.core.validation import client_problems, priority_problems


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What the database asks for.

    `known` holds the clients whose flags could be read, each with the id of its row in algorithm_status: an algorithm
    of theirs that is neither in `pods` nor of an `invalid` client is switched off, which is a person's word. That row
    has vanished of the clients `without_flags`. `deleted` holds the tombstones, `begun` the replacements that earlier
    passes have begun, `adopted` and `elsewhere` what else is known of ids in algorithm_status, `shard` the part of the
    fleet that all but the ids are of. `go_service` tells that the Go service may still be at work. `suspensions` are
    asked for what they stop; what they leave alone is planned like everything, and held.
    """

    blueprint: Blueprint
    pods: Mapping[PodKey, DesiredPod]
    known: Mapping[int, int]
    deleted: Mapping[int, Tombstone]
    invalid: Mapping[int, InvalidClient]
    without_flags: frozenset[int]
    begun: Mapping[PodKey, Begun]
    adopted: Mapping[int, int | None]
    elsewhere: Mapping[int, int]
    go_service: bool
    shard: Shard
    suspensions: Suspensions

    def asks_for(self, key: PodKey) -> bool:
        """Whether the database asks for this pod, be it by a row that cannot become one."""
        return key in self.pods or self.is_invalid(key)

    def is_invalid(self, key: PodKey) -> bool:
        """Whether the pod is asked for by a row that cannot become pods."""
        invalid = self.invalid.get(key.client_id)
        return invalid is not None and key.algorithm in invalid.algorithms.on


def desired_state(
    snapshot: Snapshot, blueprint: Blueprint, settings: FleetSettings, shard: Shard = WHOLE
) -> DesiredState:
    """Return one desired pod for each enabled algorithm of each valid client.

    An invalid row is a reported problem of that client and takes nothing from the others. `shard` is the part of the
    fleet whose clients the snapshot holds.
    """
    pods: dict[PodKey, DesiredPod] = {}
    invalid: dict[int, InvalidClient] = {}
    # Thousands of clients share a few specs, so each is judged and hashed once.
    hashes: dict[int, str] = {}
    judged: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for client in snapshot.clients:
        status = client.algorithms
        if status is None or not (enabled := status.on):
            continue
        image, cpu, memory = parts = _filled(client, settings)
        if parts not in judged:
            judged[parts] = _part_problems(*parts)
        problems = judged[parts] + tuple(priority_problems(client.priority))
        if problems:
            invalid[client.id] = InvalidClient(client.id, client.name, status, problems)
            continue
        cpu, memory = canonical_cpu(cpu), canonical_memory(memory)
        generation = client.restart_generation
        if (identity := hashes.get(generation)) is None:
            identity = hashes[generation] = spec_hash(blueprint.template, generation)
        for algorithm in enabled:
            key = PodKey(client.id, algorithm)
            # By position: by name it would take three times as long.
            pods[key] = DesiredPod(
                key,
                pod_name(algorithm, status.id),
                client.name,
                client.version,
                image,
                cpu,
                memory,
                client.priority,
                generation,
                identity,
            )
    return DesiredState(
        blueprint=blueprint,
        pods=pods,
        known={client.id: client.algorithms.id for client in snapshot.clients if client.algorithms is not None},
        deleted=snapshot.deleted,
        invalid=invalid,
        without_flags=frozenset(client.id for client in snapshot.clients if client.algorithms is None),
        begun=snapshot.begun,
        adopted=snapshot.adopted,
        elsewhere=snapshot.elsewhere,
        go_service=snapshot.go_service,
        shard=shard,
        suspensions=snapshot.suspensions,
    )


def _filled(client: Client, settings: FleetSettings) -> tuple[str, str, str]:
    """Return image, cpu and memory; an empty default fills nothing."""
    return (
        client.image or settings.default_image,
        client.cpu or settings.default_cpu,
        client.memory or settings.default_memory,
    )


def _part_problems(image: str, cpu: str, memory: str) -> tuple[str, ...]:
    missing = [
        f"{part}: empty, and the fleet's default_{part} is empty too"
        for part, value in (("image", image), ("cpu", cpu), ("memory", memory))
        if not value
    ]
    return tuple(missing + client_problems(image=image, cpu=cpu, memory=memory))
