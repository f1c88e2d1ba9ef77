"""Clients that a person has stopped past switch_off_limit: the permission lasts until a pass has carried it out."""

import secrets
from collections.abc import Collection, Mapping

from sqlalchemy import ColumnElement, Connection, delete, insert, select, tuple_

from syncctl.db.rows import batches
from syncctl.db.tables import allowed_stops
from syncctl.db.times import database_time


def allow_stops(connection: Connection, client_ids: Collection[int], by: str) -> None:
    """Let whatever is switched off or deleted of these clients be stopped, however many that are."""
    nonce = secrets.token_hex(8)
    for batch in batches(sorted(client_ids)):
        connection.execute(delete(allowed_stops).where(allowed_stops.c.client_id.in_(batch)))
        rows = [{"client_id": client_id, "nonce": nonce, "by": by} for client_id in batch]
        connection.execute(insert(allowed_stops).values(at=database_time()), rows)


def read_allowed_stops(connection: Connection, *conditions: ColumnElement[bool]) -> dict[int, str]:
    """Return the clients that may be stopped, of those that the conditions select, each with its nonce."""
    query = select(allowed_stops.c.client_id, allowed_stops.c.nonce).where(*conditions)
    return {row.client_id: row.nonce for row in connection.execute(query)}


def forget_stops(connection: Connection, done: Mapping[int, str]) -> None:
    """Forget what has been carried out; what was allowed once more since has another nonce, and stays."""
    for batch in batches(sorted(done.items())):
        which = tuple_(allowed_stops.c.client_id, allowed_stops.c.nonce).in_(batch)
        connection.execute(delete(allowed_stops).where(which))
