"""The digest that tells whether a saved plan is still the plan. Pure."""

import json
from hashlib import sha256

from syncctl.core.steps import Plan, Step, StepKind


def plan_digest(plan: Plan, cluster: str) -> str:
    """Return what identifies a plan for a cluster: it changes with every row and every pod that it was made from.

    A pod's restart count or the wording of a reason does not matter; its uid, and what is to be done to it, does.
    """
    blueprint = plan.blueprint
    common = [cluster, blueprint.fleet, blueprint.fleet_name, blueprint.template.digest]
    metadata = [blueprint.template.labels, blueprint.template.annotations]
    steps = [_identity(step) for step in plan.steps]
    return sha256(json.dumps([common, metadata, steps], sort_keys=True).encode()).hexdigest()


def _identity(step: Step) -> list[object]:
    wanted, pod = step.desired, step.observed
    return [
        step.kind,
        # A terminating pod becomes a stuck one by waiting alone.
        "" if step.kind is StepKind.WAIT else step.cause,
        step.name,
        step.key,
        step.held.kind if step.held else "",
        [wanted.name, wanted.client_name, wanted.version, wanted.image, wanted.cpu, wanted.memory, wanted.spec_hash]
        if wanted
        else [],
        [pod.uid, pod.image, pod.resources] if pod else [],
    ]
