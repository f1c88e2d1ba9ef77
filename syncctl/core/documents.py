"""JSON documents, those of clients with the names of the Go service: command line and HTTP show the same ones. Pure."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from syncctl.core.model import Algorithm, Client

if TYPE_CHECKING:
    from syncctl.core.changes import Change
    from syncctl.core.facts import Refusal
    from syncctl.core.judge import JudgedPlan
    from syncctl.core.model import Snapshot
    from syncctl.core.records import PassRecord, StepRecord
    from syncctl.core.report import Report
    from syncctl.core.status import StatusRow
    from syncctl.core.steps import Step

SCHEMA = 1
"""Of a plan's and a report's document; raised when a field changes its meaning or goes."""


def client_document(client: Client) -> dict[str, Any]:
    """Return a client. Of one whose row in algorithm_status has vanished, no algorithm is on."""
    on = client.algorithms.on if client.algorithms else ()
    return {
        "id": client.id,
        "client_name": client.name,
        "version": client.version,
        "image": client.image,
        "cpu": client.cpu,
        "memory": client.memory,
        # JSON has no NaN; a row written by hand may.
        "priority": client.priority if math.isfinite(client.priority) else None,
        "needRestart": client.need_restart,
        "restart_generation": client.restart_generation,
        "algorithms": {each.value: each in on for each in Algorithm},
        "spawned_at": moment(client.spawned_at),
        "created_at": moment(client.created_at),
        "updated_at": moment(client.updated_at),
    }


def algorithms_document(client: Client) -> dict[str, Any]:
    """Return which algorithms a client has switched on; each is None when their row has vanished."""
    status = client.algorithms
    return {
        "algorithm_id": status.id if status else None,
        "client_id": client.id,
        "client_name": client.name,
        **{each.value: each in status.on if status else None for each in Algorithm},
    }


def fleet_document(rows: "Snapshot") -> dict[str, Any]:
    """Return the fleet. `settings` is None as long as they are unset."""
    return {
        "uuid": rows.fleet,
        "home": rows.home.name if rows.home else None,
        "settings": asdict(rows.settings) if rows.settings else None,
    }


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
        "health": {"code": str(row.health.code), "message": row.health.message},
        "drift": drift if step.is_drift else None,
    }


def step_document(step: "Step") -> dict[str, Any]:
    """Return a step of a plan."""
    return {
        "step": str(step.kind),
        "cause": str(step.cause),
        "pod": step.name,
        "uid": step.observed.uid if step.observed else None,
        **_owner(step),
        "reason": step.reason,
        **_stays(step),
    }


def plan_document(judged: "JudgedPlan") -> dict[str, Any]:
    """Return a judged plan: the steps of all that is not in sync, the held ones too, and how many there are of each."""
    plan = judged.plan
    return {
        "schema": SCHEMA,
        "digest": judged.digest,
        "cluster": judged.facts.cluster,
        "counts": {str(kind): number for kind, number in plan.counts().items()},
        "refusals": _refusals(judged.refusals),
        "steps": [step_document(step) for step in plan.drifted],
        "unclaimed": list(plan.unclaimed),
    }


def report_document(report: "Report", cluster: str) -> dict[str, Any]:
    """Return a report: the counts, what became of all that was not in sync, and who is in trouble."""
    return {
        "schema": SCHEMA,
        "cluster": cluster,
        "summary": report.summary,
        "lease_lost": report.lease_lost or None,
        "refusals": _refusals(report.refusals),
        "counts": {str(result): number for result, number in report.counts().items()},
        "outcomes": [
            {"result": str(outcome.result), "detail": outcome.detail, **step_document(outcome.step)}
            for outcome in report.outcomes
        ],
        "unclaimed": list(report.plan.unclaimed),
        "unhealthy": [{"pod": name, "health": health.message} for name, health in report.unhealthy],
    }


def pass_document(record: "PassRecord") -> dict[str, Any]:
    """Return what the history keeps of a pass."""
    return {
        "id": record.id,
        "started_at": moment(record.started_at),
        "finished_at": moment(record.finished_at),
        "seconds": record.seconds,
        "who": record.who,
        "host": record.host,
        "version": record.version,
        "shard": record.shard,
        "exit_code": record.exit_code,
        "outcome": record.outcome,
        "error": record.error,
        "counts": dict(record.counts),
        "problems": record.problems,
        "unhealthy": record.unhealthy,
        "trigger": record.trigger,
        "digest": record.digest,
    }


def past_step_document(record: "StepRecord") -> dict[str, Any]:
    """Return what the history keeps of a step."""
    return {field: getattr(record, field) for field in record.__slots__}


def change_document(change: "Change") -> dict[str, Any]:
    """Return a change of a row."""
    return {
        "id": change.id,
        "at": moment(change.at),
        "table": change.table_name,
        "op": change.op,
        "row_id": change.row_id,
        "client_id": change.client_id,
        "client_name": change.client_name,
        "changes": [{"field": name, "from": before, "to": after} for name, before, after in change.fields],
        "actor": change.actor,
        "via": change.via,
        "reason": change.reason,
        "db_user": change.db_user,
        "app": change.app,
        "address": change.address,
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


def moment(value: datetime | None) -> str | None:
    """Return a time as JSON has it: RFC 3339 in UTC."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
