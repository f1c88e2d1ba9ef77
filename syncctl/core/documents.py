"""JSON documents with the names of the Go service: command line and HTTP show the same ones. Pure."""

import math
from datetime import UTC, datetime
from typing import Any

from syncctl.core.model import Algorithm, Client


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


def moment(value: datetime | None) -> str | None:
    """Return a time as JSON has it: RFC 3339 in UTC."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
