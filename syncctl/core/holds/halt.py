"""Let a change whose first pods do not come up healthy go no further. Pure."""

from collections.abc import Iterable
from datetime import datetime

from syncctl.core import names
from syncctl.core.facts import Facts, Held, Rules
from syncctl.core.health import HealthCode, process_health
from syncctl.core.model import ObservedPod
from syncctl.core.steps import Cause, Hold, HoldKind, Plan, Step


def hold(plan: Plan, facts: Facts, rules: Rules) -> Held:
    """Hold further replacements of healthy pods by a change whose first pods do not come up healthy.

    A change is told from another by what it changes: the pod template, else the image, else neither (a restart). Of
    the pods that were replaced for it, and are as they should be or have ended, more than halt_percent must be
    unhealthy.
    """
    now = facts.now
    stopping = [step for step in plan.drifted if step.stops_process and step.held is None]
    if not stopping:
        return Held()
    tried: dict[tuple[str, str], list[ObservedPod]] = {}
    for step in plan.steps:
        pod = step.observed
        tells = step.cause in (Cause.IN_SYNC, Cause.RESIZING, Cause.FINISHED)
        if pod is not None and tells and names.REPLACED in pod.annotations:
            for cohort in _cohorts(pod.annotations.get(names.TEMPLATE, ""), pod.image):
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


def _cohorts(template: str, image: str) -> Iterable[tuple[str, str]]:
    """Return the changes for which a replaced pod is evidence: its template, its image on any template, both."""
    return (template, ""), ("", image), (template, image)


def _cohort(step: Step, plan: Plan) -> tuple[str, str]:
    template = plan.blueprint.template.digest[:16]
    if step.pod.annotations.get(names.TEMPLATE) != template:
        return template, ""
    return ("", step.wanted.image) if step.pod.image != step.wanted.image else (template, step.wanted.image)


def _halted(pods: list[ObservedPod], unhealthy: list[ObservedPod], now: datetime) -> str:
    first = min(unhealthy, key=lambda pod: pod.name)
    health = process_health(first, now)
    cause = f"{first.name} is {health.code}" + (f": {health.message}" if health.message else "")
    return f"{len(unhealthy)} of {len(pods)} pods replaced for this are not healthy; look at {cause}"
