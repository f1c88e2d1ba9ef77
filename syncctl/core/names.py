"""Names, labels and annotations: how a pod says whose it is.

Names follow Kubernetes' recommended labels (https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/);
what only syncctl reads is under syncctl.io/.
"""

import re
from collections.abc import Iterable, Mapping

from syncctl.core.model import Algorithm, PodKey
from syncctl.core.shard import WHOLE, Shard

MANAGED_BY = "app.kubernetes.io/managed-by"
ALGORITHM = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
FLEET = "syncctl.io/fleet"
CLIENT_ID = "syncctl.io/client-id"
BUCKET = "syncctl.io/bucket"

CLIENT_NAME = "syncctl.io/client-name"
VERSION = "syncctl.io/version"
SPEC_HASH = "syncctl.io/spec-hash"
RESTART_GENERATION = "syncctl.io/restart-generation"
TEMPLATE = "syncctl.io/template"
REPLACED = "syncctl.io/replaced"
ADMITTED = "syncctl.io/admitted"

NAME_PREFIX = "client/"
"""What `-o name` puts before a client's name, as kubectl does; a reference may have it too."""

CONTAINER = "algorithm"
"""The name of the container that trades; all others in a pod are sidecars from the template."""

_CLIENT_ID = re.compile(r"[1-9][0-9]{0,18}")
_NAME = re.compile(rf"(?:{'|'.join(Algorithm)})-([1-9][0-9]{{0,18}})")
NOT_OURS = "a pod that syncctl did not make"
"""Whose a pod is that says of nobody that it is theirs, as those of the Go service."""

_ALGORITHMS = {algorithm.value: algorithm for algorithm in Algorithm}


def pod_name(algorithm: Algorithm, status_id: int) -> str:
    """Return the pod's name: <algorithm>-<algorithm_status.id>, as the Go service numbered them."""
    return f"{algorithm}-{status_id}"


def status_id(name: str) -> int | None:
    """Read the algorithm_status.id off a pod's name; None when it is not one that syncctl gives."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


def seed_names(algorithm: Algorithm, status_id: int) -> tuple[str, ...]:
    """Return the names under which the Go service may run the same thing: it wrote vmap for vwap."""
    name = pod_name(algorithm, status_id)
    return (name, f"vmap-{status_id}") if algorithm is Algorithm.VWAP else (name,)


def fleet_selector(fleet: str, shard: Shard = WHOLE) -> str:
    """Return the label selector that finds the fleet's pods, or those of a shard, all of them and no others."""
    if shard == WHOLE:
        return f"{FLEET}={fleet}"
    return f"{FLEET}={fleet},{BUCKET} in ({','.join(map(str, shard.buckets))})"


def clients_selector(fleet: str, client_ids: Iterable[int]) -> str:
    """Return the label selector that finds the fleet's pods of these clients."""
    return f"{fleet_selector(fleet)},{CLIENT_ID} in ({','.join(map(str, client_ids))})"


def foreign_selector(fleet: str) -> str:
    """Return the label selector that finds everybody else's pods (!= also matches pods without the label)."""
    return f"{FLEET}!={fleet}"


def unowned_selector() -> str:
    """Return the label selector that finds the pods that belong to no fleet: those of the Go service among them."""
    return f"!{FLEET}"


def pod_key(labels: Mapping[str, str]) -> PodKey | None:
    """Read the key off a pod's labels; None when they do not name a client and an algorithm."""
    algorithm = _ALGORITHMS.get(labels.get(ALGORITHM, ""))
    client_id = labels.get(CLIENT_ID, "")
    # Only as syncctl writes it: no selector for client 7 finds a pod labelled "007".
    if algorithm is None or not _CLIENT_ID.fullmatch(client_id):
        return None
    return PodKey(int(client_id), algorithm)
