"""Refuse what nobody can have meant. Pure.

Stop means stop, disappearance is suspicious. A flag that is false and a client that was deleted through syncctl are a
person's word and carried out however many they are (unless switch_off_limit says otherwise). An orphan, a pod of ours
whose row has merely vanished, is not: a truncated table looks just like that.

    orphans > orphan_limit, or orphans > orphan_percent of the live pods  ->  no orphan is deleted in this pass

Nor is a step that ends a process a person's word when it is unsure: when it rests on the name or the environment of a
pod alone, or on an annotation. Such steps count with the orphans. While a second pod of a key is left for that, nothing
of the key is made.

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
from typing import NamedTuple

from syncctl.core import names
from syncctl.core.model import Allowance, GuardKind, Home, Latch
from syncctl.core.steps import Cause, Hold, HoldKind, Plan, Step, StepKind


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


class _Words(NamedTuple):
    """How a kind of guarded steps is spoken of."""

    what: str
    measured: str
    until: str
    look: str
    by_name: str = ""


_WORDS = {
    GuardKind.ORPHANS: _Words(
        "orphans",
        "are orphans: their clients have vanished from the database without being deleted",
        "a restore may be half-way through",
        "syncctl client list",
    ),
    GuardKind.UNSURE: _Words(
        "unsure steps",
        "are orphans, or would be ended by their name, their environment or an annotation alone",
        "whoever edits pods or ids may be half-way through",
        "syncctl sync plan",
        ", or `--allow-pod {pod}` for one",
    ),
}


_ORPHANS = _WORDS[GuardKind.ORPHANS]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A group of steps that is not carried out: what, measured, allowed; and the way through."""

    message: str
    hint: str


class _Group(NamedTuple):
    """Steps that are refused together: how they are spoken of, what was measured, and why that is too much."""

    steps: list[Step]
    words: _Words
    measured: str
    why: str


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
    if step.kind is StepKind.DELETE and step.cause is Cause.ORPHAN:
        return GuardKind.ORPHANS
    return GuardKind.UNSURE if step.unsure else None


def is_refused_duplicate(step: Step) -> bool:
    """Whether the step would end a second pod of a key, and is left to a person: the key may run twice until then."""
    return step.cause is Cause.DUPLICATE and step.held is not None and step.held.kind is HoldKind.REFUSED


