"""Refuse what nobody can have meant. Pure.

Stop means stop, disappearance is suspicious. A flag that is false and a client that was deleted through syncctl are a
person's word and carried out however many they are (unless switch_off_limit says otherwise). An orphan, a pod of ours
whose row has merely vanished, is not: a truncated table looks just like that.

    orphans > orphan_limit, or orphans > orphan_percent of the live pods  ->  no orphan is deleted in this pass

Everything else goes on, and so it stays on every following pass until a person allows that many. Once orphans were
refused, each is, however few are left: a table that is being restored is half-way through it only few rows short. That
is the guard's latch, and latch.py tells when it is let go.

What a person has allowed stays allowed, pod by pod, until it is done: a pass may not come to all of it.

A fleet has one home, the namespace in which its pods were made. In any other one all of its pods seem to be missing; no
pod is made there, for each would run twice.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from syncctl.core.model import Allowance, GuardKind, Home, Latch
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
class Counts:
    """What the other shards of a fleet have seen lately: pods that live, and orphans among them."""

    live: int = 0
    orphans: int = 0


NOBODY_ELSE = Counts()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A group of steps that is not carried out: what, measured, allowed; and the way through."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Guarded:
    """A plan with what the guard refuses held. `allowed` are the steps that a person has let through just now."""

    plan: Plan
    refusals: tuple[Refusal, ...] = ()
    refused: frozenset[GuardKind] = frozenset()
    allowed: tuple[Step, ...] = ()


def restrict(plan: Plan, policy: Policy) -> Plan:
    """Hold every step of a kind that the policy does not allow."""
    hold = Hold(HoldKind.DEFERRED, f"not in this run: --policy {policy}")
    return plan.holding({step.name: hold for step in plan.drifted if step.kind not in _ALLOWED[policy]})


def guard_kind(step: Step) -> GuardKind | None:
    """Return as what the guard goes on refusing a step; None for what is a person's word, or nothing to refuse."""
    return GuardKind.ORPHANS if step.kind is StepKind.DELETE and step.cause is Cause.ORPHAN else None


def is_persons_word(step: Step) -> bool:
    """Whether the step is a deletion that a person has asked for, of which there may be a limit all the same."""
    return step.kind is StepKind.DELETE and step.cause in (Cause.SWITCHED_OFF, Cause.CLIENT_DELETED)


def allowance_of(step: Step) -> Allowance:
    """Return by what a pod is allowed to go that passes the guard."""
    return Allowance(step.name, step.pod.uid)


def count(plan: Plan, allowances: Collection[Allowance] = ()) -> Counts:
    """Return what the other shards have to know of this one."""
    return Counts(plan.live, len(_to_judge(plan, allowances)))


