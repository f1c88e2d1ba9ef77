"""What passes write down for those that come after them."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct


class BackOff(Struct, frozen=True):
    """How often in a row a key's pod has been replaced because it had ended, and when the next may be, at the earliest.

    `made_of` tells what those pods were made of from anything else, and `pod` is the uid of the last of them: as long
    as that one is there, its end is still to be answered. Both are "" in what an older version has stored.
    """

    failures: int
    until: datetime
    made_of: str
    pod: str


class Begun(Struct, frozen=True):
    """A replacement that some pass has begun: from when on, whether the old pod was a process that ran, and for what.

    `cause` is that of the step, `uids` are those of all pods that make way: "" and none in what an older version has
    stored.
    """

    at: datetime
    stopped: bool
    cause: str = ""
    uids: frozenset[str] = frozenset()


class Home(Struct, frozen=True):
    """Where a fleet's pods are made: the uid of the Kubernetes namespace, and its address for a person."""

    uid: str
    name: str


class GuardKind(StrEnum):
    """What the guard goes on refusing, once it has, until a pass has seen the end of it."""

    ORPHANS = "orphans"
    UNSURE = "unsure"


class Latch(Struct, frozen=True):
    """What was refused and is not settled: since when, found by whom, and for which of a shard's buckets."""

    since: datetime
    by: str
    buckets: frozenset[int]


class Allowance(NamedTuple):
    """A pod, this one and no other by its name, that a person has let pass the guard."""

    pod: str
    uid: str
