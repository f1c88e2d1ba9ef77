"""What a pod is made of: the template's part, syncctl's part, and the hash that tells one spec from another.

The hash covers what only a new pod can change. Name and version of a client are annotations, read by the container
through the downward API, so that a rename stops no trading process.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from operator import itemgetter
from typing import Any

from syncctl.core import names
from syncctl.core.model import DesiredPod, ObservedPod
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


def fleet_labels(blueprint: Blueprint) -> dict[str, str]:
    """Return the labels that all pods of the fleet should carry."""
    return {
        **blueprint.template.labels,
        names.MANAGED_BY: names.MANAGER,
        names.INSTANCE: blueprint.fleet_name,
        names.FLEET: blueprint.fleet,
    }


def fleet_annotations(blueprint: Blueprint) -> dict[str, str]:
    """Return the annotations that all pods of the fleet should carry."""
    return {**blueprint.template.annotations, names.TEMPLATE: blueprint.template.digest[:16]}


# What differs from pod to pod: the keys, and the values in their order. Only here, for the quick look of
# carries_its_marks must miss none of them.
_OWN_LABELS = (names.ALGORITHM, names.CLIENT_ID, names.BUCKET)
_OWN_ANNOTATIONS = (names.CLIENT_NAME, names.VERSION, names.SPEC_HASH, names.RESTART_GENERATION)


def _own_labels(pod: DesiredPod) -> tuple[str, ...]:
    client_id, algorithm = pod.key
    return algorithm, str(client_id), str(bucket_of(client_id))


def _own_annotations(pod: DesiredPod) -> tuple[str, ...]:
    return pod.client_name, str(pod.version), pod.spec_hash, str(pod.restart_generation)


def pod_labels(blueprint: Blueprint, pod: DesiredPod) -> dict[str, str]:
    """Return the labels the pod should carry; it may carry more."""
    return {**fleet_labels(blueprint), **dict(zip(_OWN_LABELS, map(str, _own_labels(pod)), strict=True))}


def pod_annotations(blueprint: Blueprint, pod: DesiredPod) -> dict[str, str]:
    """Return the annotations the pod should carry; it may carry more."""
    return {**fleet_annotations(blueprint), **dict(zip(_OWN_ANNOTATIONS, _own_annotations(pod), strict=True))}


def carries_its_marks(blueprint: Blueprint) -> Callable[[DesiredPod, ObservedPod], bool]:
    """Return what tells whether a pod carries the labels and annotations that it should; it may carry more.

    The keys are the same for all pods of a fleet, so values are compared, and no dict is made for each pod.
    """
    labels, annotations = fleet_labels(blueprint), fleet_annotations(blueprint)
    found_labels, found_annotations = itemgetter(*labels, *_OWN_LABELS), itemgetter(*annotations, *_OWN_ANNOTATIONS)
    labels_of_all, annotations_of_all = tuple(labels.values()), tuple(annotations.values())

    def carries(wanted: DesiredPod, pod: ObservedPod) -> bool:
        try:
            labels_are: bool = found_labels(pod.labels) == labels_of_all + _own_labels(wanted)
            return labels_are and found_annotations(pod.annotations) == annotations_of_all + _own_annotations(wanted)
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
            {"name": names.ALGORITHM_VARIABLE, "value": pod.key.algorithm.value},
            {"name": names.CLIENT_ID_VARIABLE, "value": str(pod.key.client_id)},
            {"name": names.SPEC_VARIABLE, "value": pod.spec_hash},
            _from_annotation("CLIENT_NAME", names.CLIENT_NAME),
            _from_annotation("CLIENT_VERSION", names.VERSION),
            *(template.container.get("env") or ()),
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.name,
            "labels": pod_labels(blueprint, pod),
            "annotations": pod_annotations(blueprint, pod),
        },
        "spec": {**template.spec, "containers": [container, *template.sidecars]},
    }


def _from_annotation(variable: str, annotation: str) -> Json:
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}}
