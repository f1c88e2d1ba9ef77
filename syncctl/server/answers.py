"""What is answered, with the Go service's JSON names. What goes wrong is a Problem."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator

from syncctl.core.documents import algorithms_document, client_document
from syncctl.core.model import Client
from syncctl.core.plan_documents import status_document
from syncctl.core.status import StatusRow
from syncctl.operations.status import Status
from syncctl.server.models import for_each_algorithm


# Nothing is on when the row has vanished that says what is.
@for_each_algorithm(Annotated[bool, BeforeValidator(bool)])
class ClientAlgorithms(BaseModel):
    """Which algorithms a client has switched on. Its pods are named by algorithm_id: vwap-7."""

    algorithm_id: int | None
    client_id: int

    @classmethod
    def of(cls, client: Client) -> "ClientAlgorithms":
        """Show a client's algorithms."""
        return cls.model_validate(algorithms_document(client))


@for_each_algorithm(bool)
class SwitchedOn(BaseModel):
    """Which algorithms are on."""


class ClientShown(BaseModel):
    """A client. Times are RFC 3339 in UTC; spawned_at is null until a pass has made a pod.

    created_at and updated_at are null where the row has none, as those have that the Go service writes.
    """

    id: int
    client_name: str
    version: int
    image: str
    cpu: str
    memory: str
    priority: float | None
    needRestart: bool  # noqa: N815 - the Go service's name
    restart_generation: int
    algorithms: SwitchedOn
    spawned_at: str | None
    created_at: str | None
    updated_at: str | None

    @classmethod
    def of(cls, client: Client) -> "ClientShown":
        """Show a client."""
        return cls.model_validate(client_document(client))


class ClientPage(BaseModel):
    """Some clients by id. `next` is where the others are, null on the last page."""

    items: list[ClientShown]
    next: str | None


class AlgorithmsPage(BaseModel):
    """The algorithms of some clients by client id. `next` is where the others are, null on the last page."""

    items: list[ClientAlgorithms]
    next: str | None


class DesiredShown(BaseModel):
    """The pod as the database asks for it."""

    image: str
    cpu: str
    memory: str


class ObservedShown(BaseModel):
    """The pod as the cluster has it."""

    uid: str
    phase: str
    node: str
    image: str
    restarts: int
    created_at: str


class HealthShown(BaseModel):
    """How a pod is, in one of five words and as a code, and why."""

    status: Literal["healthy", "progressing", "stopped", "degraded", "missing"]
    code: str
    message: str


class HeldShown(BaseModel):
    """Why a pass would not do it now."""

    kind: str
    why: str


class DriftShown(BaseModel):
    """What the next pass would do about it. `unsure` says what a step rests on that is no person's word."""

    step: str
    cause: str
    reason: str
    unsure: str
    held: HeldShown | None


class SuspensionShown(BaseModel):
    """Who wants it left alone, or stopped, until when and why. `ends_at` is null when only somebody ends it."""

    id: int
    client_id: int | None
    client_name: str | None
    algorithm: str | None
    stops: bool
    reason: str
    started_at: str
    started_by: str
    ends_at: str | None
    ended_at: str | None
    ended_by: str | None
    end_reason: str | None


class PodStatus(BaseModel):
    """Desired beside observed, of one algorithm of a client. `drift` is null when the two agree."""

    client_id: int | None
    client_name: str
    algorithm: str | None
    desired: DesiredShown | None
    pod: str
    observed: ObservedShown | None
    sync: Literal["in sync", "out of sync", "suspended", "held", "unknown"]
    suspension: SuspensionShown | None
    health: HealthShown
    drift: DriftShown | None

    @classmethod
    def of(cls, row: StatusRow) -> "PodStatus":
        """Show one row."""
        return cls.model_validate(status_document(row))


class FleetStatus(BaseModel):
    """All pods, of one moment. `cluster` says which cluster and namespace."""

    cluster: str
    items: list[PodStatus]

    @classmethod
    def of(cls, status: Status) -> "FleetStatus":
        """Show what was found."""
        return cls(cluster=status.cluster, items=[PodStatus.of(row) for row in status.rows])


class Alive(BaseModel):
    """It works."""

    status: str = "ok"


class Fault(BaseModel):
    """One thing that is wrong, and where: a JSON pointer into the body, or a parameter's name."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(BaseModel):
    """What went wrong (RFC 9457). `type` is for programs, the rest for people; `errors` names all that is wrong."""

    type: str
    title: str
    status: int
    detail: str
    hint: str | None = None
    errors: list[Fault] | None = None
