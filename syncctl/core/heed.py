"""Heed what is said while a pass works: what it has planned may not be wanted any more. Pure.

Only of what a pass is about to write, and no more than stopping it or leaving it: all else is the next pass's business.
"""

from enum import StrEnum

from msgspec import Struct

from syncctl.core.holds.suspended import goes_through
from syncctl.core.steps import Cause, Step, StepKind
from syncctl.core.suspensions import Suspension


class Wish(StrEnum):
    """What the rows say of a key at some moment."""

    WANTED = "wanted"
    OFF = "off"
    DELETED = "deleted"
    VANISHED = "vanished"


class Said(Struct, frozen=True):
    """The rows' wish, what suspends the key, and whether a person has let its stop pass the limit."""

    wish: Wish
    suspension: Suspension | None = None
    may_pass: bool = False


class Heed(StrEnum):
    """What becomes of a step: its pod is stopped, or it is left, as suspended or for the next pass to judge."""

    STOP = "stop"
    SUSPEND = "suspend"
    LEAVE = "leave"


class Heeded(Struct, frozen=True):
    """What becomes of a step instead, and why in words."""

    what: Heed
    why: str


def heeded(step: Step, said: Said | None, *, ended: bool) -> Heeded | None:
    """Return what is to become of a step by what has been said since the plan was made; None when it goes on.

    `ended` tells that its old pod was told to go already: then a suspension lets its successor come, unless it stops.
    A row that has vanished is no word of anybody: of such a key nothing is made, and nothing ended.
    """
    if said is None or step.key is None or goes_through(step):
        return None
    suspension, word = said.suspension, None
    suspended = Heeded(Heed.SUSPEND, f"suspended meanwhile {suspension.words}") if suspension else None
    if step.kind is StepKind.DELETE:
        return suspended
    if said.wish is Wish.VANISHED:
        return Heeded(Heed.LEAVE, "its row has vanished meanwhile")
    if said.wish is Wish.DELETED:
        word = "its client was deleted meanwhile"
    elif said.wish is Wish.OFF:
        word = f"{step.key.algorithm} was switched off meanwhile"
    elif suspension is not None and suspension.stops:
        word = f"stopped meanwhile {suspension.words}"
    if word:
        # What rests on a name or an environment alone the guard has to judge.
        return Heeded(Heed.LEAVE if step.unsure else Heed.STOP, word)
    return None if ended or step.cause is Cause.REPLACEMENT_BEGUN else suspended
