"""Refuse what nobody can have meant. Pure.

Stop means stop, disappearance is suspicious. A flag that is false and a client that was deleted through syncctl are a
person's word and carried out however many they are (unless switch_off_limit says otherwise). An orphan, a pod of ours
whose row has merely vanished, is not: a truncated table looks just like that.

    orphans > orphan_limit, or orphans > orphan_percent of the live pods  ->  no orphan is deleted in this pass

Everything else goes on, and so it stays on every following pass until a person allows that many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from syncctl.core.steps import Cause, Hold, HoldKind, Plan, Step, StepKind

NAMES_SHOWN = 5


class Policy(StrEnum):
    """What a run may do at all."""

    SYNC = "sync"
    UPSERT_ONLY = "upsert-only"
    CREATE_ONLY = "create-only"


_ALLOWED = {
    Policy.SYNC: frozenset(StepKind),
    Policy.UPSERT_ONLY: frozenset(StepKind) - {StepKind.DELETE},
    Policy.CREATE_ONLY: frozenset(StepKind) - {StepKind.DELETE, StepKind.REPLACE, StepKind.UPDATE},
}


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """How much may vanish in one pass without a question; switch_off_limit 0 means any number."""

    orphan_limit: int = 10
    orphan_percent: float = 30.0
    switch_off_limit: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A group of deletions that is not carried out: what, measured, allowed; and the way through."""

    message: str
    hint: str


def restrict(plan: Plan, policy: Policy) -> Plan:
    """Hold every step of a kind that the policy does not allow."""
    hold = Hold(HoldKind.DEFERRED, f"not in this run: --policy {policy}")
    return plan.holding({step.name: hold for step in plan.steps if step.kind not in _ALLOWED[policy]})


def guard(plan: Plan, limits: GuardLimits, allowed: int | None = None) -> tuple[Plan, tuple[Refusal, ...]]:
    """Hold the groups of deletions that are over their limits.

    Args:
        plan: judged as a whole, before anything of it is done.
        limits: see GuardLimits.
        allowed: how many guarded deletions a person allows in this run; None for as many as the limits do.
    """
    live = plan.live
    suspicious = []
    orphans = _deletions(plan, Cause.ORPHAN)
    if len(orphans) > limits.orphan_limit or len(orphans) * 100 > limits.orphan_percent * live:
        measured = f"{len(orphans)} of {live} live pods ({len(orphans) / live:.0%}) are orphans: their clients have "
        measured += "vanished from the database without being deleted"
        allows = f"at most {limits.orphan_limit} and at most {limits.orphan_percent:g}% may go unasked"
        suspicious.append((orphans, measured, allows))
    switched_off = _deletions(plan, Cause.SWITCHED_OFF, Cause.CLIENT_DELETED)
    if limits.switch_off_limit and len(switched_off) > limits.switch_off_limit:
        measured = f"{len(switched_off)} of {live} live pods were switched off or their clients deleted"
        allows = f"switch_off_limit is {limits.switch_off_limit}"
        suspicious.append((switched_off, measured, allows))
    total = sum(len(steps) for steps, _, _ in suspicious)
    if allowed is not None and total <= allowed:
        return plan, ()
    holds: dict[str, Hold] = {}
    refusals = []
    for steps, measured, allows in suspicious:
        over = f"; --allow-deletions {allowed} is fewer than {total}" if allowed is not None else ""
        message = f"refused to delete {len(steps)} pods: {measured} ({allows}{over}): {_names(steps)}"
        hint = f"look at `syncctl client list`; if this is meant, run `syncctl sync once --allow-deletions {total}`"
        refusals.append(Refusal(message, hint))
        holds |= {step.name: Hold(HoldKind.REFUSED, f"{measured}; {allows}{over}") for step in steps}
    return plan.holding(holds), tuple(refusals)


def _deletions(plan: Plan, *causes: Cause) -> list[Step]:
    return [step for step in plan.steps if step.kind is StepKind.DELETE and step.cause in causes and step.held is None]


def _names(steps: Sequence[Step]) -> str:
    shown = ", ".join(step.name for step in steps[:NAMES_SHOWN])
    return f"{shown}, ..." if len(steps) > NAMES_SHOWN else shown
