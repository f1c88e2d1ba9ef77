"""What is to be done to a pod, judged by itself beside the wanted one. Pure."""

import re
from datetime import datetime

from syncctl.core import names
from syncctl.core.drift import Difference, differences, metadata_differences
from syncctl.core.health import HealthCode, pod_health
from syncctl.core.identity import BY_ANNOTATION
from syncctl.core.manifest import Blueprint
from syncctl.core.model import DesiredPod, ObservedPod, PodKey
from syncctl.core.steps import Cause, Step, StepKind

STUCK_ADVICE = (
    "look at `kubectl describe pod {pod}`; only when the process has certainly ended: `syncctl pod force-delete {pod}`"
)
_SPEC = re.compile(r"[0-9a-f]{16}")


def compared(blueprint: Blueprint, wanted: DesiredPod, pod: ObservedPod) -> Step | None:
    """Return what is to be done to a pod of the wanted one's key; None when it is as it should be."""

    def step(kind: StepKind, cause: Cause, reason: str, unsure: str = "") -> Step:
        return Step(kind, cause, pod.name, wanted.key, reason, wanted, pod, unsure=unsure)

    if pod.labels.get(names.FLEET) != blueprint.fleet:
        return step(StepKind.REPLACE, Cause.ADOPTED, f"made by the Go service; becomes {wanted.name}")
    if pod.name != wanted.name:
        return step(StepKind.REPLACE, Cause.MISNAMED, f"should be named {wanted.name}")
    if pod.finished:
        return step(StepKind.REPLACE, Cause.FINISHED, f"has ended: {pod.reason or pod.phase}")
    spec, unsure = pod.environment.spec, ""
    if spec is None:
        # Made before there was the variable.
        spec, unsure = pod.annotations.get(names.SPEC_HASH, "unknown"), BY_ANNOTATION
    elif not _SPEC.fullmatch(spec):
        reason = f"its variable {names.SPEC_VARIABLE} is no spec hash, so nobody knows how it was made; left alone"
        return step(StepKind.CONFLICT, Cause.UNREADABLE_SPEC, reason)
    if spec != wanted.spec_hash:
        return step(StepKind.REPLACE, *_spec_difference(wanted, pod, spec), unsure)
    if found := differences(wanted, pod):
        return step(*_of_differences(found))
    if pod.resize_refused:
        return step(StepKind.REPLACE, Cause.RESIZE_REFUSED, f"not resized in place: {pod.resize_refused}")
    if found := metadata_differences(blueprint, wanted, pod):
        return step(StepKind.UPDATE, Cause.METADATA_DIFFERS, ", ".join(each.words for each in found))
    if pod.resizing:
        return step(StepKind.WAIT, Cause.RESIZING, f"resized in place, and not done yet: {pod.resizing}")
    return None


def wait_for(key: PodKey | None, pod: ObservedPod, wanted: DesiredPod | None, now: datetime) -> Step:
    """Return the step for a pod that has been told to go; `now` decides whether it is stuck."""
    health = pod_health(pod, now)
    if health.code is HealthCode.STUCK:
        cause, reason = Cause.STUCK, f"{health.message}; {STUCK_ADVICE.format(pod=pod.name)}"
    else:
        cause, reason = Cause.TERMINATING, "still terminating; its name is free when it is gone"
    return Step(StepKind.WAIT, cause, pod.name, key, reason, wanted, pod)


def _of_differences(found: list[Difference]) -> tuple[StepKind, Cause, str]:
    """Change in place what can be, but for what admission rewrites: it rewrites what it sees, and that is creations."""
    words = ", ".join(each.words for each in found)
    fields = {each.field for each in found}
    cause = Cause.IMAGE_DIFFERS if fields == {"image"} else Cause.RESOURCES_DIFFER
    if fields > {"image"}:
        return StepKind.REPLACE, Cause.SPEC_DIFFERS, words
    if any(each.rewritten for each in found):
        return StepKind.REPLACE, cause, f"{words}; replaced, for the cluster's admission rewrites that"
    return StepKind.UPDATE, cause, words


def _spec_difference(wanted: DesiredPod, pod: ObservedPod, spec: str) -> tuple[Cause, str]:
    generation = pod.annotations.get(names.RESTART_GENERATION)
    if generation is not None and generation != str(wanted.restart_generation):
        return Cause.RESTART_ASKED, f"restart asked for: generation {generation} -> {wanted.restart_generation}"
    return Cause.SPEC_DIFFERS, f"pod template changed: spec {spec} -> {wanted.spec_hash}"
