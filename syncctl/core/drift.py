"""How a live pod differs from the wanted one, in words; "" when it does not. Pure."""

from syncctl.core import quantity
from syncctl.core.manifest import Blueprint, pod_annotations, pod_labels
from syncctl.core.model import DesiredPod, ObservedPod


def image_difference(wanted: DesiredPod, pod: ObservedPod) -> str:
    """Say how the live image differs from the wanted one; "" when it does not."""
    return "" if pod.image == wanted.image else f"image {pod.image or 'none'} -> {wanted.image}"


def resources_difference(wanted: DesiredPod, pod: ObservedPod) -> str:
    """Say how the live requests and limits differ from the wanted ones; "" when they do not."""
    live = pod.resources
    if live == (wanted.cpu, wanted.memory, wanted.cpu, wanted.memory):
        return ""
    found = []
    for part, request, limit, value in (
        ("cpu", live.cpu_request, live.cpu_limit, wanted.cpu),
        ("memory", live.memory_request, live.memory_limit, wanted.memory),
    ):
        if not (quantity.same(request, value) and quantity.same(limit, value)):
            shown = request if request == limit else f"{request or 'none'}/{limit or 'none'}"
            found.append(f"{part} {shown or 'none'} -> {value}")
    return ", ".join(found)


def admission(wanted: DesiredPod, pod: ObservedPod) -> str:
    """Return the record of what was asked for and what the cluster's admission made of it.

    A webhook may rewrite an image or resources of every pod; by this record, kept as an annotation, that is known to be
    how the pod came to be, and not a change to be undone in every pass.
    """
    return f"{wanted.image} {wanted.cpu} {wanted.memory} -> {pod.image} {' '.join(pod.resources)}"


def metadata_difference(blueprint: Blueprint, wanted: DesiredPod, pod: ObservedPod) -> str:
    """Say which labels and annotations differ from the wanted ones; "" when none does."""
    labels, annotations = pod_labels(blueprint, wanted), pod_annotations(blueprint, wanted)
    if pod.labels == labels and pod.annotations == annotations:
        return ""
    found = [
        f"{key} {live.get(key, 'none')} -> {value}"
        for live, should in ((pod.labels, labels), (pod.annotations, annotations))
        for key, value in should.items()
        if live.get(key) != value
    ]
    return ", ".join(found)
