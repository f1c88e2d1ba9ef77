"""The lease: one pass a fleet at a time, by one row and the database's clock.

A row with an expiry, and no session lock: it survives PgBouncer's transaction pooling, works on SQLite, can be looked
at and released by a person, and ends by itself when its holder was killed. Every acquisition raises the token; a holder
whose token is no longer the row's has lost the lease, whatever its own clock says.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, text, update

from syncctl.core.errors import DatabaseError, LeaseHeld
from syncctl.db.tables import lease
from syncctl.db.times import parse_time

TERM = timedelta(seconds=60)
"""How long a lease lasts without being renewed: how long a killed pass keeps the next one out, at the most."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds the lease since when and until when; `holder` is None when nobody does."""

    holder: str | None
    token: int
    acquired_at: datetime | None
    expires_at: datetime | None
    expired: bool


def read_lease(connection: Connection) -> Lease:
    """Return the lease as it is."""
    return _read(connection, _now(connection))


def acquire_lease(connection: Connection, holder: str) -> Lease:
    """Take the lease.

    Raises:
        LeaseHeld: somebody else has it, and it has not expired.
    """
    connection.execute(select(lease.c.name).with_for_update())
    now = _now(connection)
    found = _read(connection, now)
    if found.holder is not None and not found.expired:
        raise LeaseHeld(found.holder, found.acquired_at, found.expires_at)
    values = {"holder": holder, "token": found.token + 1, "acquired_at": now, "expires_at": now + TERM}
    connection.execute(update(lease).values(values))
    return Lease(holder, found.token + 1, now, now + TERM, expired=False)


def renew_lease(connection: Connection, token: int) -> bool:
    """Extend the lease by a term from now. False when it has expired, was released or is another's: it is lost."""
    now = _now(connection)
    still_mine = (lease.c.token == token) & lease.c.holder.is_not(None) & (lease.c.expires_at > now)
    return connection.execute(update(lease).where(still_mine).values(expires_at=now + TERM)).rowcount == 1


def release_lease(connection: Connection, token: int) -> None:
    """Give the lease back, if it is still the one with this token."""
    connection.execute(update(lease).where(lease.c.token == token).values(holder=None))


def take_away_lease(connection: Connection) -> Lease:
    """End the lease whoever holds it, so that the holder stops writing, and return it as it was."""
    connection.execute(select(lease.c.name).with_for_update())
    found = read_lease(connection)
    connection.execute(update(lease).values(holder=None, token=found.token + 1))
    return found


def _read(connection: Connection, now: datetime) -> Lease:
    columns = select(lease.c.holder, lease.c.token, lease.c.acquired_at, lease.c.expires_at)
    row = connection.execute(columns).one_or_none()
    if row is None:
        raise DatabaseError(
            "the table lease has no row, so no pass can take the lease",
            "somebody has emptied it; put it back: INSERT INTO lease (name) VALUES ('fleet')",
        )
    return Lease(*row, expired=row.expires_at is None or row.expires_at <= now)


def _now(connection: Connection) -> datetime:
    """Return the database's time at this moment: within a transaction that waited for a lock, not that of its start."""
    if connection.dialect.name == "postgresql":
        now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return now
    return parse_time(connection.execute(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")).scalar_one())
