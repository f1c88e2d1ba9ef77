"""What a pass reads of the database."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from syncctl.core.fleet import FleetSettings
from syncctl.core.memory import Allowance, BackOff, Begun, GuardKind, Home, Latch
from syncctl.core.model import Client, PodKey, Tombstone
from syncctl.core.suspensions import NO_SUSPENSIONS, Suspensions


class Snapshot(Struct, frozen=True):
    """The database at one moment, `now` by its own clock: the whole fleet, or an error, never a part of it.

    `deleted` holds the tombstones of clients deleted through syncctl, by the client's id. A client that is in neither
    has vanished, and its pods are orphans. `adopted` holds, by its id, whose each row of algorithm_status was that
    adopting the Go service's database has taken out, and `elsewhere` whose each living row is that a pass over a shard
    does not read: both ids are in names of pods. `begun` holds the replacements that no pass has seen through yet.
    `home` is None until a pass has made pods or found some. `go_service` tells of an adopted fleet that the Go service
    may still be at work in it. `latches` holds what the guard refuses until further notice, `allowances` what a person
    has let pass it and no pass has done yet.
    `settings` are the fleet's own, None as long as nobody has set them since an upgrade. `suspensions` are all that are
    in force at that moment, those of other shards too. `allowed_stops` are the clients whose stops a person has let
    pass switch_off_limit, each with what tells that word from a later one.
    """

    fleet: str
    clients: tuple[Client, ...]
    deleted: Mapping[int, Tombstone]
    now: datetime
    back_offs: Mapping[PodKey, BackOff] = {}
    begun: Mapping[PodKey, Begun] = {}
    home: Home | None = None
    adopted: Mapping[int, int | None] = {}
    elsewhere: Mapping[int, int] = {}
    go_service: bool = False
    latches: Mapping[GuardKind, Latch] = {}
    allowances: frozenset[Allowance] = frozenset()
    settings: FleetSettings | None = None
    suspensions: Suspensions = NO_SUSPENSIONS
    allowed_stops: Mapping[int, str] = {}
