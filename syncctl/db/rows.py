"""From rows to clients: one query and one reading of its rows, for single clients, lists and snapshots alike."""

import math
from typing import Any

from sqlalchemy import Row, Select, select

from syncctl.core.model import AlgorithmStatus, Client
from syncctl.db.tables import algorithm_status, clients
from syncctl.db.times import LONG_AGO


def select_clients() -> Select[Any]:
    """Select every client beside its algorithms, which are NULL when their row has vanished."""
    return select(
        clients,
        algorithm_status.c.id.label("status_id"),
        algorithm_status.c.vwap,
        algorithm_status.c.twap,
        algorithm_status.c.hft,
    ).outerjoin_from(clients, algorithm_status)


def client_of(row: Row[Any]) -> Client:
    """Read a row of select_clients. NULL in a column that forbids it reads as what core's validation will report."""
    created_at = row.created_at or LONG_AGO
    return Client(
        id=row.id,
        name=row.client_name or "",
        version=-1 if row.version is None else row.version,
        image=row.image or "",
        cpu=row.cpu or "",
        memory=row.memory or "",
        priority=math.nan if row.priority is None else row.priority,
        need_restart=bool(row.need_restart),
        restart_generation=row.restart_generation or 0,
        # The Go service writes its zero time, the year 1, for "never".
        spawned_at=None if row.spawned_at is None or row.spawned_at.year <= 1 else row.spawned_at,
        created_at=created_at,
        updated_at=row.updated_at or created_at,
        algorithms=_algorithms_of(row),
    )


def _algorithms_of(row: Row[Any]) -> AlgorithmStatus | None:
    if row.status_id is None:
        return None
    return AlgorithmStatus(row.status_id, row.id, bool(row.vwap), bool(row.twap), bool(row.hft))
