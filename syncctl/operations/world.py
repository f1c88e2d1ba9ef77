"""The cluster as one run reads it."""

import logging
from collections.abc import Collection, Iterable

from syncctl.core import names
from syncctl.core.desired import DesiredState
from syncctl.core.errors import AccessDenied
from syncctl.core.identity import Identities
from syncctl.core.memory import Home
from syncctl.core.model import ObservedPod, PodKey
from syncctl.core.others import Others
from syncctl.core.shard import WHOLE, Shard
from syncctl.kube.cluster import Cluster

log = logging.getLogger("syncctl")


class World:
    """Each thing is read when it matters for the first time, and then known: a saved plan is looked at twice."""

    def __init__(self, cluster: Cluster, shard: Shard, *, adopt: bool, adopt_pods: Collection[str]) -> None:
        self._cluster = cluster
        self._shard = shard
        self._adopt = adopt
        self._adopt_pods = adopt_pods
        self._pods: list[ObservedPod] | None = None
        self._others: Others | None = None
        self._outside: list[tuple[ObservedPod, set[PodKey]]] | None = None
        self._here: Home | None = None
        self._knows_here = False

    @property
    def namespace(self) -> str:
        """The name of the namespace."""
        return self._cluster.namespace

    @property
    def address(self) -> str:
        """Which cluster and namespace this is, for a person."""
        return self._cluster.address

    def pods(self, fleet: str) -> list[ObservedPod]:
        """List the pods of this shard; one of them also takes those whose bucket is none."""
        if self._pods is None:
            self._pods = self._cluster.list_pods(names.fleet_selector(fleet, self._shard))
            if self._shard != WHOLE and self._shard.index == 0:
                self._pods += self._further(names.outside_selector(fleet, WHOLE))
        return self._pods

    def others(self, fleet: str) -> Others:
        """Look up who else holds which name, and which of the Go service's pods a person wants taken over.

        With `adopt` those that are as it makes them, and whatever their shape those of `adopt_pods`, but for what a
        controller would make again.
        """
        if self._others is None:
            pods = tuple(self._cluster.list_others(names.foreign_selector(fleet)))
            looks = self._adopt or self._adopt_pods
            unowned = self._further(names.unowned_selector()) if looks else []
            mine = tuple(pod for pod in unowned if self._is_to_be_adopted(pod))
            self._others = Others(pods, mine, frozenset(pod.name for pod in unowned if not pod.go_made))
        return self._others

    def _is_to_be_adopted(self, pod: ObservedPod) -> bool:
        return (self._adopt and pod.go_made) or (pod.name in self._adopt_pods and not pod.controlled)

    def claiming(self, keys: Iterable[PodKey], desired: DesiredState) -> list[ObservedPod]:
        """Return the fleet's pods in the care of other shards that may run one of these keys.

        Anybody can edit the label that shares pods out: what seems to be missing here may be running there.
        """
        if self._shard == WHOLE or not (wanted := set(keys)):
            return []
        if self._outside is None:
            identities = Identities(desired)
            pods = self._further(names.outside_selector(desired.blueprint.fleet, self._shard))
            self._outside = [(pod, identities.claims(pod)) for pod in pods]
        return [pod for pod, claims in self._outside if not claims.isdisjoint(wanted)]

    def here(self) -> Home | None:
        """Ask where this is; None, with a warning, when the cluster's administrator lets nobody know.

        Raises:
            NamespaceNotFound
        """
        if not self._knows_here:
            try:
                self._here = Home(self._cluster.home(), self._cluster.address)
            except AccessDenied as error:
                if error.status != 403:
                    raise
                log.warning(
                    "whether this is the fleet's home is not checked, so pods may be made twice: %s",
                    error.message,
                    extra={"hint": "let its Role get namespaces, as in k8s-cronjob.yaml: a pass reads its own by name"},
                )
            self._knows_here = True
        return self._here

    def _further(self, selector: str) -> list[ObservedPod]:
        """List pods, but for those of this shard's own list: labels may be edited in between.

        Found twice, a pod would be taken for a second one of its key, and be ended.
        """
        known = {pod.uid for pod in self._pods or ()}
        return [pod for pod in self._cluster.list_pods(selector) if pod.uid not in known]
