"""What the next pass makes of a change, in words: a command says it after each change."""

from msgspec.structs import replace

from syncctl.core.model import Client
from syncctl.operations.clients import pods_of


def forecast(before: Client | None, after: Client) -> str:
    """Return what the next pass does for a client that was added, or is not as it was before."""
    was, now = pods_of(before) if before else [], pods_of(after)
    if before is not None and replace(after, updated_at=before.updated_at) == before:
        return "unchanged"
    found = (
        ("starts {}", [pod for pod in now if pod not in was]),
        ("stops {}", [pod for pod in was if pod not in now]),
        (_change(before, after) if before else "", [pod for pod in now if pod in was]),
    )
    if said := [words.format(", ".join(pods)) for words, pods in found if words and pods]:
        return f"the next pass {' and '.join(said)}"
    if not now:
        return f"no algorithm is switched on, so nothing runs; `syncctl algo set {after.id} --vwap` switches one on"
    return "the next pass has nothing to do for that"


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
