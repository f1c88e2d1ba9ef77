"""Let no pod spin: one that has ended is replaced at once, and then later and later. Pure.

The second replacement comes 5 minutes after the first at the earliest, the next ones 10, 20 ... minutes after the one
before. A pod that is by now to be made of something else, or whose restart somebody has asked for, starts over.
"""

from datetime import datetime, timedelta
from hashlib import sha256

from syncctl.core.facts import Facts, Held, Notes, Rules
from syncctl.core.health import HealthCode, process_health
from syncctl.core.memory import BackOff
from syncctl.core.model import DesiredPod, ObservedPod, PodKey
from syncctl.core.steps import Cause, Hold, HoldKind, Plan, Step, StepKind

FIRST_BACK_OFF = timedelta(minutes=5)
"""From the first replacement in a row to the second, at the least; each time twice as long."""
DOUBLINGS = 6
"""To 320 minutes."""
HEALED_AFTER = timedelta(hours=1)
"""A pod that has been up this long has recovered; its next end is a first one again."""


def hold(plan: Plan, facts: Facts, rules: Rules) -> Held:  # noqa: ARG001 - the signature of a hold
    """Hold replacements of ended pods that are still backing off, by the database's clock, which all passes share.

    One whose end was counted by a pass that did not come to replace it has not ended once more. A back-off that ends
    further ahead than it lasts is cut to that: the clock was set back since it was stored.
    """
    back_offs, now = facts.back_offs, facts.read_at
    holds: dict[str, Hold] = {}
    changed: dict[PodKey, BackOff | None] = {}
    # Pods in sync have something to be healed of only where some pod has.
    for step in plan.steps if back_offs else plan.drifted:
        if step.key is None or step.held is not None or facts.suspensions.of(step.key):
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
    return Held(holds, notes=Notes(back_offs=changed))


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


def _recovered(pod: ObservedPod, now: datetime) -> bool:
    return (
        process_health(pod, now).code is HealthCode.HEALTHY
        and bool(pod.created_at)
        and now - datetime.fromisoformat(pod.created_at) > HEALED_AFTER
    )
