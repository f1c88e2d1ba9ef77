"""What a pod is made of: the template's part, syncctl's part, and the hash that tells one spec from another.

The hash covers what only a new pod can change. Name and version of a client are annotations, read by the container
through the downward API, so that a rename stops no trading process.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from operator import itemgetter
from typing import Any, NamedTuple

from syncctl.core import names
from syncctl.core.model import DesiredPod, Environment, ObservedPod
from syncctl.core.shard import bucket_of

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """The part of every pod that does not come from the database. `digest` identifies everything in `spec`."""

    labels: Json
    annotations: Json
    spec: Json
    container: Json
    sidecars: Sequence[Json]
    digest: str


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All that a fleet's pods have in common: the template, and whose they are."""

    template: PodTemplate
    fleet: str
    fleet_name: str


def spec_hash(template: PodTemplate, restart_generation: int) -> str:
    """Return the identity of what only a new pod can change: 16 hexadecimal digits.

    The key is not in it, for the pod's name says that; nor are image, cpu and memory, which are compared with the live
    pod and changed in place. Whatever changes this function or the template's digest restarts every pod of every fleet,
    at the pace of the guard; a test holds it still.
    """
    return sha256(f"{template.digest}|{restart_generation}".encode()).hexdigest()[:16]


class Marks(NamedTuple):
    """The labels, or the annotations, that syncctl sets: keys, and in their order the values.

    The values come together, for every pod of every pass is looked at: to call for each would take a quarter longer.
    """

    of_fleet: tuple[str, ...]
    fleet_values: Callable[[Blueprint], tuple[str, ...]]
    of_pod: tuple[str, ...]
    pod_values: Callable[[DesiredPod], tuple[str, ...]]

    def shared(self, blueprint: Blueprint, given: Json) -> dict[str, str]:
        """Return those that all pods of the fleet should carry: the template's, and ours."""
        return {**given, **dict(zip(self.of_fleet, self.fleet_values(blueprint), strict=True))}

    def all_of(self, blueprint: Blueprint, given: Json, pod: DesiredPod) -> dict[str, str]:
        """Return those that the pod should carry."""
        own = zip(self.of_pod, map(str, self.pod_values(pod)), strict=True)
        return {**self.shared(blueprint, given), **dict(own)}


LABELS = Marks(
    of_fleet=(names.MANAGED_BY, names.INSTANCE, names.FLEET),
    fleet_values=lambda blueprint: (names.MANAGER, blueprint.fleet_name, blueprint.fleet),
    of_pod=(names.ALGORITHM, names.CLIENT_ID, names.BUCKET),
    pod_values=lambda pod: (pod.key[1], f"{pod.key[0]}", f"{bucket_of(pod.key[0])}"),
)
ANNOTATIONS = Marks(
    of_fleet=(names.TEMPLATE,),
    fleet_values=lambda blueprint: (blueprint.template.digest[:16],),
    of_pod=(names.CLIENT_NAME, names.VERSION, names.SPEC_HASH, names.RESTART_GENERATION),
    pod_values=lambda pod: (pod.client_name, f"{pod.version}", pod.spec_hash, f"{pod.restart_generation}"),
)
ENVIRONMENT: Mapping[str, Callable[[DesiredPod], Json]] = {
    names.ALGORITHM_VARIABLE: lambda pod: {"value": pod.key.algorithm.value},
    names.CLIENT_ID_VARIABLE: lambda pod: {"value": str(pod.key.client_id)},
    names.SPEC_VARIABLE: lambda pod: {"value": pod.spec_hash},
    "CLIENT_NAME": lambda _: _annotation(names.CLIENT_NAME),
    "CLIENT_VERSION": lambda _: _annotation(names.VERSION),
}
"""The variables of the container that trades, and what each of them says."""


def evidence(cause: str, now: datetime) -> dict[str, str]:
    """Return the annotations of a pod that was changed in a way that may harm it: when, and why."""
    return {names.REPLACED: now.isoformat(timespec="seconds"), names.CHANGED_FOR: str(cause)}


def pod_labels(blueprint: Blueprint, pod: DesiredPod) -> dict[str, str]:
    """Return the labels the pod should carry; it may carry more."""
    return LABELS.all_of(blueprint, blueprint.template.labels, pod)


def pod_annotations(blueprint: Blueprint, pod: DesiredPod) -> dict[str, str]:
    """Return the annotations the pod should carry; it may carry more."""
    return ANNOTATIONS.all_of(blueprint, blueprint.template.annotations, pod)


def pod_marks(blueprint: Blueprint, pod: DesiredPod) -> dict[str, dict[str, str]]:
    """Return both, as the metadata of a manifest or a patch has them."""
    return {"labels": pod_labels(blueprint, pod), "annotations": pod_annotations(blueprint, pod)}


def pod_environment(pod: DesiredPod) -> Environment:
    """Return what the container of a pod is told of itself, as it is read back."""
    told = (names.ALGORITHM_VARIABLE, names.CLIENT_ID_VARIABLE, names.SPEC_VARIABLE)
    return Environment(*(ENVIRONMENT[variable](pod)["value"] for variable in told))


def carries_its_marks(blueprint: Blueprint) -> Callable[[DesiredPod, ObservedPod], bool]:
    """Return what tells whether a pod carries the labels and annotations that it should; it may carry more.

    The keys are the same for all pods of a fleet, so values are compared, and no dict is made for each pod.
    """
    labels = LABELS.shared(blueprint, blueprint.template.labels)
    annotations = ANNOTATIONS.shared(blueprint, blueprint.template.annotations)
    found_labels, found_annotations = itemgetter(*labels, *LABELS.of_pod), itemgetter(*annotations, *ANNOTATIONS.of_pod)
    labels_of_all, annotations_of_all = tuple(labels.values()), tuple(annotations.values())
    own_labels, own_annotations = LABELS.pod_values, ANNOTATIONS.pod_values

    def carries(wanted: DesiredPod, pod: ObservedPod) -> bool:
        try:
            labels_are: bool = found_labels(pod.labels) == labels_of_all + own_labels(wanted)
            return labels_are and found_annotations(pod.annotations) == annotations_of_all + own_annotations(wanted)
        except KeyError:
            return False

    return carries


def pod_manifest(blueprint: Blueprint, pod: DesiredPod) -> dict[str, Any]:
    """Return the body that creates the pod."""
    template = blueprint.template
    quantities = {"cpu": pod.cpu, "memory": pod.memory}
    container = {
        **template.container,
        "image": pod.image,
        # Equal requests and limits: QoS Guaranteed, the last to be evicted, and resizable in place.
        "resources": {"requests": quantities, "limits": quantities},
        "env": [
            *({"name": variable, **said(pod)} for variable, said in ENVIRONMENT.items()),
            *(template.container.get("env") or ()),
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, **pod_marks(blueprint, pod)},
        "spec": {**template.spec, "containers": [container, *template.sidecars]},
    }


def _annotation(key: str) -> Json:
    return {"valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{key}']"}}}
