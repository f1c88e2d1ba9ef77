"""What is to be done to pods: the values that a plan is made of. Pure."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from syncctl.core import names
from syncctl.core.manifest import Blueprint
from syncctl.core.memory import Begun
from syncctl.core.model import DesiredPod, ObservedPod, PodKey


class StepKind(StrEnum):
    """What is to be done, in the order a plan shows it."""

    DELETE = "delete"
    REPLACE = "replace"
    CREATE = "create"
    UPDATE = "update"
    WAIT = "wait"
    CONFLICT = "conflict"
    KEEP = "keep"


ACTING = frozenset({StepKind.DELETE, StepKind.REPLACE, StepKind.CREATE, StepKind.UPDATE})
"""The kinds that write to the cluster; of the others there is nothing to hold back."""


class Cause(StrEnum):
    """Why: the row of the planner's table."""

    MISSING = "missing"
    REPLACEMENT_BEGUN = "replacement-begun"
    NAME_TAKEN = "name-taken"
    CLIENT_BACK = "client-back"
    TERMINATING = "terminating"
    STUCK = "stuck"
    FINISHED = "finished"
    IN_SYNC = "in-sync"
    METADATA_DIFFERS = "metadata-differs"
    RESTART_ASKED = "restart-asked"
    IMAGE_DIFFERS = "image-differs"
    RESOURCES_DIFFER = "resources-differ"
    RESIZE_REFUSED = "resize-refused"
    RESIZING = "resizing"
    SPEC_DIFFERS = "spec-differs"
    MISNAMED = "misnamed"
    ADOPTED = "adopted"
    DUPLICATE = "duplicate"
    SWITCHED_OFF = "switched-off"
    CLIENT_DELETED = "client-deleted"
    STOPPED = "stopped"
    ORPHAN = "orphan"
    CLIENT_INVALID = "client-invalid"
    CLAIMED = "claimed"
    IDS_MOVED = "ids-moved"
    UNIDENTIFIED = "unidentified"
    UNREADABLE_SPEC = "unreadable-spec"
    BUCKET_DIFFERS = "bucket-differs"
    FLEET_LABEL_LOST = "fleet-label-lost"
    GO_SERVICE = "go-service"


class HoldKind(StrEnum):
    """Why a step is not carried out in this pass."""

    REFUSED = "refused"
    DEFERRED = "deferred"
    SUSPENDED = "suspended"
    BACK_OFF = "back-off"
    HALTED = "halted"


class Hold(Struct, frozen=True):
    """A step's stay.

    Refused until a person allows it, deferred to a later pass, left alone for as long as a person said, backing off for
    so long that nothing spins, or halted until a person mends it.
    """

    kind: HoldKind
    why: str


