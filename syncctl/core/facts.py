"""What a plan is judged by, and what a hold says of it: the values of core/judge.py and core/holds/."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from syncctl.core.fleet import Claim, FleetSettings
from syncctl.core.memory import Allowance, BackOff, Begun, GuardKind, Home, Latch
from syncctl.core.model import PodKey
from syncctl.core.shard import WHOLE, Shard
from syncctl.core.steps import Hold, Plan, Step
from syncctl.core.suspensions import NO_SUSPENSIONS, Suspensions


class Policy(StrEnum):
    """What a run may do at all."""

    SYNC = "sync"
    UPSERT_ONLY = "upsert-only"
    CREATE_ONLY = "create-only"


class Counts(Struct, frozen=True):
    """What the other shards of a fleet have seen lately: pods that live, and orphans among them."""

    live: int = 0
    orphans: int = 0


NOBODY_ELSE = Counts()


class Rules(Struct, frozen=True, kw_only=True):
    """How much may be done in one pass, and what a person has said of this run.

    The limits are the fleet's settings of these names. `allow_deletions` is how many guarded deletions a person allows;
    None for as many as the limits do. `allow_pods` names pods that the guard is to let pass. `move_here` makes the
    place that the plan is for the fleet's home, wherever that was.
    """

    orphan_limit: int
    orphan_percent: float
    switch_off_limit: int
    replace_percent: float
    halt_percent: float
    policy: Policy = Policy.SYNC
    allow_deletions: int | None = None
    allow_pods: frozenset[str] = frozenset()
    move_here: bool = False


class Facts(Struct, frozen=True, kw_only=True):
    """What is known beside the plan. It stays in memory for as long as the pass goes on, so no clients are in it.

    `home` and the seven after it are what earlier passes have left to be known, see Snapshot; `read_at` is when that
    was read, by the database's clock, and `now` the moment that pods are judged at. `cluster` says which cluster and
    namespace the plan is for, `namespace` the latter alone, `here` is the same as a fleet's home; None when nobody has
    asked, or may know. `elsewhere` is what the other shards have counted. `settings` are the fleet's own, None while
    they are unset, and `claims` what this process's environment or config file says of them all the same. `vanished`
    says how the rows of this plan's orphans went, by the change log: "" when there are none, or it does not know.
    """

    read_at: datetime
    now: datetime
    cluster: str
    namespace: str = ""
    shard: Shard = WHOLE
    home: Home | None = None
    go_service: bool = False
    back_offs: Mapping[PodKey, BackOff] = {}
    begun: Mapping[PodKey, Begun] = {}
    suspensions: Suspensions = NO_SUSPENSIONS
    latches: Mapping[GuardKind, Latch] = {}
    allowances: frozenset[Allowance] = frozenset()
    allowed_stops: Mapping[int, str] = {}
    here: Home | None = None
    elsewhere: Counts = NOBODY_ELSE
    settings: FleetSettings | None = None
    claims: Mapping[str, Claim] = {}
    vanished: str = ""


class Refusal(Struct, frozen=True):
    """A group of steps that is not carried out: what, measured, allowed; and the way through."""

    message: str
    hint: str


class Notes(Struct, frozen=True):
    """What is to be written down before anything is done.

    `refused` are the kinds that the guard refuses, `allowed` the steps that a person has let through just now,
    `back_offs` those that have changed (None: the key has recovered), `new_home` where the fleet is from now on.
    """

    refused: frozenset[GuardKind] = frozenset()
    allowed: tuple[Step, ...] = ()
    back_offs: Mapping[PodKey, BackOff | None] = {}
    new_home: Home | None = None

    def __add__(self, other: "Notes") -> "Notes":
        return Notes(
            self.refused | other.refused,
            self.allowed + other.allowed,
            {**self.back_offs, **other.back_offs},
            other.new_home or self.new_home,
        )


class Held(Struct, frozen=True):
    """What a hold says of a plan: which steps are not carried out, by the pod's name, and why; who is to hear of it."""

    holds: Mapping[str, Hold] = {}
    refusals: tuple[Refusal, ...] = ()
    notes: Notes = Notes()


HoldRule = Callable[[Plan, Facts, Rules], Held]
"""The signature of every hold. What the plan has held already is not held, refused or counted once more."""
