"""Do no more at a time than can be undone: how many running processes one pass may stop for something new. Pure."""

from syncctl.core.facts import Facts, Held, Rules
from syncctl.core.steps import Hold, HoldKind, Plan

AT_LEAST = 10
"""Processes that may be stopped for something new and not be back, however small the fleet."""


def hold(plan: Plan, facts: Facts, rules: Rules) -> Held:
    """Hold replacements beyond the budget of a pass, replace_percent of the pods; the lowest priority goes first.

    A pod that has ended stops nothing when it is replaced, so it does not count. What earlier passes have stopped for
    something new counts as long as it is not back, or a pod that takes longer to go than a pass lasts would let each
    pass stop as many again. What is suspended does not: it may be away until that ends.
    """
    away = sum(each.stopped for key, each in plan.away.items() if not facts.suspensions.of(key))
    budget = max(AT_LEAST, int((plan.live + away) * rules.replace_percent / 100))
    stopping = [step for step in plan.drifted if step.stops_process and step.held is None]
    stopping.sort(key=lambda step: (step.wanted.priority, step.name))
    why = f"{len(stopping)} to be replaced, {budget} a pass"
    if away:
        why += f", less {away} that earlier passes have begun and that are not back"
    return Held({step.name: Hold(HoldKind.DEFERRED, why) for step in stopping[max(0, budget - away) :]})
