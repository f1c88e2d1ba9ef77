"""The vocabulary: every value that crosses a border between two rooms.

Rows stay in db/, JSON stays in kube/; what travels is one of these. All times are aware and UTC.

They are msgspec's structs: a pass makes several for each pod, and a frozen dataclass takes five times as long to make.
The structs that exist once a pod can form no reference cycle, so the collector need not track them.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct


class Algorithm(StrEnum):
    """What a client can run. The order is the order of columns, tables and plans."""

    VWAP = "vwap"
    TWAP = "twap"
    HFT = "hft"

    # Enum's own is written in Python, and a pass hashes a key half a dozen times for each pod.
    __hash__ = str.__hash__


_PLACES = {algorithm: place for place, algorithm in enumerate(Algorithm)}


class PodKey(NamedTuple):
    """The identity of a pod: at most one live pod may carry a key at any time."""

    client_id: int
    algorithm: Algorithm

    def __str__(self) -> str:
        return f"{self.algorithm} of client {self.client_id}"

    @property
    def place(self) -> tuple[int, int]:
        """Where it comes in tables and plans: by client, and there in the order of the columns."""
        return self.client_id, _PLACES[self.algorithm]


class AlgorithmStatus(Struct, frozen=True, gc=False):
    """Which algorithms a client wants running, in the order of Algorithm.

    `id` numbers the client's pods: their names are <algorithm>-<id>.
    """

    id: int
    client_id: int
    on: tuple[Algorithm, ...] = ()


class Client(Struct, frozen=True):
    """A row of `clients` with its row of `algorithm_status`.

    `image`, `cpu` and `memory` may be empty: the settings' defaults fill in when the pod is made. `algorithms` is None
    when the row in algorithm_status has vanished, which syncctl itself never causes.
    """

    id: int
    name: str
    version: int
    image: str
    cpu: str
    memory: str
    priority: float
    need_restart: bool
    restart_generation: int
    spawned_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    algorithms: AlgorithmStatus | None


class NewClient(Struct, frozen=True):
    """What a person gives to add a client."""

    name: str
    image: str = ""
    cpu: str = ""
    memory: str = ""
    priority: float = 1.0
    version: int = 1
    algorithms: frozenset[Algorithm] = frozenset()
    need_restart: bool = False


class ClientChanges(Struct, frozen=True):
    """What a person gives to change a client; None means: leave as it is."""

    name: str | None = None
    image: str | None = None
    cpu: str | None = None
    memory: str | None = None
    priority: float | None = None
    version: int | None = None
    need_restart: bool | None = None


class Tombstone(Struct, frozen=True):
    """What is left of a client that was deleted: its name, and the id of its row in algorithm_status if it had one."""

    name: str
    status_id: int | None = None


class Resources(NamedTuple):
    """Requests and limits of the algorithm's container, as Kubernetes spells them; "" where absent."""

    cpu_request: str = ""
    memory_request: str = ""
    cpu_limit: str = ""
    memory_limit: str = ""


NO_RESOURCES = Resources()


class ContainerState(Struct, frozen=True):
    """One container's status. `waiting` and `terminated` hold the kubelet's reason, "" when it is not in that state."""

    name: str
    ready: bool = False
    restarts: int = 0
    waiting: str = ""
    terminated: str = ""
    message: str = ""
    exit_code: int | None = None
    last_terminated: str = ""


class Environment(NamedTuple):
    """What the algorithm's container was told at its start, and nobody can edit while it runs.

    Each is None when the variable is not there, and "" when it has no literal value.
    """

    algorithm: str | None = None
    client_id: str | None = None
    spec: str | None = None


NO_ENVIRONMENT = Environment()


class ObservedPod(Struct, frozen=True, gc=False):
    """A pod as the cluster has it: what the planner and the status table need, and no more.

    `deleted_at` is the deletionTimestamp: when the pod should be gone. `controlled` tells that another
    object owns the pod. `unready` holds why the pod as a whole is not ready, whatever its containers last said; a lost
    node shows there. `unschedulable` holds the scheduler's message while the pod fits nowhere, `resize_refused` the
    kubelet's while it will not give the container other resources. `resizing` holds what the kubelet says while it has
    not given them yet ("Error" and why, when it fails), `resizing_since` since when it says so. `go_made` tells that
    the pod is as the Go service makes them: without labels and a controller, and with that one's one container.
    `changed_at` is when a condition of a pod that is not well changed last, "" of one that is.
    """

    name: str
    uid: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    image: str = ""
    resources: Resources = NO_RESOURCES
    environment: Environment = NO_ENVIRONMENT
    node: str = ""
    created_at: str = ""
    deleted_at: str | None = None
    grace_seconds: int = 30
    finalizers: tuple[str, ...] = ()
    controlled: bool = False
    unready: str = ""
    unschedulable: str = ""
    resize_refused: str = ""
    resizing: str = ""
    resizing_since: str = ""
    containers: tuple[ContainerState, ...] = ()
    go_made: bool = False
    changed_at: str = ""

    @property
    def terminating(self) -> bool:
        """Whether the pod has been told to go; its name is free only when it is gone."""
        return self.deleted_at is not None

    @property
    def finished(self) -> bool:
        """Whether the pod has ended and will never run again by itself (Failed, Succeeded, Evicted, node lost)."""
        return self.phase in ("Failed", "Succeeded") or self.phase == "Unknown" or self.reason == "NodeLost"

    @property
    def restarts(self) -> int:
        """How often its containers were restarted, in all."""
        return sum(container.restarts for container in self.containers)


class OtherPod(Struct, frozen=True, gc=False):
    """A pod that does not carry the fleet's label, by its metadata alone.

    `owner` says whose it is, in words. `plain` tells that no fleet's label and no controller say so: it may be the Go
    service's, whatever labels somebody has put on it. `lost` tells that syncctl has made it, and that it carries no
    fleet's label any more.
    """

    name: str
    owner: str
    labels: Mapping[str, str] = {}
    plain: bool = False
    lost: bool = False


class DesiredPod(Struct, frozen=True, gc=False):
    """A pod that should exist: defaults filled in, quantities in canonical form."""

    key: PodKey
    name: str
    client_name: str
    version: int
    image: str
    cpu: str
    memory: str
    priority: float
    restart_generation: int
    spec_hash: str


class InvalidClient(Struct, frozen=True):
    """A row that cannot become pods. Its pods are left as they are, and every pass reports it."""

    client_id: int
    name: str
    algorithms: AlgorithmStatus
    problems: tuple[str, ...]