def guard(
    plan: Plan,
    limits: GuardLimits,
    allowed: int | None = None,
    elsewhere: Counts = NOBODY_ELSE,
    *,
    latches: Mapping[GuardKind, Latch] | None = None,
    allowances: Collection[Allowance] = (),
) -> Guarded:
    """Hold the groups of deletions that are over their limits.

    Args:
        plan: judged as a whole, before anything of it is done.
        limits: see GuardLimits.
        allowed: how many guarded deletions a person allows in this run; None for as many as the limits do.
        elsewhere: counts of the other shards. A shard's orphans are refused when they are too many in the shard or,
            with those, in the fleet.
        latches: what was refused before and is not settled: any of it is refused, however few.
        allowances: pods that a person has let pass in a run before: these neither count nor are refused.
    """
    live = plan.live
    suspicious = []
    orphans = _to_judge(plan, allowances)
    here, everywhere = Counts(live, len(orphans)), Counts(live + elsewhere.live, len(orphans) + elsewhere.orphans)
    over = next((counts for counts in (here, everywhere) if orphans and _too_many(counts, limits)), None)
    latch = (latches or {}).get(GuardKind.ORPHANS)
    if orphans and (over or latch):
        found = over or here
        where = "" if elsewhere == NOBODY_ELSE else " of this shard" if found == here else " of all shards"
        measured = (
            f"{found.orphans} of {found.live} live pods{where} ({found.orphans / found.live:.0%}) are orphans: their "
        )
        measured += "clients have vanished from the database without being deleted"
        suspicious.append((orphans, measured, _why(limits if over else None, latch)))
    switched_off = _not_among(allowances, filter(is_persons_word, plan.drifted))
    if limits.switch_off_limit and len(switched_off) > limits.switch_off_limit:
        measured = f"{len(switched_off)} of {live} live pods were switched off or their clients deleted"
        allows = f"switch_off_limit is {limits.switch_off_limit}"
        suspicious.append((switched_off, measured, allows))
    total = sum(len(steps) for steps, _, _ in suspicious)
    if allowed is not None and total <= allowed:
        return Guarded(plan, allowed=tuple(step for steps, _, _ in suspicious for step in steps))
    holds: dict[str, Hold] = {}
    refusals = []
    for steps, measured, allows in suspicious:
        short = f"; --allow-deletions {allowed} is fewer than {total}" if allowed is not None else ""
        message = f"refused to delete {len(steps)} pods: {measured} ({allows}{short}): {_names(steps)}"
        hint = f"look at `syncctl client list`; if this is meant, run `syncctl sync once --allow-deletions {total}`"
        refusals.append(Refusal(message, hint))
        holds |= {step.name: Hold(HoldKind.REFUSED, f"{measured}; {allows}{short}") for step in steps}
    refused = frozenset(kind for steps, _, _ in suspicious for kind in map(guard_kind, steps) if kind)
    return Guarded(plan.holding(holds), tuple(refusals), refused)


def keep_home(plan: Plan, home: Home | None, here: Home | None) -> tuple[Plan, tuple[Refusal, ...]]:
    """Hold all that would make a pod in another place than the fleet's home.

    Args:
        plan: what is held already is not refused once more.
        home: where the fleet's pods were made; None when nobody knows, or when a person says that it is here.
        here: where the plan is for; None when that is not known.
    """
    making = [step for step in plan.drifted if step.held is None and step.may_make_pod]
    if home is None or here is None or here.uid == home.uid or not making:
        return plan, ()
    made = f"the pods of this fleet were made in {home.name}"
    if home.name == here.name:
        # Made anew, or another cluster at the same address: only the uids tell.
        measured = f"{made} when its uid was {home.uid}; here it is {here.uid}"
    else:
        measured = f"{made}; here is {here.name}"
    number = f"{len(making)} pod{'s' if len(making) != 1 else ''}"
    message = f"refused to make {number}: {measured}; if those still run, each would run twice: {_names(making)}"
    hint = (
        "name the right --context and --namespace; if the fleet has really moved (namespace or cluster made anew) and"
        " nothing of it runs there any more: `syncctl sync once --move-here`"
    )
    return plan.holding({step.name: Hold(HoldKind.REFUSED, measured) for step in making}), (Refusal(message, hint),)


def _too_many(counts: Counts, limits: GuardLimits) -> bool:
    return counts.orphans > limits.orphan_limit or counts.orphans * 100 > limits.orphan_percent * counts.live


def _why(exceeded: GuardLimits | None, latch: Latch | None) -> str:
    """Say why orphans are refused: they are over the limits, or latched, or both."""
    limits = since = ""
    if exceeded:
        share = f"{exceeded.orphan_percent:g}%"
        limits = f"at most {exceeded.orphan_limit} and at most {share} may go unasked"
    if latch:
        since = f"orphans have been refused since {latch.since:%Y-%m-%d %H:%M:%S} UTC, first found by {latch.by}"
        if not exceeded:
            since += ", and each is until there are none: a restore may be half-way through"
    return "; ".join(filter(None, (limits, since)))


def _to_judge(plan: Plan, allowances: Collection[Allowance]) -> list[Step]:
    return _not_among(allowances, filter(guard_kind, plan.drifted))


def _not_among(allowances: Collection[Allowance], steps: Iterable[Step]) -> list[Step]:
    return [step for step in steps if step.held is None and allowance_of(step) not in allowances]


def _names(steps: Sequence[Step]) -> str:
    shown = ", ".join(step.name for step in steps[:NAMES_SHOWN])
    return f"{shown}, ..." if len(steps) > NAMES_SHOWN else shown
