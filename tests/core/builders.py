"""Clients, and pods as the cluster would show them: what the tests of the core are made of."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from syncctl.core.desired import DesiredState, desired_state
from syncctl.core.facts import Facts, Rules
from syncctl.core.fleet import FleetSettings
from syncctl.core.manifest import Blueprint, pod_manifest
from syncctl.core.memory import Begun
from syncctl.core.model import (
    Algorithm,
    AlgorithmStatus,
    Client,
    DesiredPod,
    Environment,
    ObservedPod,
    OtherPod,
    PodKey,
    Resources,
    Tombstone,
)
from syncctl.core.names import NOT_OURS
from syncctl.core.others import Others
from syncctl.core.shard import WHOLE, Shard
from syncctl.core.snapshot import Snapshot
from syncctl.core.suspensions import Suspension
from syncctl.core.template import make_template

FLEET = "0d5b6f2e-5c0a-4d5e-9a55-6f1c3a1f7b11"
BLUEPRINT = Blueprint(make_template(), FLEET, "desk")
IMAGE = "registry.example.com/desk/vwap:1.4.2"
NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
A_WHILE_AGO = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
BEGUN = Begun(A_WHILE_AGO, stopped=True)
NOTHING_SET = FleetSettings(default_image="", default_cpu="", default_memory="")
RULES = Rules(orphan_limit=10, orphan_percent=30.0, switch_off_limit=0, replace_percent=25.0, halt_percent=20.0)


def facts_of(now: datetime = NOW, **known: Any) -> Facts:
    """Return facts of a fleet of which nothing more is known."""
    return Facts(read_at=now, now=now, cluster="namespace trading", **{"settings": FleetSettings(), **known})


def a_client(client_id: int = 7, *, enabled: str = "vwap", status_id: int | None = None, **fields: Any) -> Client:
    """Return a client whose status row is numbered 100 higher than itself; `enabled` names its algorithms."""
    status_id = client_id + 100 if status_id is None else status_id
    on = tuple(algorithm for algorithm in Algorithm if algorithm in enabled.split())
    given: dict[str, Any] = {
        "id": client_id,
        "name": f"client {client_id}",
        "version": 3,
        "image": IMAGE,
        "cpu": "1500m",
        "memory": "1Gi",
        "priority": 1.0,
        "need_restart": False,
        "restart_generation": 2,
        "spawned_at": None,
        "created_at": A_WHILE_AGO,
        "updated_at": A_WHILE_AGO,
        "algorithms": AlgorithmStatus(status_id, client_id, on),
    }
    return Client(**{**given, **fields})


def a_suspension(client_id: int | None = None, algorithm: Algorithm | None = None, **fields: Any) -> Suspension:
    """Return one of the whole fleet, or of a client that a_client would have made, for two hours from NOW on."""
    given: dict[str, Any] = {
        "id": 1,
        "client_id": client_id,
        "client_name": None if client_id is None else f"client {client_id}",
        "algorithm": algorithm,
        "stops": False,
        "reason": "the exchange asked",
        "started_at": NOW,
        "started_by": "anna@desk7",
        "ends_at": NOW + timedelta(hours=2),
    }
    return Suspension(**{**given, **fields})


def desired_by(
    *clients: Client,
    deleted: tuple[int, ...] | Mapping[int, Tombstone] = (),
    begun: Mapping[PodKey, Begun] = {},
    blueprint: Blueprint = BLUEPRINT,
    shard: Shard = WHOLE,
    **known: Any,
) -> DesiredState:
    """Return what these rows ask for, in a fleet without defaults.

    Tombstones named by their ids alone are of clients that a_client would have made.
    """
    if not isinstance(deleted, Mapping):
        deleted = {client_id: Tombstone(f"client {client_id}", client_id + 100) for client_id in deleted}
    return desired_state(Snapshot(FLEET, clients, deleted, NOW, begun=begun, **known), blueprint, NOTHING_SET, shard)


def others(*names: str, owner: str = NOT_OURS, adoptable: tuple[ObservedPod, ...] = (), **fields: Any) -> Others:
    """Return pods that are not the fleet's, by their names."""
    return Others(tuple(OtherPod(name, owner, **fields) for name in names), adoptable)


def desired_pod(client: Client | None = None) -> DesiredPod:
    """Return the one pod that the client asks for."""
    (pod,) = desired_by(client or a_client()).pods.values()
    return pod


def as_observed(manifest: dict[str, Any], **fields: Any) -> ObservedPod:
    """Return the pod that the cluster shows, Running, some time after it was created from the manifest."""
    metadata, container = manifest["metadata"], manifest["spec"]["containers"][0]
    requests, limits = container["resources"]["requests"], container["resources"]["limits"]
    given: dict[str, Any] = {
        "name": metadata["name"],
        "uid": f"uid-of-{metadata['name']}",
        "labels": metadata["labels"],
        "annotations": metadata["annotations"],
        "phase": "Running",
        "image": container["image"],
        "resources": Resources(requests["cpu"], requests["memory"], limits["cpu"], limits["memory"]),
        "environment": environment_of(container),
        "node": "node-1",
    }
    return ObservedPod(**{**given, **fields})


def environment_of(container: dict[str, Any]) -> Environment:
    """Return what the codec reads off a container."""
    values = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    return Environment(values.get("ALGORITHM"), values.get("CLIENT_ID"), values.get("SYNCCTL_SPEC"))


def pod_of(client: Client | None = None, **fields: Any) -> ObservedPod:
    """Return the running pod of a client with one enabled algorithm, just as syncctl made it."""
    return as_observed(pod_manifest(BLUEPRINT, desired_pod(client)), **fields)


def labelled(pod: ObservedPod, **labels: str) -> dict[str, str]:
    """Return the pod's labels with some of syncctl's changed, named by their last word: client_id="9"."""
    ends = {key.rsplit("/")[-1].replace("-", "_"): key for key in pod.labels}
    return {**pod.labels, **{ends[end]: value for end, value in labels.items()}}


def key(client_id: int, algorithm: str = "vwap") -> PodKey:
    """Return the key of a client's pod."""
    return PodKey(client_id, Algorithm(algorithm))
