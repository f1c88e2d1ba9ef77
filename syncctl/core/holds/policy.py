"""Do nothing of a kind that this run is not to do. Pure."""

from syncctl.core.facts import Facts, Held, Policy, Rules
from syncctl.core.steps import Hold, HoldKind, Plan, StepKind

_ALLOWED = {
    Policy.SYNC: frozenset(StepKind),
    Policy.UPSERT_ONLY: frozenset(StepKind) - {StepKind.DELETE},
    Policy.CREATE_ONLY: frozenset(StepKind) - {StepKind.DELETE, StepKind.REPLACE, StepKind.UPDATE},
}


def hold(plan: Plan, facts: Facts, rules: Rules) -> Held:  # noqa: ARG001 - the signature of a hold
    """Hold every step of a kind that the policy does not allow."""
    why = Hold(HoldKind.DEFERRED, f"not in this run: --policy {rules.policy}")
    return Held({step.name: why for step in plan.drifted if step.kind not in _ALLOWED[rules.policy]})
