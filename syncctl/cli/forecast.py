"""What the next pass makes of a change, in words: a command says it after each change."""

from collections.abc import Sequence

from msgspec.structs import replace

from syncctl.core.model import Algorithm, Client, PodKey
from syncctl.core.suspensions import NO_SUSPENSIONS, Suspensions
from syncctl.operations.clients import pods_of


def forecast(before: Client | None, after: Client, suspensions: Suspensions = NO_SUSPENSIONS) -> str:
    """Return what the next pass does for a client that was added, or is not as it was before."""
    was, now = pods_of(before) if before else [], pods_of(after)
    if before is not None and replace(after, updated_at=before.updated_at) == before:
        return "unchanged"
    stops = [pod for pod in was if pod not in now]
    does = [
        ("starts {}", [pod for pod in now if pod not in was]),
        (_change(before, after) if before else "", [pod for pod in now if pod in was]),
    ]
    if said := _said(after, stops, does, suspensions):
        return said
    if not now:
        return f"no algorithm is switched on, so nothing runs; `syncctl algo set {after.id} --vwap` switches one on"
    return "the next pass has nothing to do for that"


def forecast_restart(client: Client, suspensions: Suspensions) -> str:
    """Return what the next pass does for a client that was told to restart."""
    said = _said(client, [], [("replaces {}", pods_of(client))], suspensions)
    return said or "it has no algorithm switched on: there is nothing to replace"


def _said(client: Client, stops: Sequence[str], does: Sequence[tuple[str, list[str]]], suspensions: Suspensions) -> str:
    """Say what the next pass does; a stop goes through whatever is suspended, and all else comes after that."""

    def said(suspended: bool) -> list[str]:
        chosen = [
            (words, [pod for pod in pods if (_word(client, pod, suspensions) != "") is suspended])
            for words, pods in does
            if words
        ]
        return [words.format(", ".join(pods)) for words, pods in chosen if pods]

    at_once = said(suspended=False)
    at_once[1:1] = [f"stops {', '.join(stops)}"] if stops else []
    lines = [f"the next pass {' and '.join(at_once)}"] if at_once else []
    if later := said(suspended=True):
        words = dict.fromkeys(filter(None, (_word(client, pod, suspensions) for _, pods in does for pod in pods)))
        lines.append(f"not before the suspension is over, a pass {' and '.join(later)}: suspended {'; '.join(words)}")
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
