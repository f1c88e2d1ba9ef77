"""Leave each client exactly one row in algorithm_status, and keep what goes."""

# ruff: noqa: S608 - the SQL is put together from constants only

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, text

_KEEP = "INSERT INTO adopted_algorithm_status (id, client_id, reason, original, adopted_at)"
_ORPHAN = "client_id IS NULL OR client_id NOT IN (SELECT id FROM clients)"
_LOWEST = "SELECT client_id, min(id) AS id FROM algorithm_status GROUP BY client_id"


def one_status_a_client(connection: Connection, now: datetime, say: Callable[[str], None]) -> None:
    """Remove rows without a client, merge doubled ones, add those that are missing.

    What is removed is in adopted_algorithm_status before, whole. A merged row has an algorithm on when any of its rows
    had: what runs goes on running.
    """
    orphans = _run(
        connection,
        f"{_KEEP} SELECT id, client_id, 'without a client', to_jsonb(status), :now FROM algorithm_status AS status"
        f" WHERE {_ORPHAN}",
        now=now,
    )
    _run(connection, f"DELETE FROM algorithm_status WHERE {_ORPHAN}")
    doubled = _run(
        connection,
        f"{_KEEP} SELECT status.id, client_id, 'merged into ' || lowest.id, to_jsonb(status), :now"
        f" FROM algorithm_status AS status JOIN ({_LOWEST}) AS lowest USING (client_id)"
        " WHERE status.id <> lowest.id",
        now=now,
    )
    _run(
        connection,
        "UPDATE algorithm_status AS status SET vwap = merged.vwap, twap = merged.twap, hft = merged.hft FROM ("
        "SELECT min(id) AS id, bool_or(coalesce(vwap, false)) AS vwap, bool_or(coalesce(twap, false)) AS twap,"
        " bool_or(coalesce(hft, false)) AS hft FROM algorithm_status GROUP BY client_id"
        ") AS merged WHERE status.id = merged.id",
    )
    _run(connection, f"DELETE FROM algorithm_status WHERE id NOT IN (SELECT id FROM ({_LOWEST}) AS lowest)")
    missing = _run(
        connection,
        "INSERT INTO algorithm_status (client_id) SELECT id FROM clients"
        " WHERE id NOT IN (SELECT client_id FROM algorithm_status) ORDER BY id",
    )
    if orphans:
        say(f"algorithm_status: {orphans} without a client moved to adopted_algorithm_status")
    if doubled:
        say(f"algorithm_status: {doubled} doubled merged into the first of their client, all that was on stays on")
    if missing:
        say(f"algorithm_status: {missing} missing added, all off")


def _run(connection: Connection, statement: str, **parameters: object) -> int:
    return connection.execute(text(statement), parameters).rowcount
