"""The objects that there are, their versions, and who is told of a change. What may change is decided elsewhere.

One lock guards it all. Every change gets the next resourceVersion of the whole store, is remembered for watches, and is
told to the listeners in order.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable

from syncctl.sandbox.objects import NAMESPACES, PODS, RESOURCES, Event, EventType, Json, Record, Resource
from syncctl.sandbox.rules.deletion import TERMINAL_PHASES, goes_now
from syncctl.sandbox.store.listing import Shelf
from syncctl.sandbox.store.watches import History

Listener = Callable[[Event], None]


class Ledger:
    """Whoever writes holds `lock`; reading a record needs no lock, because records never change."""

    def __init__(self, history_limit: int, saved: Iterable[tuple[Resource, Json]], version: int) -> None:
        self.lock = threading.RLock()
        self.version = version
        self.shelves = {resource: Shelf(resource) for resource in RESOURCES.values()}
        self.live_pods: Counter[str] = Counter()
        self._listeners: list[Listener] = []
        for resource, content in saved:
            self._restore(resource, content)
        self.history = History(self.lock, history_limit, self.version)

    def subscribe(self, listener: Listener) -> None:
        with self.lock:
            self._listeners.append(listener)

    def add(self, resource: Resource, content: Json) -> Record:
        """Store a new object."""
        with self.lock:
            return self._commit("ADDED", resource, content, None)

    def save(self, record: Record, new: Json, *, dry_run: bool = False) -> Record:
        """Store a changed object, and let it go when nothing holds it. No change is no event and no new version."""
        if dry_run:
            return Record(record.resource, new, record.version)
        if new != record.content:
            record = self._commit("MODIFIED", record.resource, new, record)
        if goes_now(new):
            record = self._commit("DELETED", record.resource, new, record)
            self.finish_namespace(record.namespace)
        return record

    def finish_namespace(self, name: str) -> None:
        """A namespace that is being deleted goes with its last pod."""
        namespace = self.shelves[NAMESPACES].get("", name)
        if namespace and namespace.terminating and not self.shelves[PODS].count(name):
            self._commit("DELETED", NAMESPACES, namespace.content, namespace)

    def _commit(self, event_type: EventType, resource: Resource, content: Json, previous: Record | None) -> Record:
        self.version += 1
        metadata = {**content["metadata"], "resourceVersion": str(self.version)}
        record = Record(resource, {**content, "metadata": metadata}, self.version)
        if event_type == "DELETED":
            self.shelves[resource].remove(record)
        else:
            self.shelves[resource].put(record)
        if resource is PODS:
            self.live_pods[record.namespace] += (event_type != "DELETED" and _lives(record)) - _lives(previous)
        event = Event(event_type, record, previous)
        self.history.append(event)
        for listener in self._listeners:
            listener(event)
        return record

    def _restore(self, resource: Resource, content: Json) -> None:
        record = Record(resource, content, int(content["metadata"]["resourceVersion"]))
        self.version = max(self.version, record.version)
        self.shelves[resource].put(record)
        if resource is PODS:
            self.live_pods[record.namespace] += _lives(record)


def _lives(record: Record | None) -> bool:
    """Whether a pod counts against a quota: it has not ended."""
    return record is not None and record.phase not in TERMINAL_PHASES
