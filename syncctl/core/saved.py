"""The digest that tells whether a saved plan is still the plan. Pure."""

import json
from collections.abc import Sequence
from hashlib import sha256

from msgspec import Struct

from syncctl.core.fields import FieldChange, field_changes
from syncctl.core.manifest import Blueprint
from syncctl.core.steps import Plan, Step, StepKind


class SavedStep(Struct, frozen=True):
    """What a saved plan says of a pod: `changes` are fields, each with what it was and what it becomes."""

    pod: str = ""
    step: str = ""
    cause: str = ""
    uid: str | None = None
    changes: tuple[FieldChange, ...] = ()


def plan_digest(plan: Plan, cluster: str) -> str:
    """Return what identifies a plan for a cluster: it changes with every row and every pod that it was made from.

    A pod's restart count or the wording of a reason does not matter; its uid, and what is to be done to it, does.
    """
    blueprint = plan.blueprint
    common = [cluster, blueprint.fleet, blueprint.fleet_name, blueprint.template.digest]
    metadata = [blueprint.template.labels, blueprint.template.annotations]
    steps = [_identity(step) for step in plan.steps]
    return sha256(json.dumps([common, metadata, steps], sort_keys=True).encode()).hexdigest()


def what_differs(saved: Sequence[SavedStep], plan: Plan) -> list[str]:
    """Say which steps of a saved plan are others now; none where only pods that are kept, or what all share, differ."""
    was = {step.pod: step for step in saved}
    now = {step.name: saved_step(step, plan.blueprint) for step in plan.drifted}
    return [
        f"{pod}: {_told(was.get(pod))} when saved, {_told(now.get(pod))} now"
        for pod in {**was, **now}
        if was.get(pod) != now.get(pod)
    ]


def saved_step(step: Step, blueprint: Blueprint) -> SavedStep:
    """Return what a saved plan says of a step."""
    uid = step.observed.uid if step.observed else None
    return SavedStep(step.name, str(step.kind), str(step.cause), uid, field_changes(blueprint, step))


def _told(step: SavedStep | None) -> str:
    if step is None:
        return "no step"
    fields = ", ".join(each.words for each in step.changes)
    pod = f" of pod {step.uid}" if step.uid else ""
    return f"{step.step}{pod} ({step.cause}{f': {fields}' if fields else ''})"


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
