"""What the rows ask for, worked out once more: by plain SQL and without a line of syncctl's own core."""

import re
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from syncctl.sandbox.rules.units import parse

ALGORITHMS = ("vwap", "twap", "hft")
FLEET = "syncctl.io/fleet"
CLIENT_ID = "syncctl.io/client-id"
BUCKET = "syncctl.io/bucket"
MANAGED_BY = "app.kubernetes.io/managed-by"
INSTANCE = "app.kubernetes.io/instance"
ALGORITHM = "app.kubernetes.io/name"
GENERATION = "syncctl.io/restart-generation"
REPLACED = "syncctl.io/replaced"
SPEC_HASH = "syncctl.io/spec-hash"
SPEC = "SYNCCTL_SPEC"
BUCKETS = 256
DEFAULT_IMAGE = "desk/default:1"
GOOD_IMAGES = ("desk/algo:1", "desk/algo:2", "desk/algo:3", "")
BY_HAND = "by/hand:1"
MIRROR = "mirror/"
"""What the cluster's admission puts before an image, when it does."""
BROKEN_IMAGE = "desk/broken:1"
BAD_IMAGES = ("Desk Algo", "desk/algo:", "@")
GOOD_CPU = ("250m", "0.5", "1", "")
GOOD_MEMORY = ("128Mi", "0.5Gi", "536870912", "")
BAD_CPU = ("lots", "-1")
BAD_MEMORY = ("512m", "1,5Gi")

Key = tuple[int, str]
Json = dict[str, Any]

