"""From rows to clients: one query and one reading of its rows, for single clients, lists and snapshots alike."""

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select

from syncctl.core.model import AlgorithmStatus, Client
from syncctl.db.tables import algorithm_status, clients
from syncctl.db.times import LONG_AGO


def select_clients() -> Select[Any]:
    """Select every client beside its algorithms, which are NULL when their row has vanished."""
    return select(
        clients.c.id,
        clients.c.client_name,
        clients.c.version,
        clients.c.image,
        clients.c.cpu,
        clients.c.memory,
        clients.c.priority,
        clients.c.need_restart,
        clients.c.spawned_at,
        clients.c.created_at,
        clients.c.updated_at,
        clients.c.restart_generation,
        algorithm_status.c.id.label("status_id"),
        algorithm_status.c.vwap,
        algorithm_status.c.twap,
        algorithm_status.c.hft,
    ).outerjoin_from(clients, algorithm_status)


def client_of(row: Sequence[Any]) -> Client:
    """Read a row of select_clients. NULL in a column that forbids it reads as what core's validation will report."""
    # By position: a pass reads ten thousand, and by name each costs half as much again.
    (
        client_id,
        name,
        version,
        image,
        cpu,
        memory,
        priority,
        need_restart,
        spawned_at,
        created_at,
        updated_at,
        restart_generation,
        status_id,
        vwap,
        twap,
        hft,
    ) = row
    return Client(
        client_id,
        name or "",
        -1 if version is None else version,
        image or "",
        cpu or "",
        memory or "",
        math.nan if priority is None else priority,
        bool(need_restart),
        restart_generation or 0,
        # The Go service writes its zero time, the year 1, for "never".
        None if spawned_at is None or spawned_at.year <= 1 else spawned_at,
        created_at or LONG_AGO,
        updated_at or created_at or LONG_AGO,
        None if status_id is None else AlgorithmStatus(status_id, client_id, bool(vwap), bool(twap), bool(hft)),
    )
