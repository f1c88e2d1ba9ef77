"""The lease: one pass a fleet, or a shard of it, at a time, by one row and the database's clock.

A row with an expiry, and no session lock: it survives PgBouncer's transaction pooling, works on SQLite, can be looked
at and released by a person, and ends by itself when its holder was killed. Every acquisition raises the token and draws
a nonce; a holder whose token and nonce are no longer the row's has lost the lease, whatever its own clock says. The
token tells who came later, and not who somebody is: where a failover or a restore has lost the last acquisition, the
next one gets the same token.
"""

import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, case, func, insert, select, update

from syncctl.core.errors import DatabaseError
from syncctl.core.facts import Counts
from syncctl.core.shard import WHOLE, Shard, parse_shard
from syncctl.db.tables import lease
from syncctl.db.times import clock_of

TERM = timedelta(seconds=60)
"""How long a lease lasts without being renewed: how long a killed pass keeps the next one out, at the most."""


FRESH = timedelta(minutes=15)
"""How long a shard's counts matter to the others: three passes."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds the lease of a shard since when and until when.

    `holder` is None when it was given back, which a pass does once it has recorded what it did. One that is named when
    the lease has expired was killed, has failed, or had it taken away: its record may be missing. Two fields are no
    part of the row: `taken` tells what came of an attempt to take the lease, `took_over` whether it follows such a
    holder.
    """

    holder: str | None
    token: int
    acquired_at: datetime | None
    expires_at: datetime | None
    expired: bool
    shard: Shard = WHOLE
    nonce: str | None = None
    taken: bool = field(default=False, compare=False)
    took_over: bool = field(default=False, compare=False)

    @property
    def held(self) -> bool:
        """Whether somebody may be at work under it."""
        return self.holder is not None and not self.expired


def read_leases(connection: Connection) -> tuple[Lease, ...]:
    """Return the lease of the whole fleet, then those of all shards that ever ran.

    Raises:
        DatabaseError: the table has lost the row that locks it.
    """
    return _read(connection)[0]


def _read(connection: Connection) -> tuple[tuple[Lease, ...], datetime]:
    columns = (lease.c.name, lease.c.holder, lease.c.token, lease.c.acquired_at, lease.c.expires_at, lease.c.nonce)
    rows = connection.execute(select(*columns)).all()
    # Asked after the rows are: none that was renewed at the last moment may seem to end later than it can.
    now = clock_of(connection)
    leases = [
        Lease(holder, token, acquired_at, expires_at, expires_at is None or expires_at <= now, parse_shard(name), nonce)
        for name, holder, token, acquired_at, expires_at, nonce in rows
    ]
    if all(found.shard != WHOLE for found in leases):
        raise DatabaseError(
            "the table lease has no row 0/1, so no pass can take the lease",
            "somebody has emptied it; put it back: INSERT INTO lease (name) VALUES ('0/1')",
        )
    return tuple(sorted(leases, key=lambda found: (found.shard.of, found.shard.index))), now


def read_lease(connection: Connection, shard: Shard = WHOLE) -> Lease:
    """Return the lease of a shard; one that never ran is free."""
    free = Lease(None, 0, None, None, expired=True, shard=shard)
    return next((found for found in read_leases(connection) if found.shard == shard), free)


def acquire_lease(connection: Connection, holder: str, shard: Shard = WHOLE) -> Lease:
    """Take the lease of a shard, and tell whether a pass that shared pods with it has left no record.

    When somebody else has it, or that of a shard that shares pods with it, return that one, which is not `taken`. To be
    committed all the same: one whose end is further ahead than a term has got there by a clock that was set back since,
    and now ends within a term. A holder that lives renews it and loses nothing.
    """
    _lock(connection)
    leases, now = _read(connection)
    leases = _cut(connection, leases, now + TERM)
    for found in leases:
        if found.held and found.shard.overlaps(shard):
            return found
    mine = next((found for found in leases if found.shard == shard), None)
    if mine is None:
        connection.execute(insert(lease).values(name=str(shard)))
    # Whoever gave this shard's lease back has made up for all that died before it, as far as the shard goes. The lease
    # of another may name its holder for ever, when nobody runs that number of shards any more.
    settled = mine.token if mine is not None and mine.holder is None else -1
    took_over = any(
        found.holder is not None and found.token > settled and found.shard.overlaps(shard) for found in leases
    )
    # Above all tokens: by them those that come later know whose records are missing.
    token, nonce = max(found.token for found in leases) + 1, secrets.token_hex(16)
    values = {"holder": holder, "token": token, "acquired_at": now, "expires_at": now + TERM, "nonce": nonce}
    connection.execute(update(lease).where(lease.c.name == str(shard)).values(values))
    return Lease(
        holder, token, now, now + TERM, expired=False, shard=shard, nonce=nonce, taken=True, took_over=took_over
    )


