"""What the rest of syncctl needs of a cluster, and what each call promises."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from syncctl.core.model import ObservedPod, OtherPod


class Tried(NamedTuple):
    """What became of a pod that was only asked about.

    `room` tells whether its share of the quota is free; `answer` is the pod as the cluster's admission makes it, None
    where the answer does not say.
    """

    room: bool
    answer: ObservedPod | None = None


class Cluster(Protocol):
    """One namespace of one cluster. Every method raises leaves of ClusterError."""

    @property
    def namespace(self) -> str:
        """The namespace's name."""

    @property
    def address(self) -> str:
        """The namespace and the API server's URL, for a person: `namespace trading of https://...`."""

    def working_under(self, permit: Callable[[], None], pause: Callable[[float], bool]) -> "Cluster":
        """Return this cluster, bound to a pass.

        Args:
            permit: asked before every single write, the repeated ones too; raises to refuse it.
            pause: waits for so many seconds between two attempts; False means that there is no time for another one.
        """

    def home(self) -> str:
        """Return the namespace's uid, that of no other namespace, not even a later one of the same name.

        Raises:
            NamespaceNotFound: there is none by this name.
            AccessDenied: a right is missing; its status tells that from credentials that nobody knows.
        """

    def list_pods(self, selector: str) -> list[ObservedPod]:
        """Return all pods that the label selector finds: a complete list from one moment, or an error."""

    def list_others(self, selector: str) -> list[OtherPod]:
        """Return by their metadata all pods that the label selector finds, complete or not at all."""

    def get_pod(self, name: str) -> ObservedPod | None:
        """Return the pod by this name, None when there is none."""

    def create_pod(self, manifest: Mapping[str, Any], *, again: bool = False) -> ObservedPod:
        """Create a pod; it is asked for once. When the answer is lost, the pod is read back: ours is the one created.

        Args:
            manifest: of the pod.
            again: an earlier attempt may have had its effect, so a pod of ours that holds the name is the one created.

        Raises:
            PodExists: another pod holds the name.
            PodRejected: the API server does not take this pod.
            ClusterUnavailable: not for the moment.
            QuotaExceeded, AccessDenied, ClusterError
        """

    def try_pod(self, manifest: Mapping[str, Any], *, beside: bool = False) -> Tried:
        """Return when the API server would take this pod, were its name and its share of the quota free; makes none.

        Where a webhook of the cluster cannot be asked without effect, that counts as a yes.

        Args:
            manifest: of the pod.
            beside: a pod by its name is there, so that the answer would be no more than that: another name is tried.

        Raises:
            PodRejected, AccessDenied, ClusterError: it would not.
            ClusterUnavailable: not for the moment, or it, or a webhook that it asks, does not answer.
        """

    def patch_pod(self, name: str, uid: str, patch: Mapping[str, Any]) -> ObservedPod:
        """Apply a strategic merge patch to the pod with this uid, to no other by its name.

        Raises:
            PodNotFound, PreconditionFailed: the pod is gone, or is another one by now.
        """

    def resize_pod(self, name: str, uid: str, patch: Mapping[str, Any]) -> ObservedPod:
        """Give the containers of the pod with this uid other resources while they run.

        Raises:
            PodNotFound, PodRejected: the API server or the kubelet cannot do that.
        """

    def delete_pod(self, name: str, uid: str, grace_seconds: int | None = None) -> None:
        """Ask the pod with this uid to end, within its own grace if none is given. A pod already gone is deleted.

        Raises:
            PreconditionFailed: the name is held by another pod by now; it is left alone.
        """
