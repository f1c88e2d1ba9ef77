"""JSON documents, those of clients with the names of the Go service: command line and HTTP show the same ones. Pure."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from syncctl.core.model import Algorithm, Client

if TYPE_CHECKING:
    from syncctl.core.changes import Change
    from syncctl.core.records import PassRecord, StepRecord
    from syncctl.core.snapshot import Snapshot
    from syncctl.core.suspensions import Suspension


def client_document(client: Client, suspensions: Iterable["Suspension"] | None = None) -> dict[str, Any]:
    """Return a client, with what is suspended of it if that is known.

    Of one whose row in algorithm_status has vanished, no algorithm is on.
    """
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
        **({} if suspensions is None else {"suspensions": [suspension_document(each) for each in suspensions]}),
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
        "suspended_down": record.suspended_down,
        "trigger": record.trigger,
        "digest": record.digest,
        **({} if record.client_steps is None else {"client_steps": list(record.client_steps)}),
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


def suspension_document(suspension: "Suspension") -> dict[str, Any]:
    """Return a suspension. `ends_at` is None when only somebody ends it, `ended_at` when nobody has."""
    return {
        "id": suspension.id,
        "client_id": suspension.client_id,
        "client_name": suspension.client_name,
        "algorithm": str(suspension.algorithm) if suspension.algorithm else None,
        "stops": suspension.stops,
        "reason": suspension.reason,
        "started_at": moment(suspension.started_at),
        "started_by": suspension.started_by,
        "ends_at": moment(suspension.ends_at),
        "ended_at": moment(suspension.ended_at),
        "ended_by": suspension.ended_by,
        "end_reason": suspension.end_reason,
    }


def moment(value: datetime | None) -> str | None:
    """Return a time as JSON has it: RFC 3339 in UTC."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
