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

Such steps count whatever else holds them: a truncated table must not hide behind a suspension.

What a person has allowed stays allowed, pod by pod, until it is done: a pass may not come to all of it.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from syncctl.core import names
from syncctl.core.facts import NOBODY_ELSE, Counts, Facts, Held, Notes, Refusal, Rules
from syncctl.core.memory import Allowance, GuardKind, Latch
from syncctl.core.steps import Cause, Hold, HoldKind, Plan, Step, StepKind


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


class _Group(NamedTuple):
    """Steps that are refused together: how they are spoken of, what was measured, and why that is too much."""

    steps: list[Step]
    words: _Words
    measured: str
    why: str


def guard_kind(step: Step) -> GuardKind | None:
    """Return as what the guard goes on refusing a step; None for what is a person's word, or nothing to refuse."""
    if step.kind is StepKind.DELETE and step.cause is Cause.ORPHAN:
        return GuardKind.ORPHANS
    return GuardKind.UNSURE if step.unsure else None


_LEFT = (HoldKind.REFUSED, HoldKind.SUSPENDED)


def is_left_duplicate(step: Step) -> bool:
    """Whether the step would end a second pod of a key, and is left to a person: the key may run twice until then."""
    return step.cause is Cause.DUPLICATE and step.held is not None and step.held.kind in _LEFT


def is_persons_word(step: Step) -> bool:
    """Whether the step is a deletion that a person has asked for; there may be a limit to these all the same."""
    asked_for = step.cause in (Cause.SWITCHED_OFF, Cause.CLIENT_DELETED, Cause.STOPPED)
    return step.kind is StepKind.DELETE and asked_for and not step.unsure


def is_allowed_stop(step: Step, allowed_stops: Collection[int]) -> bool:
    """Whether a person has let the stops of the step's client pass the limit."""
    return step.key is not None and step.key.client_id in allowed_stops


def allowance_of(step: Step) -> Allowance:
    """Return by what a pod is allowed to go that passes the guard."""
    return Allowance(step.name, step.pod.uid)


def count(plan: Plan, facts: Facts) -> Counts:
    """Return what the other shards have to know of this one."""
    return Counts(plan.live, len(_to_judge(plan, facts.allowances)))


def hold(plan: Plan, facts: Facts, rules: Rules) -> Held:
    """Hold the groups of steps that are over their limits.

    A shard's orphans are refused when they are too many in the shard or, with those elsewhere, in the fleet. What was
    refused before and is not settled is refused, however few. Pods that a person has let pass, in a run before or by
    name in this one, neither count nor are refused.
    """
    by_name = [step for step in plan.drifted if step.name in rules.allow_pods and _may_be_refused(step)]
    suspicious, allowed = _suspicious(plan, facts, rules, by_name), rules.allow_deletions
    total = sum(len(group.steps) for group in suspicious)
    if allowed is not None and total <= allowed:
        return Held(notes=Notes(allowed=(*by_name, *(step for group in suspicious for step in group.steps))))
    holds: dict[str, Hold] = {}
    refusals = []
    for steps, words, measured, why in suspicious:
        short = f"; --allow-deletions {allowed} is fewer than {total}" if allowed is not None else ""
        doing = "delete" if all(step.kind is StepKind.DELETE for step in steps) else "end"
        listed = names.listed([step.name for step in steps])
        message = f"refused to {doing} {names.pods(len(steps))}: {measured} ({why}{short}): {listed}"
        way = f"run `syncctl sync once --allow-deletions {total}`{words.by_name.format(pod=steps[0].name)}"
        refusals.append(Refusal(message, f"look at `{words.look}`; if this is meant, {way}"))
        holds |= {step.name: Hold(HoldKind.REFUSED, f"{measured}; {why}{short}") for step in steps}
    refused = frozenset(kind for group in suspicious for kind in map(guard_kind, group.steps) if kind)
    notes = Notes(refused=refused, allowed=tuple(by_name))
    return Held(_beside_nothing(plan.holding(holds)) | holds, tuple(refusals), notes)


def _suspicious(plan: Plan, facts: Facts, rules: Rules, by_name: Collection[Step]) -> list[_Group]:
    """Return what is over its limits or latched, but for the steps that are allowed by name."""
    allowances, elsewhere = facts.allowances, facts.elsewhere
    found = [step for step in _to_judge(plan, allowances) if step not in by_name]
    # What would be ended here counts here, whoever lists it.
    here = Counts(plan.live + sum(step.pod.uid in plan.guests for step in found), len(found))
    everywhere = Counts(here.live + elsewhere.live, here.orphans + elsewhere.orphans)
    over = next((counts for counts in (here, everywhere) if found and _too_many(counts, rules)), None)
    where = "" if elsewhere == NOBODY_ELSE else " of all shards" if over == everywhere else " of this shard"
    # Where there are both, what is counted is both.
    counted = _WORDS[GuardKind.UNSURE] if any(guard_kind(step) is GuardKind.UNSURE for step in found) else _ORPHANS
    groups = []
    for kind, words in _WORDS.items():
        steps, latch = [step for step in found if guard_kind(step) is kind], facts.latches.get(kind)
        if steps and (over or latch):
            counts = over or here
            share = f"{counts.orphans} of {counts.live} live pods{where} ({counts.orphans / counts.live:.0%})"
            why = _why(words, rules if over else None, latch)
            gone = f": {facts.vanished}" if facts.vanished else ""
            groups.append(_Group(steps, words, f"{share} {counted.measured}{gone}", why))
    free = (step for step in plan.drifted if step.held is None and not is_allowed_stop(step, facts.allowed_stops))
    asked_for = _not_among(allowances, filter(is_persons_word, free))
    switched_off = [step for step in asked_for if step not in by_name]
    if rules.switch_off_limit and len(switched_off) > rules.switch_off_limit:
        measured = f"{len(switched_off)} of {plan.live} live pods were switched off or their clients deleted"
        groups.append(_Group(switched_off, _ORPHANS, measured, f"switch_off_limit is {rules.switch_off_limit}"))
    return groups


def _too_many(counts: Counts, rules: Rules) -> bool:
    return counts.orphans > rules.orphan_limit or counts.orphans * 100 > rules.orphan_percent * counts.live


def _why(words: _Words, exceeded: Rules | None, latch: Latch | None) -> str:
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


def _beside_nothing(plan: Plan) -> dict[str, Hold]:
    """Return the holds of all steps that would make a pod while a second pod of its key is left running."""
    doubled = {step.key: step.name for step in plan.drifted if is_left_duplicate(step)}
    making = [step for step in plan.drifted if step.key in doubled and step.may_make_pod]
    return {step.name: Hold(HoldKind.DEFERRED, f"{doubled[step.key]} may run the same, and is left") for step in making}


def _may_be_refused(step: Step) -> bool:
    return guard_kind(step) is not None or is_persons_word(step)


def _to_judge(plan: Plan, allowances: Collection[Allowance]) -> list[Step]:
    return _not_among(allowances, filter(guard_kind, plan.drifted))


def _not_among(allowances: Collection[Allowance], steps: Iterable[Step]) -> list[Step]:
    return [step for step in steps if allowance_of(step) not in allowances]
