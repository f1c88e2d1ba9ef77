"""What a cluster's admission makes of what it is asked for, and how a pod remembers it. Pure.

A webhook or a policy may rewrite an image or resources (a registry's mirror, a cap), and set or take away labels and
annotations. What it has rewritten is no drift, or every pass would fight it; so the pod keeps a note of what was asked
for and what was made of it. A note is an annotation that anybody can edit: it only ever excuses a difference.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from syncctl.core import names, quantity
from syncctl.core.model import DesiredPod, Environment, ObservedPod, Resources

Json = Mapping[str, Any]
Metadata = Mapping[str, Mapping[str, str]]
"""Labels and annotations, under these names."""

FOUND_BY = (names.FLEET, names.ALGORITHM, names.CLIENT_ID, names.BUCKET)
"""Labels that selectors find a pod by: one with another value is as good as gone."""


class Asked(NamedTuple):
    """An image and resources, as a row asks for them."""

    image: str
    cpu: str
    memory: str


class Note(NamedTuple):
    """What was asked for when the pod was made or changed, and what admission made of that."""

    asked: Asked
    image: str
    resources: Resources

    def made(self, field: str) -> tuple[str, str]:
        """Return what was made of a field: of cpu and memory the request and the limit, of the image twice the same."""
        return values(field, self.image, self.resources)

    def rewrites(self, field: str) -> bool:
        """Whether something else was made of a field than was asked for."""
        return any(not same(field, value, getattr(self.asked, field)) for value in self.made(field))


def values(field: str, image: str, resources: Resources) -> tuple[str, str]:
    """Return a field of a pod: of cpu and memory the request and the limit, of the image twice the same."""
    if field == "image":
        return image, image
    return getattr(resources, f"{field}_request"), getattr(resources, f"{field}_limit")


def same(field: str, left: str, right: str) -> bool:
    """Whether both say the same of a field: quantities are compared by value."""
    return left == right or (field != "image" and quantity.same(left, right))


def asked_of(wanted: DesiredPod) -> Asked:
    """Return what a row asks for."""
    return Asked(wanted.image, wanted.cpu, wanted.memory)


def note_of(wanted: DesiredPod, pod: ObservedPod, fields: Collection[str] = Asked._fields) -> str:
    """Return the note of a pod that has these fields as admission makes them of what is wanted.

    Of the others it says what it said before, or no more than what they are: nobody has asked for them here.
    """
    old = read_note(pod)
    asked, made = {}, {}
    for field in Asked._fields:
        live = values(field, pod.image, pod.resources)
        if field in fields:
            asked[field], made[field] = getattr(wanted, field), live
        else:
            asked[field], made[field] = (getattr(old.asked, field), old.made(field)) if old else (live[1], live)
    (cpu_request, cpu_limit), (memory_request, memory_limit) = made["cpu"], made["memory"]
    resources = Resources(cpu_request, memory_request, cpu_limit, memory_limit)
    return f"{' '.join(Asked(**asked))} -> {made['image'][0]} {' '.join(resources)}"


def read_note(pod: ObservedPod) -> Note | None:
    """Return the note that a pod keeps; None when there is none, or none that can be read."""
    asked, _, made = pod.annotations.get(names.ADMITTED, "").partition(" -> ")
    wish, (image, *resources) = asked.split(" "), made.split(" ")
    if len(wish) != len(Asked._fields) or len(resources) != len(Resources._fields):
        return None
    return Note(Asked(*wish), image, Resources(*resources))


def as_asked(pod: ObservedPod) -> Asked:
    """Return what a pod was asked to be, as far as its note says so of what it is; else what it is."""
    note, live = read_note(pod), Asked(pod.image, pod.resources.cpu_limit, pod.resources.memory_limit)
    if note is None:
        return live
    fields = {
        field: getattr(note.asked, field)
        for field in Asked._fields
        if note.made(field) == values(field, pod.image, pod.resources)
    }
    return live._replace(**fields)


def overridden(pod: ObservedPod) -> Metadata:
    """Return the labels and annotations that a pod's note says admission sets: what was asked for.

    Only those that are as they were set then.
    """
    try:
        noted = msgspec.json.decode(pod.annotations.get(names.OVERRIDDEN, "{}"), type=dict[str, dict[str, list[str]]])
    except msgspec.DecodeError:
        return {}
    found: dict[str, dict[str, str]] = {}
    for part, live in _marks(pod).items():
        pairs = {key: pair for key, pair in noted.get(part, {}).items() if len(pair) == 2}
        found[part] = {key: asked for key, (asked, made) in pairs.items() if live.get(key) == made}
    return found


def overrides(sent: Metadata, answer: ObservedPod) -> Mapping[str, Mapping[str, tuple[str, str]]]:
    """Return the labels and annotations that were sent and that admission has set otherwise: asked for, and made."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for part, live in _marks(answer).items():
        for key, value in sent.get(part, {}).items():
            if key not in FOUND_BY and live.get(key, value) != value:
                found.setdefault(part, {})[key] = value, live[key]
    return found


def missing(sent: Metadata, answer: ObservedPod, environment: Environment | None = None) -> list[str]:
    """Say which marks of ours an answer lacks, of those that were sent; of a creation also of the environment."""
    gone = [
        f"{part.removesuffix('s')} {key}"
        for part, live in _marks(answer).items()
        for key, value in sent.get(part, {}).items()
        if key not in live or (key in FOUND_BY and live[key] != value)
    ]
    if environment is not None and answer.environment != environment:
        gone.append("its container's variables")
    return gone


def _marks(pod: ObservedPod) -> Metadata:
    return {"labels": pod.labels, "annotations": pod.annotations}