def _cut(connection: Connection, leases: tuple[Lease, ...], latest: datetime) -> tuple[Lease, ...]:
    """Let each lease that is held end at this time at the latest."""
    late = {found for found in leases if found.held and found.expires_at and found.expires_at > latest}
    if late:
        connection.execute(update(lease).where(lease.c.expires_at > latest).values(expires_at=latest))
    return tuple(replace(found, expires_at=latest) if found in late else found for found in leases)


def renew_lease(connection: Connection, mine: Lease) -> bool:
    """Extend the lease by a term from now. False when it has expired, was released or is another's: it is lost."""
    now = clock_of(connection)
    valid = lease.c.holder.is_not(None) & (lease.c.expires_at > now)
    return connection.execute(update(lease).where(_still(mine), valid).values(expires_at=now + TERM)).rowcount == 1


def release_lease(connection: Connection, mine: Lease) -> None:
    """Give the lease back, if it is nobody else's by now: all that was done under it is recorded."""
    connection.execute(update(lease).where(_still(mine)).values(holder=None))


def end_lease(connection: Connection, mine: Lease) -> None:
    """Let the lease expire now, if it is nobody else's by now; whoever takes it next makes up the record."""
    connection.execute(update(lease).where(_still(mine)).values(expires_at=clock_of(connection)))


def take_away_lease(connection: Connection, shard: Shard = WHOLE) -> Lease:
    """End the lease of a shard if anybody holds it, so that the holder stops writing, and return it as it was."""
    _lock(connection)
    found = read_lease(connection, shard)
    if found.held:
        # The holder stays named, as that of any lease that was not given back: if it was dead, its record is missing.
        highest = connection.execute(select(func.max(lease.c.token))).scalar_one()
        values = {"token": highest + 1, "nonce": None, "expires_at": clock_of(connection)}
        connection.execute(update(lease).where(lease.c.name == str(shard)).values(values))
    return found


def publish_counts(connection: Connection, shard: Shard, mine: Counts) -> Counts:
    """Store what the other shards have to know of this one, and return what they know, in one step for all."""
    _lock(connection)
    now, is_mine = clock_of(connection), lease.c.name == str(shard)
    values = {
        "live": case((is_mine, mine.live), else_=lease.c.live),
        "orphans": case((is_mine, mine.orphans), else_=lease.c.orphans),
        # Also of those that are ahead of a clock which was set back since: else they would count for as long as that.
        "counted_at": now,
    }
    connection.execute(update(lease).where(is_mine | (lease.c.counted_at > now)).values(values))
    return read_counts(connection, shard)


def read_counts(connection: Connection, shard: Shard) -> Counts:
    """Return the sum of what the other shards of this number of shards have counted lately."""
    fresh = lease.c.counted_at > clock_of(connection) - FRESH
    others = lease.c.name.like(f"%/{shard.of}") & (lease.c.name != str(shard))
    live, orphans = connection.execute(
        select(func.coalesce(func.sum(lease.c.live), 0), func.coalesce(func.sum(lease.c.orphans), 0)).where(
            fresh, others
        )
    ).one()
    return Counts(int(live), int(orphans))


def _still(mine: Lease) -> ColumnElement[bool]:
    """Return the condition that a row is still the one written when this lease was taken."""
    return (lease.c.name == str(mine.shard)) & (lease.c.token == mine.token) & (lease.c.nonce == mine.nonce)


def _lock(connection: Connection) -> None:
    """Let nobody else change any lease until the end of the transaction."""
    connection.execute(select(lease.c.name).where(lease.c.name == str(WHOLE)).with_for_update())
