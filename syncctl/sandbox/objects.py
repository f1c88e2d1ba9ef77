"""The kinds the sandbox serves, and one stored object of them.

A `Record` never changes once it is made: whoever holds one may read it without a lock, and a page of a list is a join
of the bytes that its records already carry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec

Json = dict[str, Any]
Clock = Callable[[], float]
EventType = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object and how paths name it."""

    plural: str
    kind: str
    namespaced: bool


PODS = Resource("pods", "Pod", namespaced=True)
NAMESPACES = Resource("namespaces", "Namespace", namespaced=False)
NODES = Resource("nodes", "Node", namespaced=False)
EVENTS = Resource("events", "Event", namespaced=True)
RESOURCES = {resource.plural: resource for resource in (PODS, NAMESPACES, NODES, EVENTS)}


class Record:
    """One version of one object: its JSON as it stands in a list (no kind, no apiVersion), and what is looked up often.

    The object itself is decoded when asked for: tens of thousands of pods kept as Python objects would cost several
    times the memory, and every garbage collection would walk through them.
    """

    __slots__ = (
        "blob",
        "key",
        "labels",
        "name",
        "namespace",
        "node",
        "phase",
        "resource",
        "terminating",
        "uid",
        "version",
    )

    def __init__(self, resource: Resource, content: Json, version: int) -> None:
        metadata = content["metadata"]
        self.resource = resource
        self.version = version
        self.namespace: str = metadata.get("namespace", "")
        self.name: str = metadata["name"]
        self.uid: str = metadata["uid"]
        self.labels: dict[str, str] = metadata.get("labels") or {}
        self.key = f"{self.namespace}/{self.name}" if resource.namespaced else self.name
        self.phase: str = content.get("status", {}).get("phase", "")
        self.node: str = content["spec"].get("nodeName", "")
        self.terminating = "deletionTimestamp" in metadata
        self.blob = msgspec.json.encode(content)

    @property
    def body(self) -> bytes:
        """The object as a GET answers it."""
        return b'{"kind":"%s","apiVersion":"v1",' % self.resource.kind.encode() + self.blob[1:]

    @property
    def json(self) -> Json:
        """The whole object, freshly decoded: the caller may change it."""
        decoded: Json = msgspec.json.decode(self.body)
        return decoded

    @property
    def content(self) -> Json:
        """The object without kind and apiVersion, freshly decoded: take it once and keep it."""
        decoded: Json = msgspec.json.decode(self.blob)
        return decoded

    def at_version(self, version: int) -> "Record":
        """The same object under another resourceVersion: what a watch shows of an object that left."""
        content = self.content
        content["metadata"]["resourceVersion"] = str(version)
        return Record(self.resource, content, version)


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one object; `previous` is what it was before, None for a new one."""

    type: EventType
    record: Record
    previous: Record | None

    @property
    def version(self) -> int:
        return self.record.version


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC to the second, as Kubernetes writes times."""
    return _timestamp(int(seconds))


@lru_cache(maxsize=1024)
def _timestamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(written: str) -> float:
    """The epoch seconds of an RFC 3339 time that the sandbox wrote."""
    return datetime.fromisoformat(written).timestamp()


def copy_json(value: Json) -> Json:
    """A deep copy of plain JSON; several times faster than copy.deepcopy."""
    copied: Json = msgspec.json.decode(msgspec.json.encode(value))
    return copied