def is_persons_word(step: Step) -> bool:
    """Whether the step is a deletion that a person has asked for, of which there may be a limit all the same."""
    asked_for = step.cause in (Cause.SWITCHED_OFF, Cause.CLIENT_DELETED)
    return step.kind is StepKind.DELETE and asked_for and not step.unsure


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
    named: Collection[str] = (),
) -> Guarded:
    """Hold the groups of steps that are over their limits.

    Args:
        plan: judged as a whole, before anything of it is done.
        limits: see GuardLimits.
        allowed: how many guarded deletions a person allows in this run; None for as many as the limits do.
        elsewhere: counts of the other shards. A shard's orphans are refused when they are too many in the shard or,
            with those, in the fleet.
        latches: what was refused before and is not settled: any of it is refused, however few.
        allowances: pods that a person has let pass in a run before: these neither count nor are refused.
        named: names of pods that a person lets pass in this run: the same.
    """
    judged = _to_judge(plan, allowances)
    by_name = [step for step in plan.drifted if step.held is None and _may_be_refused(step) and step.name in named]
    found = [step for step in judged if step not in by_name]
    here = Counts(plan.live, len(found))
    everywhere = Counts(here.live + elsewhere.live, here.orphans + elsewhere.orphans)
    over = next((counts for counts in (here, everywhere) if found and _too_many(counts, limits)), None)
    where = "" if elsewhere == NOBODY_ELSE else " of all shards" if over == everywhere else " of this shard"
    # Where there are both, what is counted is both.
    counted = _WORDS[GuardKind.UNSURE] if any(guard_kind(step) is GuardKind.UNSURE for step in found) else _ORPHANS
    suspicious = []
    for kind, words in _WORDS.items():
        steps, latch = [step for step in found if guard_kind(step) is kind], (latches or {}).get(kind)
        if steps and (over or latch):
            counts = over or here
            share = f"{counts.orphans} of {counts.live} live pods{where} ({counts.orphans / counts.live:.0%})"
            why = _why(words, limits if over else None, latch)
            suspicious.append(_Group(steps, words, f"{share} {counted.measured}", why))
    asked_for = _not_among(allowances, filter(is_persons_word, plan.drifted))
    switched_off = [step for step in asked_for if step not in by_name]
    if limits.switch_off_limit and len(switched_off) > limits.switch_off_limit:
        measured = f"{len(switched_off)} of {plan.live} live pods were switched off or their clients deleted"
        suspicious.append(_Group(switched_off, _ORPHANS, measured, f"switch_off_limit is {limits.switch_off_limit}"))
    total = sum(len(group.steps) for group in suspicious)
    if allowed is not None and total <= allowed:
        return Guarded(plan, allowed=tuple(by_name) + tuple(step for group in suspicious for step in group.steps))
    holds: dict[str, Hold] = {}
    refusals = []
    for steps, words, measured, why in suspicious:
        short = f"; --allow-deletions {allowed} is fewer than {total}" if allowed is not None else ""
        doing = "delete" if all(step.kind is StepKind.DELETE for step in steps) else "end"
        message = f"refused to {doing} {_pods(steps)}: {measured} ({why}{short}): {_listed(steps)}"
        way = f"run `syncctl sync once --allow-deletions {total}`{words.by_name.format(pod=steps[0].name)}"
        refusals.append(Refusal(message, f"look at `{words.look}`; if this is meant, {way}"))
        holds |= {step.name: Hold(HoldKind.REFUSED, f"{measured}; {why}{short}") for step in steps}
    refused = frozenset(kind for group in suspicious for kind in map(guard_kind, group.steps) if kind)
    return Guarded(_beside_nothing(plan.holding(holds)), tuple(refusals), refused, tuple(by_name))


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
    message = (
        f"refused to make {_pods(making)}: {measured}; if those still run, each would run twice: {_listed(making)}"
    )
    hint = (
        "name the right --context and --namespace; if the fleet has really moved (namespace or cluster made anew) and"
        " nothing of it runs there any more: `syncctl sync once --move-here`"
    )
    return plan.holding({step.name: Hold(HoldKind.REFUSED, measured) for step in making}), (Refusal(message, hint),)


def _too_many(counts: Counts, limits: GuardLimits) -> bool:
    return counts.orphans > limits.orphan_limit or counts.orphans * 100 > limits.orphan_percent * counts.live


def _why(words: _Words, exceeded: GuardLimits | None, latch: Latch | None) -> str:
    """Say why steps are refused: they are over the limits, or latched, or both."""
    limits = since = ""
    if exceeded:
        share = f"{exceeded.orphan_percent:g}%"
        limits = f"at most {exceeded.orphan_limit} and at most {share} may go unasked"
    if latch:
        since = f"{words.what} have been refused since {latch.since:%Y-%m-%d %H:%M:%S} UTC, first found by {latch.by}"
        if not exceeded:
            since += f", and each is until there are none: {words.until}"
    return "; ".join(filter(None, (limits, since)))


def _beside_nothing(plan: Plan) -> Plan:
    """Hold all that would make a pod of a key of which a second pod is left running."""
    doubled = {step.key: step.name for step in plan.drifted if is_refused_duplicate(step)}
    making = [step for step in plan.drifted if step.key in doubled and step.may_make_pod]
    return plan.holding(
        {step.name: Hold(HoldKind.DEFERRED, f"{doubled[step.key]} may run the same, and is left") for step in making}
    )


def _may_be_refused(step: Step) -> bool:
    return guard_kind(step) is not None or is_persons_word(step)


def _to_judge(plan: Plan, allowances: Collection[Allowance]) -> list[Step]:
    return _not_among(allowances, filter(guard_kind, plan.drifted))


def _not_among(allowances: Collection[Allowance], steps: Iterable[Step]) -> list[Step]:
    return [step for step in steps if step.held is None and allowance_of(step) not in allowances]


def _pods(steps: Sequence[Step]) -> str:
    return f"{len(steps)} pod{'' if len(steps) == 1 else 's'}"


def _listed(steps: Iterable[Step]) -> str:
    return names.listed([step.name for step in steps])
