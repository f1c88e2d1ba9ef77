"""JSON documents of plans, reports and the status: command line and HTTP show the same ones. Pure."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from syncctl.core.documents import change_document, moment, suspension_document
from syncctl.core.fields import Former, field_changes, nobody_knows

if TYPE_CHECKING:
    from syncctl.core.explanation import Explanation
    from syncctl.core.facts import Refusal
    from syncctl.core.judge import JudgedPlan
    from syncctl.core.manifest import Blueprint
    from syncctl.core.report import Report
    from syncctl.core.status import StatusRow
    from syncctl.core.steps import Step

SCHEMA = 2
"""Of plans, reports and explanations, which carry it; raised when a field changes its meaning or goes. docs/json.md."""


def status_document(row: "StatusRow") -> dict[str, Any]:
    """Return desired beside observed of one pod. `drift` is None when the two agree."""
    step, pod = row.step, row.step.observed
    drift = {"step": str(step.kind), "cause": str(step.cause), "reason": step.reason, **_stays(step)}
    return {
        **_owner(step),
        "client_name": row.client_name,
        "desired": {part: getattr(step.desired, part) for part in ("image", "cpu", "memory")} if step.desired else None,
        "pod": step.name,
        "observed": {part: getattr(pod, part) for part in ("uid", "phase", "node", "image", "restarts", "created_at")}
        if pod
        else None,
        "sync": str(row.sync),
        "suspension": suspension_document(row.suspension) if row.suspension else None,
        "health": {
            "status": str(row.health.status),
            "code": str(row.health.code),
            "message": row.health.message,
        },
        "drift": drift if step.is_drift else None,
    }


def step_document(step: "Step", blueprint: "Blueprint", former: Former = nobody_knows) -> dict[str, Any]:
    """Return a step of a plan; `changes` says field by field what it changes, as far as `former` knows templates."""
    changes = field_changes(blueprint, step, former)
    return {
        "step": str(step.kind),
        "cause": str(step.cause),
        "pod": step.name,
        "uid": step.observed.uid if step.observed else None,
        **_owner(step),
        "reason": step.reason,
        "changes": [{"field": each.field, "from": each.was, "to": each.to} for each in changes],
        **_stays(step),
    }


def plan_document(
    judged: "JudgedPlan", former: Former = nobody_knows, shown: Callable[["Step"], bool] = lambda _step: True
) -> dict[str, Any]:
    """Return a judged plan: the steps that are not in sync and shown, and how many there are of each, shown or not."""
    plan = judged.plan
    return {
        "schema": SCHEMA,
        "digest": judged.digest,
        "cluster": judged.facts.cluster,
        "counts": {str(kind): number for kind, number in plan.counts().items()},
        "refusals": _refusals(judged.refusals),
        "suspensions": [suspension_document(each) for each in judged.facts.suspensions.in_force],
        "steps": [step_document(step, plan.blueprint, former) for step in plan.drifted if shown(step)],
        "unclaimed": list(plan.unclaimed),
    }


def report_document(report: "Report", cluster: str, former: Former = nobody_knows) -> dict[str, Any]:
    """Return a report: the counts, what became of all that was not in sync, and who is in trouble."""
    return {
        "schema": SCHEMA,
        "cluster": cluster,
        "summary": report.summary,
        "lease_lost": report.lease_lost or None,
        "refusals": _refusals(report.refusals),
        "counts": {str(result): number for result, number in report.counts().items()},
        "outcomes": [
            {
                "result": str(outcome.result),
                "detail": outcome.detail,
                **step_document(outcome.step, report.plan.blueprint, former),
            }
            for outcome in report.outcomes
        ],
        "unclaimed": list(report.plan.unclaimed),
        "unhealthy": [{"pod": name, "health": health.message} for name, health in report.unhealthy],
    }


def explanation_document(found: "Explanation") -> dict[str, Any]:
    """Return all that is known of one pod."""
    step = found.row.step
    return {
        "schema": SCHEMA,
        **status_document(found.row),
        "wanted": step.desired is not None,
        "wanted_by": change_document(found.wanted) if found.wanted else None,
        "last_change": change_document(found.changed) if found.changed else None,
        "next": {
            "step": str(step.kind),
            "cause": str(step.cause),
            "reason": step.reason,
            "changes": [{"field": each.field, "from": each.was, "to": each.to} for each in found.fields],
            **_stays(step),
        },
        "terminations": [asdict(each) for each in found.terminations],
        "passes": [
            {
                "pass": each.pass_id,
                "at": moment(each.at),
                "result": each.result,
                "step": each.step,
                "cause": each.cause,
                "reason": each.reason,
                "standing": each.standing,
            }
            for each in found.passes
        ],
        "events": None if found.events is None else [asdict(each) for each in found.events],
        "no_events": found.no_events or None,
    }


def _owner(step: "Step") -> dict[str, Any]:
    return {
        "client_id": step.key.client_id if step.key else None,
        "client_name": step.client_name,
        "algorithm": str(step.key.algorithm) if step.key else None,
    }


def _stays(step: "Step") -> dict[str, Any]:
    return {
        "unsure": step.unsure,
        "held": {"kind": str(step.held.kind), "why": step.held.why} if step.held else None,
    }


def _refusals(refusals: Iterable["Refusal"]) -> list[dict[str, str]]:
    return [{"message": refusal.message, "hint": refusal.hint} for refusal in refusals]
