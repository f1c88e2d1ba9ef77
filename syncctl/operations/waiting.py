"""Where pods to be made wait for their next part, and until when."""

import heapq
import math
from collections import deque
from enum import Enum
from itertools import count, islice

from syncctl.core.steps import Step
from syncctl.operations.parts import Item


class Place(Enum):
    """What they wait for, in the order it comes."""

    FRESH = "to be made, for its old pod is gone"
    GONE = "its old pod is gone, as far as a list tells"
    AGAIN = "to be made, and it was refused"
    MISSING = "to be made, and there was none"
    END = "its old pod is to be told to go"
    TIGHT = "the same, and the quota has no room for both"
    ASK = "it is to be asked whether it would be taken"


SUCCESSORS = (Place.FRESH, Place.GONE, Place.AGAIN)
MAKING = (Place.FRESH, Place.AGAIN, Place.MISSING)
NOT_BEGUN = (Place.MISSING, Place.END, Place.TIGHT, Place.ASK)


class Waiting:
    """A queue for each place, and one for what is not to be tried before some moment."""

    def __init__(self) -> None:
        self._ready: dict[Place, deque[Item]] = {place: deque() for place in Place}
        self._later: list[tuple[float, int, Place, Item]] = []
        self._number = count()

    def add(self, place: Place, item: Item, not_before: float = 0.0) -> None:
        """Let an item wait; moments are by one clock."""
        if not_before:
            heapq.heappush(self._later, (not_before, next(self._number), place, item))
        else:
            self._ready[place].append(item)

    def wake(self, now: float) -> None:
        """Make ready what has waited long enough."""
        while self._later and self._later[0][0] <= now:
            _, _, place, item = heapq.heappop(self._later)
            self._ready[place].append(item)

    def first(self, place: Place) -> Item | None:
        """Return who is next there; None when nobody is ready."""
        queue = self._ready[place]
        return queue[0] if queue else None

    def next_steps(self, place: Place, number: int) -> list[Step]:
        """Return the steps of those that are next there, so many at the most."""
        return [item.step for item in islice(self._ready[place], number)]

    def take(self, place: Place) -> Item:
        """Take who is next there."""
        return self._ready[place].popleft()

    def take_all(self, places: tuple[Place, ...]) -> list[tuple[Place, Item]]:
        """Take everybody out of these places, also who is not ready."""
        taken = [(place, self._ready[place].popleft()) for place in places for _ in range(len(self._ready[place]))]
        taken += [(place, item) for _, _, place, item in self._later if place in places]
        self._later = [each for each in self._later if each[2] not in places]
        heapq.heapify(self._later)
        return taken

    @property
    def later(self) -> list[tuple[Place, Item]]:
        """Who is not ready."""
        return [(place, item) for _, _, place, item in self._later]

    @property
    def next_moment(self) -> float:
        """When the next is ready; never, when nobody will be."""
        return self._later[0][0] if self._later else math.inf

    def __bool__(self) -> bool:
        return bool(self._later) or any(self._ready.values())
