"""The last changes of the store, for watches. Bounded: whoever falls further behind gets 410 and lists again."""

import threading
from bisect import bisect_right

from syncctl.sandbox.objects import Event, Record, Resource
from syncctl.sandbox.refusals import expired, too_large_version
from syncctl.sandbox.store.selectors import Selection


class History:
    """Events in the order of their resourceVersion. The store's lock guards it; `changed` wakes the watches."""

    def __init__(self, lock: threading.RLock, limit: int, version: int) -> None:
        self.changed = threading.Condition(lock)
        self._limit = limit
        self._events: list[Event] = []
        self._dropped = 0
        self._oldest_version = version

    def append(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) >= 2 * self._limit:
            self.forget(keep=self._limit)
        self.changed.notify_all()

    def forget(self, keep: int = 0) -> None:
        """Drop all but the newest events, as etcd compaction does."""
        cut = len(self._events) - keep
        if cut > 0:
            self._oldest_version = self._events[cut - 1].version
            self._dropped += cut
            del self._events[:cut]

    @property
    def end(self) -> int:
        """The place of the next event."""
        return self._dropped + len(self._events)

    def place_after(self, version: int, current: int) -> int:
        """Where a watch begins that has seen everything up to this version. Raises ApiError 410 or 504."""
        if version > current:
            raise too_large_version(version, current)
        if version < self._oldest_version:
            raise expired(f"too old resource version: {version} ({self._oldest_version})")
        return self._dropped + bisect_right(self._events, version, key=lambda event: event.version)

    def since(self, place: int) -> list[Event]:
        """The events from this place on. Raises ApiError 410 when some of them are no longer known."""
        if place < self._dropped:
            raise expired(f"too old resource version: ({self._oldest_version})")
        return self._events[place - self._dropped :]


class Watch:
    """One watch: what it is to send next. `initial` are the objects that exist already, sent as ADDED first."""

    def __init__(
        self,
        history: History,
        resource: Resource,
        namespace: str,
        selection: Selection,
        place: int,
        initial: list[Record],
    ) -> None:
        self._history = history
        self._resource = resource
        self._namespace = namespace
        self._selection = selection
        self._place = place
        self._initial = initial
        self.version = 0

    def poll(self, timeout: float = 0.0) -> list[tuple[str, Record]]:
        """The next events as (type, object), waiting up to `timeout` seconds of real time for the first.

        Raises ApiError 410 when the watch fell behind what the store remembers.
        """
        if self._initial:
            events, self._initial = [("ADDED", record) for record in self._initial], []
            return events
        with self._history.changed:
            if timeout and self._place == self._history.end:
                self._history.changed.wait(timeout)
            events_since = self._history.since(self._place)
            self._place = self._history.end
        if events_since:
            self.version = events_since[-1].version
        shown = (self._shown(event) for event in events_since)
        return [one for one in shown if one is not None]

    def _shown(self, event: Event) -> tuple[str, Record] | None:
        record, previous = event.record, event.previous
        if record.resource is not self._resource or (self._namespace and record.namespace != self._namespace):
            return None
        before = previous is not None and self._selection.matches(previous)
        if event.type == "DELETED":
            return ("DELETED", record) if before else None
        after = self._selection.matches(record)
        if after:
            return ("MODIFIED" if before else "ADDED", record)
        if before and previous is not None:
            return "DELETED", previous.at_version(record.version)
        return None
