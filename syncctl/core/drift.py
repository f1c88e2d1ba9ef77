"""How a live pod differs from the wanted one, field by field. Pure."""

from typing import NamedTuple

from syncctl.core import names
from syncctl.core.admission import FOUND_BY, Asked, overridden, read_note, same, values
from syncctl.core.manifest import Blueprint, pod_annotations, pod_labels
from syncctl.core.model import DesiredPod, ObservedPod


class Difference(NamedTuple):
    """A field that is neither as it is wanted nor as admission makes it of that.

    `was` is None where there is nothing. `rewritten` tells that admission is known to make something else of this field
    than it is asked for.
    """

    field: str
    was: str | None
    to: str
    rewritten: bool = False

    @property
    def words(self) -> str:
        """Say it in a line."""
        return f"{self.field} {self.was if self.was is not None else 'none'} -> {self.to}"


def differences(wanted: DesiredPod, pod: ObservedPod) -> list[Difference]:
    """Return how the live image, cpu and memory differ from the wanted ones."""
    live = pod.resources
    if pod.image == wanted.image and live == (wanted.cpu, wanted.memory, wanted.cpu, wanted.memory):
        return []
    note, found = read_note(pod), []
    for field in Asked._fields:
        value, (request, limit) = getattr(wanted, field), values(field, pod.image, live)
        if same(field, request, value) and same(field, limit, value):
            continue
        if note and same(field, getattr(note.asked, field), value) and note.made(field) == (request, limit):
            continue
        shown = request if request == limit else f"{request or 'none'}/{limit or 'none'}"
        found.append(Difference(field, shown or None, value, note is not None and note.rewrites(field)))
    return found


def metadata_differences(blueprint: Blueprint, wanted: DesiredPod, pod: ObservedPod) -> list[Difference]:
    """Return which labels and annotations differ from the wanted ones, each by its key."""
    labels, annotations = pod_labels(blueprint, wanted), pod_annotations(blueprint, wanted)
    if pod.labels == labels and pod.annotations == annotations:
        return []
    excused = overridden(pod) if names.OVERRIDDEN in pod.annotations else {}
    return [
        Difference(key, live.get(key), value)
        for part, live, should in (("labels", pod.labels, labels), ("annotations", pod.annotations, annotations))
        for key, value in should.items()
        if live.get(key) != value and (key in FOUND_BY or excused.get(part, {}).get(key) != value)
    ]
