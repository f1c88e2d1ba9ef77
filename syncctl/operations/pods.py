"""What a person does to a single pod."""

from syncctl.core.errors import InvalidInput, PodNotFound
from syncctl.core.model import ObservedPod
from syncctl.core.names import FLEET, owner
from syncctl.db.engine import Engine
from syncctl.db.snapshot import read_snapshot
from syncctl.kube.cluster import Cluster


def find_stuck_pod(engine: Engine, cluster: Cluster, name: str) -> ObservedPod:
    """Return a pod of this fleet that was told to go.

    Raises:
        PodNotFound: there is none by this name.
        InvalidInput: it is not the fleet's, or nobody has told it to go.
    """
    pod = cluster.get_pod(name)
    if pod is None:
        raise PodNotFound(f"no pod {name} in {cluster.address}", "`syncctl status` shows them all")
    if pod.labels.get(FLEET) != read_snapshot(engine, consume_restarts=False).fleet:
        raise InvalidInput(f"pod {name}", [f"is {owner(pod.labels)}"], "only pods of this database's fleet are touched")
    if not pod.terminating:
        raise InvalidInput(
            f"pod {name}",
            ["is not terminating"],
            "to stop it, switch its algorithm off: `syncctl algo set`; to have it replaced: `syncctl client restart`",
        )
    return pod


def force_delete_pod(cluster: Cluster, pod: ObservedPod) -> None:
    """Remove the pod with this uid at once, without its kubelet's confirmation.

    Raises:
        PreconditionFailed: the name is held by another pod by now.
    """
    cluster.delete_pod(pod.name, pod.uid, grace_seconds=0)
