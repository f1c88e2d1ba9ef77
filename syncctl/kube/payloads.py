"""The fields of the API's JSON that are needed, as structs: what is not named here is skipped while parsing."""

import msgspec


class Struct(msgspec.Struct, gc=False, rename="camel"):
    """Fields as the API spells them; unknown ones are skipped while parsing."""


class OwnerReference(Struct):
    kind: str = ""


class Metadata(Struct):
    name: str
    uid: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    finalizers: list[str] | None = None
    owner_references: list[OwnerReference] | None = None


class ContainerResources(Struct):
    requests: dict[str, str] | None = None
    limits: dict[str, str] | None = None


class Variable(Struct):
    name: str
    value: str = ""


class Container(Struct):
    name: str
    image: str = ""
    resources: ContainerResources | None = None
    env: list[Variable] | None = None


class Spec(Struct):
    containers: list[Container] | None = None
    node_name: str = ""
    termination_grace_period_seconds: int | None = None


class Waiting(Struct):
    reason: str = ""
    message: str = ""


class Terminated(Struct):
    reason: str = ""
    message: str = ""
    exit_code: int | None = None


class State(Struct):
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(Struct):
    name: str
    ready: bool = False
    restart_count: int = 0
    state: State | None = None
    last_state: State | None = None


class Condition(Struct):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class PodStatus(Struct):
    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    container_statuses: list[ContainerStatus] | None = None


class PodJson(Struct):
    metadata: Metadata
    spec: Spec = msgspec.field(default_factory=Spec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class ListMetadata(msgspec.Struct):
    continue_: str = msgspec.field(name="continue", default="")


class PodList(Struct):
    metadata: ListMetadata
    items: list[PodJson] | None = None


class MetadataOnly(Struct):
    metadata: Metadata


class MetadataList(Struct):
    metadata: ListMetadata
    items: list[MetadataOnly] | None = None


class Cause(Struct):
    field: str = ""
    message: str = ""


class Details(Struct):
    causes: list[Cause] | None = None


class ApiStatus(Struct):
    """The API server's own description of a failure."""

    kind: str = ""
    message: str = ""
    reason: str = ""
    details: Details | None = None
