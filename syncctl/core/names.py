"""Names, labels, annotations and variables: how a pod says whose it is.

A pod's name and the environment of its container stay as they are while it runs; labels and annotations anybody can
edit. So the former decide (core/identity.py), and the latter are for selectors and for people.

Names follow Kubernetes' recommended labels (https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/);
what only syncctl reads is under syncctl.io/.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from syncctl.core.model import Algorithm, Environment, PodKey
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
CHANGED_FOR = "syncctl.io/changed-for"
ADMITTED = "syncctl.io/admitted"
OVERRIDDEN = "syncctl.io/overridden"

DRY_RUN_ENDING = "-dry-run"
"""What the name of a pod ends in that is asked about while one by its name is there. None is ever made."""

NAME_PREFIX, POD_PREFIX = "client/", "pod/"
"""What `-o name` puts before a client's name, as kubectl does; a reference may have it too."""

MANAGER = "syncctl"
"""The value of the label managed-by on every pod that syncctl makes."""

NAMES_SHOWN = 5
"""Of a list of pods, so many are named in a sentence."""

CONTAINER = "algorithm"
"""The name of the container that trades; all others in a pod are sidecars from the template."""

ALGORITHM_VARIABLE = "ALGORITHM"
CLIENT_ID_VARIABLE = "CLIENT_ID"
SPEC_VARIABLE = "SYNCCTL_SPEC"

_CLIENT_ID = re.compile(r"[1-9][0-9]{0,18}")
_NAME = re.compile(rf"({'|'.join(Algorithm)})-([1-9][0-9]{{0,18}})")
_SEED_NAME = re.compile(rf"(vmap|{'|'.join(Algorithm)})-([1-9][0-9]{{0,18}})")
NOT_OURS = "a pod that syncctl did not make"
GO_CONTAINER, GO_IMAGE = "algorithm-container", "algorithm-image"
"""The one container of each pod of the Go service, which has no setting for either."""
"""The owner, in words, of a pod whose labels name none, like those of the Go service."""
LOST = "a pod that syncctl made, without a fleet's label"
"""The owner, in words, of a pod that has lost its fleet's label."""

_ALGORITHMS = {algorithm.value: algorithm for algorithm in Algorithm}


def pod_name(algorithm: Algorithm, status_id: int) -> str:
    """Return the pod's name: <algorithm>-<algorithm_status.id>, as the Go service numbered them."""
    return f"{algorithm}-{status_id}"


def read_name(name: str) -> tuple[Algorithm, int] | None:
    """Read algorithm and algorithm_status.id off a pod's name; None when it is not one that syncctl gives."""
    found = _NAME.fullmatch(name)
    return (_ALGORITHMS[found[1]], int(found[2])) if found else None


def read_seed_name(name: str) -> tuple[Algorithm, int] | None:
    """Read the same off a name that the Go service may have given: it wrote vmap for vwap."""
    found = _SEED_NAME.fullmatch(name)
    return (_ALGORITHMS.get(found[1], Algorithm.VWAP), int(found[2])) if found else None


def fleet_selector(fleet: str, shard: Shard = WHOLE) -> str:
    """Return the label selector that finds the fleet's pods, or those of a shard, all of them and no others."""
    if shard == WHOLE:
        return f"{FLEET}={fleet}"
    return f"{FLEET}={fleet},{BUCKET} in ({','.join(map(str, shard.buckets))})"


def clients_selector(fleet: str, client_ids: Iterable[int]) -> str:
    """Return the label selector that finds the fleet's pods of these clients."""
    return f"{fleet_selector(fleet)},{CLIENT_ID} in ({','.join(map(str, client_ids))})"


def outside_selector(fleet: str, shard: Shard) -> str:
    """Return the label selector that finds the fleet's pods that a shard's own does not, those without a bucket too."""
    return f"{FLEET}={fleet},{BUCKET} notin ({','.join(map(str, shard.buckets))})"


def foreign_selector(fleet: str) -> str:
    """Return the label selector that finds everybody else's pods (!= also matches pods without the label)."""
    return f"{FLEET}!={fleet}"


def unowned_selector() -> str:
    """Return the label selector that finds the pods that belong to no fleet: those of the Go service among them."""
    return f"!{FLEET}"


def pod_key(labels: Mapping[str, str]) -> PodKey | None:
    """Read the key off a pod's labels; None when they do not name a client and an algorithm."""
    return _key(labels.get(ALGORITHM), labels.get(CLIENT_ID))


def environment_key(environment: Environment) -> PodKey | None:
    """Read the key off the environment of a pod's container; None when it does not name a client and an algorithm."""
    return _key(environment.algorithm, environment.client_id)


def pods(number: int) -> str:
    """Return "1 pod", "2 pods"."""
    return f"{number} pod{'' if number == 1 else 's'}"


def listed(pods: Sequence[str]) -> str:
    """Return the first few names of a list, and that there are more."""
    shown = ", ".join(pods[:NAMES_SHOWN])
    return f"{shown}, ..." if len(pods) > NAMES_SHOWN else shown


def owner(labels: Mapping[str, str]) -> str:
    """Say in words whose a pod with these labels is."""
    if fleet := labels.get(FLEET):
        return f"a pod of another fleet ({fleet})"
    manager = labels.get(MANAGED_BY)
    if manager == MANAGER:
        return LOST
    return f"a pod managed by {manager}" if manager else NOT_OURS


def _key(algorithm: str | None, client_id: str | None) -> PodKey | None:
    known = _ALGORITHMS.get(algorithm or "")
    # Only as syncctl writes it: no selector for client 7 finds a pod labelled "007".
    if known is None or not _CLIENT_ID.fullmatch(client_id or ""):
        return None
    return PodKey(int(client_id or ""), known)
