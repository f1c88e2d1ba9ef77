"""The pods that were told to go for new ones, and when they are looked at: all of them together."""

from collections.abc import Iterable, Iterator

from syncctl.core import names
from syncctl.core.model import ObservedPod, PodKey
from syncctl.core.steps import Step
from syncctl.operations.parts import Item

GRACE_MARGIN = 10.0
"""Seconds beyond its grace that a pass waits for a pod to be gone."""
FIRST_LOOK = 0.1
LONGEST_LOOK = 2.0
"""Seconds between two looks at what is terminating."""
CLIENTS_A_LOOK = 100
"""Clients in one label selector: about a kilobyte of URL."""


class Leaving:
    """What waits for its old pod to be gone. A look may take several lists; all moments are by one clock."""

    def __init__(self) -> None:
        self._items: dict[PodKey | None, Item] = {}
        self._lists = 0
        self._pause = FIRST_LOOK
        self._wish = 0.0
        self._not_before = 0.0
        self.look_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._items)

    def begin(self, item: Item, now: float) -> None:
        """Wait for a pod that was told to go at this moment."""
        item.until = now + item.step.pod.grace_seconds + GRACE_MARGIN
        self.go_on(item)
        self.look_soon(now)

    def go_on(self, item: Item) -> None:
        """Wait again for a pod that is still there, against all signs."""
        self._items[item.step.key] = item

    def look_soon(self, now: float) -> None:
        """Let the next look come soon: something has moved."""
        self._pause = FIRST_LOOK
        self.look_at = max(min(self.look_at, now + FIRST_LOOK), self._not_before)

    def lists_due(self, now: float, *, at_once: bool) -> Iterator[list[int]]:
        """Yield the clients of each list of the next look, when its time has come and the last one has ended."""
        if self._lists or not self._items or not (at_once or now >= self.look_at):
            return
        clients = sorted({key.client_id for key in self._items if key})
        for start in range(0, len(clients), CLIENTS_A_LOOK):
            self._lists += 1
            yield clients[start : start + CLIENTS_A_LOOK]

    @property
    def steps(self) -> list[Step]:
        """The steps of all that wait."""
        return [item.step for item in self._items.values()]

    def take(self, step: Step) -> Item:
        """Take one that is not waited for any longer."""
        return self._items.pop(step.key)

    def unheard(self, now: float, wish: float) -> None:
        """Hear that a list has failed, and for how many seconds the server wishes that nobody looks."""
        self._wish = max(self._wish, wish)
        self._end_list(now)

    def heard(self, clients: Iterable[int], pods: list[ObservedPod], now: float) -> list[Item]:
        """Hear of a list and return what waits no longer, as far as the list tells."""
        self._end_list(now)
        keys, uids, asked = {names.pod_key(pod.labels) for pod in pods}, {pod.uid for pod in pods}, set(clients)
        gone = [
            key
            for key, item in self._items.items()
            if key and key.client_id in asked and key not in keys and uids.isdisjoint(pod.uid for pod in item.claims)
        ]
        return [self._items.pop(key) for key in gone]

    def _end_list(self, now: float) -> None:
        self._lists -= 1
        if not self._lists:
            self._not_before = now + self._wish
            self.look_at = max(now + self._pause, self._not_before)
            self._pause, self._wish = min(LONGEST_LOOK, self._pause * 1.5), 0.0

    @property
    def is_looked_at(self) -> bool:
        """Whether a look is under way."""
        return self._lists > 0

    def take_late(self, now: float) -> list[Item]:
        """Take what has waited for long enough."""
        return [self._items.pop(key) for key, item in list(self._items.items()) if now >= item.until]

    def take_all(self) -> list[Item]:
        """Take everything."""
        items = list(self._items.values())
        self._items.clear()
        return items
