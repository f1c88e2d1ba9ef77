"""How many pods may be ended for successors that the namespace's quota has no room for beside them."""

from collections.abc import Hashable


class Room:
    """A quota frees the share of a pod some time after that has gone, so the first successor is a question.

    One replacement at a time begins, then 2, 4, 8 ..., as long as each successor is taken at once. When one is refused
    for the quota, no other replacement begins until it is taken, whatever was said of that one's room.
    """

    def __init__(self) -> None:
        self._at_a_time = 1
        self._taken = 0
        self._begun: set[Hashable] = set()
        self._refused: set[Hashable] = set()

    @property
    def closed(self) -> bool:
        """Whether a successor is refused at the moment, so that nothing else may begin."""
        return bool(self._refused)

    @property
    def has_turn(self) -> bool:
        """Whether one more replacement may begin whose successor finds the quota used up."""
        return not self._refused and len(self._begun) < self._at_a_time

    def begin(self, replacement: Hashable) -> None:
        """Count a replacement whose successor finds the quota used up: its old pod is told to go."""
        self._begun.add(replacement)

    def refuse(self, replacement: Hashable, of_quota: bool) -> None:
        """Hear that a successor was refused: by the quota, or by something else, which holds nobody up."""
        if of_quota:
            self._refused.add(replacement)
            self._at_a_time, self._taken = 1, 0
        else:
            self._refused.discard(replacement)
            self._begun.discard(replacement)

    def end(self, replacement: Hashable, *, taken: bool) -> None:
        """Hear that a replacement has ended, its successor taken or given up."""
        at_once = taken and replacement in self._begun and not self._refused
        self._begun.discard(replacement)
        self._refused.discard(replacement)
        if at_once:
            self._taken += 1
            if self._taken == self._at_a_time:
                self._at_a_time, self._taken = self._at_a_time * 2, 0
