"""Do no more than a person's stops while nobody knows for sure what the fleet has set. Pure.

What pods are made of and how much a pass may do are the fleet's own settings. After the upgrade from a syncctl that
read them from each process's environment they are unset; and a process whose environment still says otherwise than the
fleet was perhaps never told of it.
"""

from syncctl.core import names
from syncctl.core.facts import Facts, Held, Refusal, Rules
from syncctl.core.fleet import command_to_set, contradictions
from syncctl.core.holds.guard import is_persons_word
from syncctl.core.steps import ACTING, Hold, HoldKind, Plan


def hold(plan: Plan, facts: Facts, rules: Rules) -> Held:  # noqa: ARG001 - the signature of a hold
    """Hold all but what a person has switched off or deleted, if the settings are unset or contradicted."""
    if facts.settings is None:
        why, way = "the fleet's own settings are unset since an upgrade", command_to_set(facts.claims)
        hint = f"`{way}` sets them as this process knew them"
    elif found := contradictions(facts.claims, facts.settings):
        why = "; ".join(found)
        hint = "take that away where it stands; `syncctl fleet show` shows what the fleet has, `fleet set` changes it"
    else:
        return Held()
    steps = [step for step in plan.drifted if step.kind in ACTING and step.held is None and not is_persons_word(step)]
    message = f"refused to do anything but stop what a person has stopped: {why}{_down(plan)}"
    return Held({step.name: Hold(HoldKind.REFUSED, why) for step in steps}, (Refusal(message, hint),))


def _down(plan: Plan) -> str:
    """Name the pods that were ended for something new and wait for it."""
    begun = [step.name for step in plan.drifted if step.key in plan.away and step.observed is None]
    return f"; until then these are down, whose replacement was begun: {names.listed(begun)}" if begun else ""
