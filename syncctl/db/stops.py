"""Clients that a person has stopped past switch_off_limit: the permission lasts until a pass has carried it out."""

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from syncctl.db.rows import batches
from syncctl.db.tables import allowed_stops
from syncctl.db.times import database_time


def allow_stops(connection: Connection, client_ids: Collection[int], by: str) -> None:
    """Let whatever is switched off or deleted of these clients be stopped, however many that are."""
    for batch in batches(sorted(client_ids)):
        connection.execute(delete(allowed_stops).where(allowed_stops.c.client_id.in_(batch)))
        rows = [{"client_id": client_id, "by": by} for client_id in batch]
        connection.execute(insert(allowed_stops).values(at=database_time()), rows)


def read_allowed_stops(connection: Connection, *conditions: ColumnElement[bool]) -> frozenset[int]:
    """Return the clients that may be stopped, of those that the conditions select."""
    return frozenset(connection.execute(select(allowed_stops.c.client_id).where(*conditions)).scalars())


def forget_stops(connection: Connection, client_ids: Iterable[int], known_at: datetime) -> None:
    """Forget what has been carried out, unless it was allowed once more since that moment."""
    for batch in batches(sorted(client_ids)):
        which = allowed_stops.c.client_id.in_(batch), allowed_stops.c.at <= known_at
        connection.execute(delete(allowed_stops).where(*which))