class Step(Struct, frozen=True, gc=False):
    """One thing to do, or to leave, with its reason in words for a person.

    `key` is None only for a pod of ours that nothing ties to a client. `observed` is None when there is no pod yet,
    `desired` when there should be none; `client` names the client of a row that cannot become a desired pod. A step
    that is `held` is shown and not carried out. `unsure` says why a step that ends a process is not surely what a
    person has asked for: it rests on what may have been edited, or on one thing alone. "" when it is.
    """

    kind: StepKind
    cause: Cause
    name: str
    key: PodKey | None
    reason: str
    desired: DesiredPod | None = None
    observed: ObservedPod | None = None
    held: Hold | None = None
    client: str = ""
    unsure: str = ""

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
    def is_drift(self) -> bool:
        """Whether desired and observed differ."""
        return self.cause is not Cause.IN_SYNC

    @property
    def explanation(self) -> str:
        """The reason, with what it rests on and why the step is held, if it is."""
        reason = f"{self.reason}; {self.unsure}" if self.unsure else self.reason
        return f"{reason} ({self.held.kind}: {self.held.why})" if self.held else reason

    @property
    def may_make_pod(self) -> bool:
        """Whether a pod may come of it. A resize that is refused becomes a replacement."""
        return self.kind in (StepKind.CREATE, StepKind.REPLACE) or self.cause is Cause.RESOURCES_DIFFER

    @property
    def is_suspended(self) -> bool:
        """Whether a suspension keeps it from being carried out."""
        return self.held is not None and self.held.kind is HoldKind.SUSPENDED

    @property
    def is_down(self) -> bool:
        """Whether it would bring back what does not run, and is suspended; what a suspension stops is not down."""
        gone = self.observed is None or self.observed.finished
        return self.is_suspended and gone and self.desired is not None and self.cause is not Cause.STOPPED

    @property
    def only_rewritten(self) -> bool:
        """Whether a pod is replaced for no more than its image or resources, which admission may have made so."""
        wanted = self.desired.spec_hash if self.desired else ""
        by_fields = self.cause in (Cause.IMAGE_DIFFERS, Cause.RESOURCES_DIFFER, Cause.SPEC_DIFFERS)
        return by_fields and self.observed is not None and self.observed.environment.spec == wanted

    @property
    def stops_process(self) -> bool:
        """Whether it ends a process that runs, for something new. A resize may fall back to a replacement."""
        if self.kind is StepKind.REPLACE:
            return self.cause is not Cause.FINISHED
        return self.kind is StepKind.UPDATE and self.cause in (Cause.IMAGE_DIFFERS, Cause.RESOURCES_DIFFER)

    def set_aside(self, kind: StepKind, cause: Cause, reason: str) -> "Step":
        """Return the step as one that does nothing: it ends no process, so there is nothing to be unsure of."""
        return replace(self, kind=kind, cause=cause, reason=reason, unsure="")

    @property
    def client_name(self) -> str:
        """The client's name as the row has it, else as the pod remembers it, else ""."""
        if self.client:
            return self.client
        if self.desired:
            return self.desired.client_name
        return self.observed.annotations.get(names.CLIENT_NAME, "") if self.observed else ""


class Plan(Struct, frozen=True):
    """Every (client, algorithm) that is desired or observed, accounted for once, sorted.

    `matches` are the pods that are just as the database asks, nearly all of them in nearly all passes: nothing is done
    to these, held or told. `drifted` is all the rest, and what a pass does to its plan it does to that. `away` are the
    replacements that earlier passes have begun, of pods that are still asked for and not back. `claims` are the pods of
    each key that all have to be gone before a new one is made in their place. `unclaimed` names pods that look like the
    Go service's and that no row claims. `guests` are the uids of pods that another shard lists, and counts.
    """

    drifted: tuple[Step, ...]
    matches: tuple[tuple[DesiredPod, ObservedPod], ...]
    blueprint: Blueprint
    away: Mapping[PodKey, Begun] = {}
    claims: Mapping[PodKey, tuple[ObservedPod, ...]] = {}
    unclaimed: tuple[str, ...] = ()
    guests: frozenset[str] = frozenset()

    @property
    def in_sync(self) -> tuple[Step, ...]:
        """The keep steps of the matches; made when somebody asks for them."""
        return tuple(
            Step(StepKind.KEEP, Cause.IN_SYNC, pod.name, wanted.key, "in sync", wanted, pod)
            for wanted, pod in self.matches
        )

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them."""
        return self.drifted + self.in_sync

    def count(self, kind: StepKind) -> int:
        """Return how many steps there are of a kind."""
        return self.counts()[kind]

    def counts(self) -> dict[StepKind, int]:
        """Return how many steps there are of each kind; they add up to the number of steps."""
        found = Counter(step.kind for step in self.drifted)
        found[StepKind.KEEP] += len(self.matches)
        return {kind: found[kind] for kind in StepKind}

    @property
    def live(self) -> int:
        """How many pods have not been told to go: of the fleet, or of the shard, for each counts its own."""
        seen = (step.observed for step in self.drifted if step.observed is not None)
        return sum(not pod.terminating and pod.uid not in self.guests for pod in seen) + len(self.matches)

    def holding(self, holds: Mapping[str, Hold]) -> "Plan":
        """Return the plan with what is to be done to these pods held; what is held already stays as it is.

        A name may occur twice: one pod has to go from it before another one comes. Only the first has something to do.
        """
        if not holds:
            return self

        def held(step: Step) -> Step:
            free = step.kind in ACTING and step.held is None
            return replace(step, held=holds[step.name]) if free and step.name in holds else step

        return replace(self, drifted=tuple(map(held, self.drifted)))
