"""Do no more at a time than can be undone: how many running processes one pass may stop for something new. Pure.

Three rules, each a function from plan to plan that holds steps back for a later pass:

    heal    a pod that has ended is replaced at once, and then 5, 10, 20 ... minutes after the time before, so that none
            spins; when it is to be made of something else, at once again
    halt    a change whose first pods do not come up healthy goes no further
    pace    at most replace_percent of the pods, at least AT_LEAST, lowest priority first; of that is also what earlier
            passes have begun and what is not back
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256

from msgspec.structs import replace

from syncctl.core import names
from syncctl.core.health import Health, HealthCode, pod_health
from syncctl.core.model import BackOff, DesiredPod, ObservedPod, PodKey
from syncctl.core.steps import Cause, Hold, HoldKind, Plan, Step, StepKind

AT_LEAST = 10
"""Processes that may be stopped for something new and not be back, however small the fleet."""
FIRST_BACK_OFF = timedelta(minutes=5)
"""From the first replacement in a row to the second, at the least; each time twice as long."""
DOUBLINGS = 6
"""To 320 minutes."""
HEALED_AFTER = timedelta(hours=1)
"""A pod that has been up this long has recovered; its next end is a first one again."""

_RESTARTS_CONTAINER = {Cause.IMAGE_DIFFERS, Cause.RESOURCES_DIFFER}


def heal(plan: Plan, back_offs: Mapping[PodKey, BackOff], now: datetime) -> tuple[Plan, dict[PodKey, BackOff | None]]:
    """Hold replacements of ended pods that are still backing off.

    A pod that is to be made of something else since, or for which somebody has asked for a restart, starts over. One
    whose end was counted by a pass that did not come to replace it has not ended once more. A back-off that ends
    further ahead than it lasts is cut to that: the clock was set back since it was stored.

    Args:
        plan: what is held already neither backs off nor counts.
        back_offs: what earlier passes have left.
        now: by the database's clock, which all passes share.

    Returns:
        The plan, and the back-offs to be stored: None means that the key has recovered.
    """
    holds: dict[str, Hold] = {}
    changed: dict[PodKey, BackOff | None] = {}
    # Pods in sync have something to be healed of only where some pod has.
    for step in plan.steps if back_offs else plan.drifted:
        if step.key is None or step.held is not None:
            continue
        known = back_offs.get(step.key)
        if step.kind is StepKind.REPLACE and step.cause is Cause.FINISHED:
            back_off = _after_end(step, known, now)
            if back_off != known:
                changed[step.key] = back_off
            if back_off.until > now and back_off.pod != step.pod.uid:
                holds[step.name] = Hold(HoldKind.BACK_OFF, _backing_off(back_off))
        elif known is not None and step.observed is not None and _recovered(step.observed, now):
            changed[step.key] = None
    return plan.holding(holds), changed


def _after_end(step: Step, known: BackOff | None, now: datetime) -> BackOff:
    """Return the back-off of a key whose pod has ended: one that names this pod lets it be replaced now."""
    made_of, uid = _made_of(step.wanted), step.pod.uid
    if known is None or known.made_of not in ("", made_of):
        return BackOff(1, now + _back_off(1), made_of, uid)
    if known.pod != uid and known.until <= now:
        return BackOff(known.failures + 1, now + _back_off(known.failures + 1), made_of, uid)
    return BackOff(known.failures, min(known.until, now + _back_off(known.failures)), made_of, known.pod)


def _back_off(failures: int) -> timedelta:
    return FIRST_BACK_OFF * 2.0 ** min(failures - 1, DOUBLINGS)


def _backing_off(back_off: BackOff) -> str:
    ends = back_off.failures + 1
    # Rounded up: at the time that is told it is over.
    until = back_off.until + timedelta(minutes=1) - timedelta.resolution
    return f"has ended {'twice' if ends == 2 else f'{ends} times'} in a row; backing off until {until:%H:%M} UTC"


def _made_of(wanted: DesiredPod) -> str:
    """Return what tells a pod that a person has mended from what has failed: 16 hexadecimal digits."""
    parts = wanted.image, wanted.cpu, wanted.memory, wanted.spec_hash
    return sha256("|".join(parts).encode()).hexdigest()[:16]


def halt(plan: Plan, percent: float, now: datetime) -> Plan:
    """Hold further replacements of healthy pods by a change whose first pods do not come up healthy.

    A change is told from another by what it changes: the pod template, else the image, else neither (a restart). Of
    the pods that were replaced for it, and are as they should be or have ended, more than `percent` must be unhealthy.
    """
    stopping = list(filter(_stops_a_process, plan.drifted))
    if not stopping:
        return plan
    tried: dict[tuple[str, str], list[ObservedPod]] = {}
    for step in plan.steps:
        pod = step.observed
        tells = step.cause in (Cause.IN_SYNC, Cause.RESIZING, Cause.FINISHED)
        if pod is not None and tells and names.REPLACED in pod.annotations:
            for cohort in _cohorts(pod.annotations.get(names.TEMPLATE, ""), pod.image):
                tried.setdefault(cohort, []).append(pod)
    holds: dict[str, Hold] = {}
    for step in stopping:
        if _health(step.pod, now).code is not HealthCode.HEALTHY:
            continue
        pods = tried.get(_cohort(step, plan), [])
        unhealthy = [pod for pod in pods if _health(pod, now).code is not HealthCode.HEALTHY]
        if len(unhealthy) * 100 > percent * len(pods):
            holds[step.name] = Hold(HoldKind.HALTED, _halted(pods, unhealthy, now))
    return plan.holding(holds)


def pace(plan: Plan, percent: float) -> Plan:
    """Hold replacements beyond the budget of a pass; those of the lowest priority go first.

    A pod that has ended stops nothing when it is replaced, so it does not count. What earlier passes have stopped for
    something new counts as long as it is not back, or a pod that takes longer to go than a pass lasts would let each
    pass stop as many again.
    """
    away = sum(each.stopped for each in plan.away.values())
    budget = max(AT_LEAST, int((plan.live + away) * percent / 100))
    stopping = sorted(filter(_stops_a_process, plan.drifted), key=lambda step: (step.wanted.priority, step.name))
    why = f"{len(stopping)} to be replaced, {budget} a pass"
    if away:
        why += f", less {away} that earlier passes have begun and that are not back"
    return plan.holding({step.name: Hold(HoldKind.DEFERRED, why) for step in stopping[max(0, budget - away) :]})


def _stops_a_process(step: Step) -> bool:
    """Whether the step ends a process that runs. A resize may fall back to a replacement, so it counts."""
    if step.held is not None:
        return False
    if step.kind is StepKind.REPLACE:
        return step.cause is not Cause.FINISHED
    return step.kind is StepKind.UPDATE and step.cause in _RESTARTS_CONTAINER


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
    health = _health(first, now)
    cause = f"{first.name} is {health.code}" + (f": {health.message}" if health.message else "")
    return f"{len(unhealthy)} of {len(pods)} pods replaced for this are not healthy; look at {cause}"


def _health(pod: ObservedPod, now: datetime) -> Health:
    """Judge what runs in the pod: that a node has no room for more says nothing of that."""
    return pod_health(replace(pod, resizing="") if pod.resizing else pod, now)


def _recovered(pod: ObservedPod, now: datetime) -> bool:
    return (
        _health(pod, now).code is HealthCode.HEALTHY
        and bool(pod.created_at)
        and now - datetime.fromisoformat(pod.created_at) > HEALED_AFTER
    )
