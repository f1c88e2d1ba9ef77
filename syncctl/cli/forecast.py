"""What the next pass makes of a change, in words: a command says it after each change."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from syncctl.core.model import Algorithm, Client, PodKey
from syncctl.core.suspensions import NO_SUSPENSIONS, Suspensions
from syncctl.operations.clients import pods_of


def forecast(before: Client | None, after: Client, suspensions: Suspensions = NO_SUSPENSIONS) -> str:
    """Return what the next pass does for a client that was added, or is not as it was before."""
    was, now = pods_of(before) if before else [], pods_of(after)
    if before is not None and replace(after, updated_at=before.updated_at) == before:
        return "unchanged"
    parts = (
        _Part("starts {}", [pod for pod in now if pod not in was]),
        _Part("stops {}", [pod for pod in was if pod not in now], stops=True),
        _Part(_change(before, after) if before else "", [pod for pod in now if pod in was]),
    )
    if said := _said(after, parts, suspensions):
        return said
    if not now:
        return f"no algorithm is switched on, so nothing runs; `syncctl algo set {after.id} --vwap` switches one on"
    return "the next pass has nothing to do for that"


def forecast_restart(client: Client, suspensions: Suspensions) -> str:
    """Return what the next pass does for a client that was told to restart."""
    said = _said(client, [_Part("replaces {}", pods_of(client))], suspensions)
    return said or "it has no algorithm switched on: there is nothing to replace"


class _Part(NamedTuple):
    """What a pass does to some pods, in words, "" when nothing; a stop goes through whatever is suspended."""

    words: str
    pods: Sequence[str]
    stops: bool = False


def _said(client: Client, parts: Iterable[_Part], suspensions: Suspensions) -> str:
    """Say what the next pass does, and what comes only after a suspension; "" when that is nothing."""
    at_once, later, whys = [], [], dict[str, None]()
    for part in (part for part in parts if part.words):
        held = {} if part.stops else {pod: word for pod in part.pods if (word := _word(client, pod, suspensions))}
        if free := [pod for pod in part.pods if pod not in held]:
            at_once.append(part.words.format(", ".join(free)))
        if held:
            later.append(part.words.format(", ".join(held)))
            whys |= dict.fromkeys(held.values())
    lines = [f"the next pass {' and '.join(at_once)}"] if at_once else []
    if later:
        lines.append(f"not before the suspension is over, a pass {' and '.join(later)}: suspended {'; '.join(whys)}")
    return "\n".join(lines)


def _word(client: Client, pod: str, suspensions: Suspensions) -> str:
    found = suspensions.of(PodKey(client.id, Algorithm(pod.partition("-")[0])))
    return found.words if found else ""


def _change(before: Client, after: Client) -> str:
    """Return what becomes of the pods that stay; "" when nothing does."""
    image, resources = after.image != before.image, (after.cpu, after.memory) != (before.cpu, before.memory)
    if image and resources:
        return "replaces {} for the new image, cpu and memory"
    if image:
        return "restarts {} with the new image"
    if resources:
        return "gives {} the new cpu and memory, in place where Kubernetes can"
    return "writes that on {}, running on" if (after.name, after.version) != (before.name, before.version) else ""
