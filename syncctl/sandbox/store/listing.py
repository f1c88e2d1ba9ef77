"""Lists in pages over one stable snapshot.

The first page takes the snapshot: a list of references to records, which never change. Later pages find it by the
resourceVersion in their token, so objects changed or deleted since are served as they were.
"""

import base64
from bisect import bisect_left
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from syncctl.sandbox.objects import Clock, Record, Resource
from syncctl.sandbox.refusals import bad_request, expired
from syncctl.sandbox.store.selectors import Selection

TOKEN_SECONDS = 300.0
_SNAPSHOTS = 8  # as many lists may be paged through at once, each beginning at a version of its own
_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 - a version, not a secret
_EXPIRED_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The query parameters of a list."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page; `remaining` is None when it is not known (with selectors) or nothing remains."""

    records: list[Record]
    version: int
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All objects of one kind (in one namespace, or everywhere) in key order, as they were at `version`."""

    version: int
    taken_at: float
    records: list[Record]


class Shelf:
    """The current records of one kind. Key order is computed when a list asks and kept until a key comes or goes."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self._namespaces: dict[str, dict[str, Record]] = {}
        self._sorted: dict[str, list[str]] = {}

    def get(self, namespace: str, name: str) -> Record | None:
        return self._namespaces.get(namespace, {}).get(name)

    def put(self, record: Record) -> None:
        shelf = self._namespaces.setdefault(record.namespace, {})
        if record.name not in shelf:
            self._sorted.pop(record.namespace, None)
        shelf[record.name] = record

    def remove(self, record: Record) -> None:
        del self._namespaces[record.namespace][record.name]
        self._sorted.pop(record.namespace, None)

    def count(self, namespace: str) -> int:
        return len(self._namespaces.get(namespace, ()))

    def ordered(self, namespace: str = "") -> list[Record]:
        """By key; everywhere when no namespace is given."""
        if not namespace and self.resource.namespaced:
            names = sorted(self._namespaces, key=lambda one: f"{one}/")
            return [record for one in names for record in self._ordered_in(one)]
        return self._ordered_in(namespace)

    def _ordered_in(self, namespace: str) -> list[Record]:
        records = self._namespaces.get(namespace, {})
        names = self._sorted.get(namespace)
        if names is None:
            names = self._sorted[namespace] = sorted(records)
        return [records[name] for name in names]


class Pager:
    """Hands out pages and remembers the snapshots that unexpired tokens refer to; the oldest go first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._snapshots: dict[tuple[str, str, int], Snapshot] = {}

    def forget(self) -> None:
        """Drop every snapshot: all tokens handed out so far have expired."""
        self._snapshots.clear()

    def page(self, shelf: Shelf, namespace: str, version: int, selection: Selection, options: ListOptions) -> Page:
        where = (shelf.resource.plural, namespace)
        start = ""
        if options.continue_token:
            token_version, start = decode_token(options.continue_token)
            if options.resource_version not in {"", "0"}:
                raise bad_request("specifying resource version is not allowed when using continue")
            snapshot = (
                self._snapshot(shelf, namespace, version) if token_version < 0 else self._find(*where, token_version)
            )
            if snapshot is None:
                raise expired(_EXPIRED_CONTINUE, encode_token(-1, start))
        else:
            snapshot = self._snapshot(shelf, namespace, version)
        page, next_index = _choose(snapshot, start, selection, options.limit)
        if next_index is None:
            return Page(page, snapshot.version)
        self._keep(*where, snapshot)
        token = encode_token(snapshot.version, f"{snapshot.records[next_index - 1].key}\0")
        remaining = None if selection else len(snapshot.records) - next_index
        return Page(page, snapshot.version, token, remaining)

    def _snapshot(self, shelf: Shelf, namespace: str, version: int) -> Snapshot:
        known = self._find(shelf.resource.plural, namespace, version)
        return known or Snapshot(version, self._clock(), shelf.ordered(namespace))

    def _find(self, plural: str, namespace: str, version: int) -> Snapshot | None:
        snapshot = self._snapshots.get((plural, namespace, version))
        if snapshot is None or self._clock() - snapshot.taken_at > TOKEN_SECONDS:
            return None
        return snapshot

    def _keep(self, plural: str, namespace: str, snapshot: Snapshot) -> None:
        self._snapshots[plural, namespace, snapshot.version] = snapshot
        while len(self._snapshots) > _SNAPSHOTS:
            del self._snapshots[next(iter(self._snapshots))]


def _choose(snapshot: Snapshot, start: str, selection: Selection, limit: int) -> tuple[list[Record], int | None]:
    """The records of one page, and where the next one begins; None when nothing more is selected."""
    records = snapshot.records
    first = bisect_left(records, start, key=lambda record: record.key) if start else 0
    if not selection:
        end = first + limit if limit else len(records)
        return records[first:end], end if end < len(records) else None
    chosen: list[Record] = []
    for index in range(first, len(records)):
        if selection.matches(records[index]):
            if limit and len(chosen) == limit:
                return chosen, index
            chosen.append(records[index])
    return chosen, None


def encode_token(version: int, start: str) -> str:
    written = msgspec.json.encode({"v": _TOKEN_VERSION, "rv": version, "start": start})
    return base64.urlsafe_b64encode(written).decode().rstrip("=")


def decode_token(token: str) -> tuple[int, str]:
    """The snapshot's version (-1: the current state) and the key to go on from. Raises ApiError 400."""
    try:
        written = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        content = msgspec.json.decode(written)
        version, start = content["rv"], content["start"]
    except (msgspec.DecodeError, UnicodeDecodeError):
        character = ascii(chr(written[0])) if written else "''"
        _refuse(f"continue key is not valid: invalid character {character} looking for beginning of value")
    except (ValueError, KeyError, TypeError) as error:
        _refuse(f"continue key is not valid: {error}")
    if not isinstance(version, int) or version == 0:
        _refuse("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not isinstance(start, str) or not start:
        _refuse("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)")
    return version, start


def _refuse(why: str) -> NoReturn:
    raise bad_request(f"invalid continue token: {why}")


def version_number(text: str) -> int:
    """A resourceVersion that a client sent; 0 for none. Raises ApiError 400."""
    if text and not text.isdecimal():
        raise bad_request(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text or 0)
