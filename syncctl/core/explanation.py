"""All that is known of one pod, for a person who asks why. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from syncctl.core.changes import Change
from syncctl.core.fields import FieldChange
from syncctl.core.model import Client
from syncctl.core.records import PastStep
from syncctl.core.status import StatusRow


class Termination(Struct, frozen=True):
    """How a container ended last, and when by the kubelet's clock; "" where it does not say."""

    container: str
    reason: str
    exit_code: int | None
    finished_at: str
    message: str = ""


class Event(Struct, frozen=True):
    """What Kubernetes noted about a pod; `count` is how often, `at` when last."""

    type: str
    reason: str
    message: str
    count: int
    at: str


class Explanation(Struct, frozen=True):
    """One pod: is it wanted and by whom, what is there, what would be done, what was done, what was noted.

    `client` is None when there is no row. `wanted` is the change that switched the algorithm on or off, or deleted the
    client, None when the change log does not know; `changed` is the client's last one. `events` is None when nobody may
    read them, and `no_events` says why.
    """

    row: StatusRow
    client: Client | None
    wanted: Change | None
    changed: Change | None
    fields: tuple[FieldChange, ...]
    terminations: tuple[Termination, ...]
    passes: tuple[PastStep, ...]
    events: tuple[Event, ...] | None
    no_events: str


def change_of_wish(changes: Sequence[Change], algorithm: str, *, wanted: bool) -> Change | None:
    """Return which of a client's changes, newest first, made the algorithm wanted or not; None when none did."""
    for change in changes:
        if change.table_name == "clients" and change.op == "delete" and not wanted:
            return change
        if change.table_name != "algorithm_status":
            continue
        was, is_ = ((side or {}).get(algorithm) is True for side in (change.before, change.after))
        if was is not is_ and is_ is wanted:
            return change
    return None
