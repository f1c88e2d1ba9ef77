"""A cluster that cannot be written to: what a dry run, a plan and a status table are given."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from syncctl.core.model import ObservedPod
from syncctl.kube.cluster import Cluster


class ReadOnlyCluster:
    """Wraps a cluster; every write is a bug in syncctl and raises."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.namespace = cluster.namespace
        self.address = cluster.address
        self.home = cluster.home
        self.list_pods = cluster.list_pods
        self.list_others = cluster.list_others
        self.get_pod = cluster.get_pod
        self.try_pod = cluster.try_pod

    def working_under(
        self,
        permit: Callable[[], None],  # noqa: ARG002 - the protocol's
        pause: Callable[[float], bool],  # noqa: ARG002 - the protocol's
    ) -> "ReadOnlyCluster":
        """Return this cluster: permission changes nothing."""
        return self

    def create_pod(self, manifest: Mapping[str, Any], *, again: bool = False) -> ObservedPod:  # noqa: ARG002
        """Refuse."""
        _refuse("create", manifest["metadata"]["name"])

    def patch_pod(self, name: str, uid: str, patch: Mapping[str, Any]) -> ObservedPod:  # noqa: ARG002 - the protocol's
        """Refuse."""
        _refuse("patch", name)

    def resize_pod(self, name: str, uid: str, patch: Mapping[str, Any]) -> ObservedPod:  # noqa: ARG002
        """Refuse."""
        _refuse("resize", name)

    def delete_pod(self, name: str, uid: str, grace_seconds: int | None = None) -> None:  # noqa: ARG002
        """Refuse."""
        _refuse("delete", name)


def _refuse(verb: str, name: str) -> NoReturn:
    raise AssertionError(f"a read-only pass tried to {verb} pod {name}")