_REVISION = re.compile(r'TEMPLATE, value: "(\d*)"')
_NEVER = datetime.min.replace(tzinfo=UTC)
_NAME = re.compile(r"(vwap|vmap|twap|hft)-([1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A pod that the rows ask for."""

    key: Key
    name: str
    client_name: str
    version: int
    image: str
    cpu: str
    memory: str
    generation: int

    def make(self, template: str) -> tuple[Any, ...]:
        """Return what a pod of this is made of, by a template of this revision; its name does not matter."""
        return self.image, _worth(self.cpu), _worth(self.memory), self.generation, template


@dataclass(frozen=True, slots=True)
class StoredBackOff:
    """A key whose pod keeps ending: until when it waits, and of which make and pod that is true."""

    failures: int
    until: datetime
    made_of: str
    pod: str

    def longest_wait(self, now: datetime) -> float:
        """Return for how many seconds from now it can keep a pod waiting."""
        return max(0.0, min((self.until - now).total_seconds(), 300.0 * 2 ** min(self.failures - 1, 6)))


@dataclass(frozen=True, slots=True)
class StoredSuspension:
    """A word to leave something alone: None for the fleet, or for all algorithms; for ever when it has no end."""

    client: int | None
    algorithm: str | None
    stops: bool
    ends_at: datetime | None


@dataclass(slots=True)
class Rows:
    """The rows at one moment, and what they mean.

    `by_status` leads from the id in a pod's name to a client: by a living row, else a tombstone, else what was taken
    out of algorithm_status when the Go service's database was adopted. `former` has the names of deleted clients by the
    ids of their rows there, `adopted` the ids that were taken out.
    """

    fleet: str = ""
    wanted: dict[Key, Wanted] = field(default_factory=dict)
    invalid: set[Key] = field(default_factory=set)
    known: dict[int, int] = field(default_factory=dict)
    clients: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    generations: dict[int, int] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    back_offs: dict[Key, StoredBackOff] = field(default_factory=dict)
    # With the uids of the pods that make way.
    begun: dict[Key, set[str]] = field(default_factory=dict)
    # Clients whose stops may pass the limit.
    allowed_stops: set[int] = field(default_factory=set)
    # Those that nobody has ended; and the moment, by the database, at which the others are over.
    suspensions: list[StoredSuspension] = field(default_factory=list)
    at: datetime = _NEVER
    by_status: dict[int, int] = field(default_factory=dict)
    former: dict[int, str] = field(default_factory=dict)
    latched: set[tuple[str, int]] = field(default_factory=set)
    adopted: dict[int, int | None] = field(default_factory=dict)
    # The revision of the fleet's pod template, and whether its settings are unset.
    template: str = ""
    unset: bool = False

    def named(self, name: str) -> Key | None:
        """Return the key that a pod's name says, None when it says none that any row knows."""
        found = _NAME.fullmatch(name)
        client = self.by_status.get(int(found[2])) if found else None
        return None if found is None or client is None else (client, "vwap" if found[1] == "vmap" else found[1])

    def _covering(self, key: Key | None) -> list[StoredSuspension]:
        return [
            one
            for one in self.suspensions
            if (one.ends_at is None or one.ends_at > self.at)
            and (one.client is None or (key is not None and one.client == key[0]))
            and (one.algorithm is None or (key is not None and one.algorithm == key[1]))
        ]

    def suspended(self, key: Key | None) -> bool:
        """Whether it is to be left alone, or to be stopped and kept stopped."""
        return bool(self._covering(key))

    def stopped(self, key: Key | None) -> bool:
        """Whether a suspension has it stopped."""
        return any(one.stops for one in self._covering(key))

    def switched_off(self, key: Key) -> bool:
        """Whether a person has said that this pod is to go."""
        if self.stopped(key):
            return True
        if key[0] in self.known:
            return key not in self.wanted and key not in self.invalid
        return key[0] not in self.clients and key[0] in self.deleted

    def orphaned(self, key: Key) -> bool:
        """Whether nobody has said anything of this pod."""
        return key[0] not in self.known and not self.switched_off(key)


def read_rows(path: str) -> Rows:
    """Read the database with nothing but sqlite3."""
    with sqlite3.connect(path) as connection:
        uuid, name, template = connection.execute("SELECT uuid, fleet_name, pod_template FROM fleet").fetchone()
        revision = _REVISION.search(template or "")
        rows = Rows(fleet=uuid, template=revision[1] if revision else "", unset=name is None)
        rows.deleted = {number for (number,) in connection.execute("SELECT client_id FROM deleted_clients")}
        rows.back_offs = {
            (client, algorithm): StoredBackOff(failures, datetime.fromisoformat(f"{until}+00:00"), made_of, pod)
            for client, algorithm, failures, until, made_of, pod in connection.execute(
                "SELECT client_id, algorithm, failures, until, made_of, pod FROM back_offs"
            )
        }
        rows.begun = {
            (client, algorithm): set(uids.split())
            for client, algorithm, uids in connection.execute(
                "SELECT client_id, algorithm, uids FROM begun_replacements"
            )
        }
        rows.suspensions = [
            StoredSuspension(
                client, algorithm, bool(stops), None if ends is None else datetime.fromisoformat(f"{ends}+00:00")
            )
            for client, algorithm, stops, ends in connection.execute(
                "SELECT client_id, algorithm, stops, ends_at FROM suspensions WHERE ended_at IS NULL"
            )
        ]
        rows.allowed_stops = {number for (number,) in connection.execute("SELECT client_id FROM allowed_stops")}
        rows.latched = set(connection.execute("SELECT kind, bucket FROM guard_latches"))
        rows.adopted = dict(connection.execute("SELECT id, client_id FROM adopted_algorithm_status"))
        tombs = connection.execute("SELECT algorithm_status_id, client_id, client_name FROM deleted_clients").fetchall()
        found = connection.execute(
            "SELECT c.id, client_name, version, image, cpu, memory, priority, need_restart, restart_generation, a.id,"
            " vwap, twap, hft FROM clients c LEFT JOIN algorithm_status a ON a.client_id = c.id ORDER BY c.id"
        ).fetchall()
    connection.close()
    rows.by_status = {number: client for number, client in rows.adopted.items() if client is not None}
    for number, client, name in tombs:
        if number is not None:
            rows.by_status[number], rows.former[number] = client, name
    for client, name, version, image, cpu, memory, priority, asked, generation, status, *flags in found:
        rows.clients.add(client)
        rows.generations[client] = generation
        if asked:
            rows.asked.add(client)
        if status is None:
            continue
        rows.known[client] = status
        rows.by_status[status] = client
        rows.former.pop(status, None)
        bad = image in BAD_IMAGES or cpu in BAD_CPU or memory in BAD_MEMORY or priority == float("inf")
        for algorithm, flag in zip(ALGORITHMS, flags, strict=True):
            key = (client, algorithm)
            if flag and bad:
                rows.invalid.add(key)
            elif flag:
                rows.wanted[key] = Wanted(
                    key,
                    f"{algorithm}-{status}",
                    name,
                    version,
                    image or DEFAULT_IMAGE,
                    cpu or "500m",
                    memory or "256Mi",
                    generation,
                )
    return rows


def key_of(labels: dict[str, str]) -> Key | None:
    """Return the key that a pod of ours names, None when it names none."""
    number, algorithm = labels.get(CLIENT_ID, ""), labels.get(ALGORITHM, "")
    if algorithm not in ALGORITHMS or not number.isdigit() or str(int(number)) != number or number == "0":
        return None
    return int(number), algorithm


def key_of_environment(pod: Json) -> Key | None:
    """Return the key that the environment of the container `algorithm` says; of a doubled variable the last counts."""
    said = environment(pod)
    return key_of({CLIENT_ID: said.get("CLIENT_ID", ""), ALGORITHM: said.get("ALGORITHM", "")})


def environment(pod: Json) -> dict[str, str]:
    """Return the plain variables of the container `algorithm`."""
    return {one["name"]: one.get("value", "") for one in _own(pod).get("env") or ()}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a pod of ours says of itself where nobody can edit it while it runs, and what its labels claim."""

    by_name: Key | None
    by_environment: Key | None
    by_labels: Key | None

    @property
    def disagrees(self) -> bool:
        """Whether name and environment say different things."""
        return None not in (self.by_name, self.by_environment) and self.by_name != self.by_environment

    @property
    def agrees(self) -> bool:
        """Whether both say the same: what rests on that is as sure as can be."""
        return self.by_name is not None and self.by_name == self.by_environment

    @property
    def key(self) -> Key | None:
        """The one key that it says, None when it says none, or two."""
        return None if self.disagrees else self.by_name or self.by_environment

    @property
    def claims(self) -> set[Key]:
        """The keys of which no pod is to be made beside it."""
        said = [one for one in (self.by_name, self.by_environment) if one is not None]
        return set(said) or {one for one in (self.by_labels,) if one is not None}


def bucket_of(labels: dict[str, str]) -> int | None:
    """Return the bucket on a pod's label, None when it is none of them."""
    text = labels.get(BUCKET, "")
    return int(text) if text.isdigit() and str(int(text)) == text and int(text) < BUCKETS else None


def go_service_names(wanted_name: str) -> tuple[str, ...]:
    """Return the names under which the Go service may run the same thing."""
    algorithm, number = wanted_name.split("-")
    return (wanted_name, f"vmap-{number}") if algorithm == "vwap" else (wanted_name,)


def template_of(pod: Json) -> str:
    """Return the revision of the template that a pod was made by: each sets an environment variable of its own."""
    return next((one["value"] for one in _own(pod).get("env", ()) if one["name"] == "TEMPLATE"), "")


def same_image(wanted: Wanted, pod: Json) -> bool:
    """Whether the live image is the wanted one, or what admission makes of that."""
    return image_of(pod).removeprefix(MIRROR) == wanted.image


def image_of(pod: Json) -> str:
    """Return the live image."""
    return str(_own(pod).get("image", ""))


def same_resources(wanted: Wanted, pod: Json) -> bool:
    """Whether the live requests and limits are worth as much as the wanted ones."""
    amounts = _own(pod).get("resources", {})
    return all(
        _worth(amounts.get(part, {}).get(kind, "0")) == _worth(value)
        for part in ("requests", "limits")
        for kind, value in (("cpu", wanted.cpu), ("memory", wanted.memory))
    )


def _own(pod: Json) -> Json:
    found: Json = next((one for one in pod["spec"]["containers"] if one["name"] == "algorithm"), {})
    return found


@lru_cache(maxsize=256)
def _worth(quantity: str) -> Any:
    return parse(quantity)
