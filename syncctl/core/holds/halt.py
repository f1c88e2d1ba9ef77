"""Let a change whose first pods do not come up healthy go no further. Pure."""

from collections.abc import Iterable
from datetime import datetime

from syncctl.core import names
from syncctl.core.admission import as_asked
from syncctl.core.facts import Facts, Held, Rules
from syncctl.core.health import HealthCode, process_health
from syncctl.core.model import ObservedPod
from syncctl.core.quantity import canonical_cpu, canonical_memory
from syncctl.core.steps import Cause, Hold, HoldKind, Plan, Step

Cohort = tuple[str, str, str]
"""A change: of what, and to what."""

_RESTART = "restart"
_RESIZED = (Cause.RESOURCES_DIFFER, Cause.RESIZE_REFUSED)


def hold(plan: Plan, facts: Facts, rules: Rules) -> Held:
    """Hold further replacements of healthy pods by a change whose first pods do not come up healthy.

    A change is told from another by what it changes: cpu and memory alone, else the pod template, else the image, else
    nothing (a restart). Of the pods that were changed for it, and are as they should be or have ended, more than
    halt_percent must be unhealthy. Evidence against a restart is only what was restarted: a pod that was healed, and
    has ended again, says nothing of it. Nor does a healthy pod of which no restart was ever asked, whatever is written
    on it: an annotation, which anybody can edit, may hold a change up and never lets one go on.
    """
    now = facts.now
    stopping = [step for step in plan.drifted if step.stops_process and step.held is None]
    if not stopping:
        return Held()
    tried: dict[Cohort, list[ObservedPod]] = {}
    for step in plan.steps:
        pod = step.observed
        if facts.suspensions.of(step.key):
            # What runs there was left as it was, and whatever became of it.
            continue
        tells = step.cause in (Cause.IN_SYNC, Cause.RESIZING, Cause.FINISHED)
        if pod is not None and tells and names.REPLACED in pod.annotations:
            # That image and template it has, its state and its environment tell.
            restarted = step.wanted.restart_generation > 0 or process_health(pod, now).code is not HealthCode.HEALTHY
            for cohort in _cohorts(pod):
                if cohort[0] != _RESTART or restarted:
                    tried.setdefault(cohort, []).append(pod)
    holds: dict[str, Hold] = {}
    for step in stopping:
        if process_health(step.pod, now).code is not HealthCode.HEALTHY:
            continue
        pods = tried.get(_cohort(step, plan), [])
        unhealthy = [pod for pod in pods if process_health(pod, now).code is not HealthCode.HEALTHY]
        if len(unhealthy) * 100 > rules.halt_percent * len(pods):
            holds[step.name] = Hold(HoldKind.HALTED, _halted(pods, unhealthy, now))
    return Held(holds)


def _cohorts(pod: ObservedPod) -> Iterable[Cohort]:
    """Return the changes that a pod is evidence for.

    One that was only resized is evidence against its resources. Any other: against its template, its image on any
    template, and, if it was restarted, a restart of both. What an older version has changed does not say for what.
    """
    template, cause = pod.annotations.get(names.TEMPLATE, ""), pod.annotations.get(names.CHANGED_FOR)
    image, cpu, memory = as_asked(pod)
    if cause in _RESIZED:
        yield _of_resources(cpu, memory)
    if cause != Cause.RESOURCES_DIFFER:
        yield from (("template", template, ""), ("image", image, ""))
    if cause in (Cause.RESTART_ASKED, None):
        yield _RESTART, template, image


def _cohort(step: Step, plan: Plan) -> Cohort:
    wanted, template = step.wanted, plan.blueprint.template.digest[:16]
    if step.cause in _RESIZED:
        return _of_resources(wanted.cpu, wanted.memory)
    if step.pod.annotations.get(names.TEMPLATE) != template:
        return "template", template, ""
    return (
        ("image", wanted.image, "") if as_asked(step.pod).image != wanted.image else (_RESTART, template, wanted.image)
    )


def _of_resources(cpu: str, memory: str) -> Cohort:
    return "resources", canonical_cpu(cpu or "0"), canonical_memory(memory or "0")


def _halted(pods: list[ObservedPod], unhealthy: list[ObservedPod], now: datetime) -> str:
    first = min(unhealthy, key=lambda pod: pod.name)
    health = process_health(first, now)
    cause = f"{first.name}, which is {health.code}" + (f": {health.message}" if health.message else "")
    return f"{len(unhealthy)} of {len(pods)} pods changed for this are not healthy; look at {cause}"
