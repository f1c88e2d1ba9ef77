"""What is to be left alone, and until when: rows that are added and ended, and never deleted or changed otherwise.

No foreign key: a client's rows may vanish, by a TRUNCATE or a restore, and what was said of it stays said.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, insert, or_, select, update

from syncctl.core.model import Algorithm
from syncctl.core.suspensions import NO_SUSPENSIONS, Suspension, Suspensions, suspensions_of
from syncctl.db.tables import suspensions
from syncctl.db.times import LONG_AGO, database_time

_TABLE = suspensions.c


def is_any() -> ColumnElement[bool]:
    """Return what tells, in any query, whether there is one that nobody has ended."""
    return exists().where(_TABLE.ended_at.is_(None))


def read_in_force(connection: Connection, now: datetime) -> Suspensions:
    """Return those that are in force at a moment of the database's clock."""
    query = select(suspensions).where(*_in_force(now)).order_by(_TABLE.id)
    found = [_suspension_of(row) for row in connection.execute(query)]
    return suspensions_of(found) if found else NO_SUSPENSIONS


def find_suspensions(connection: Connection, now: datetime, *, ended: bool = False) -> Iterator[Suspension]:
    """Yield those that are in force, or that have ended: what ends first, or has ended last, comes first."""
    if ended:
        query = select(suspensions).where(or_(_TABLE.ended_at.is_not(None), _TABLE.ends_at <= now))
        found = [_suspension_of(row) for row in connection.execute(query)]
        yield from sorted(found, key=lambda each: (each.ended_at or each.ends_at or now, each.id), reverse=True)
    else:
        yield from sorted(read_in_force(connection, now).in_force, key=lambda each: (each.strength[1], each.id))


def insert_suspension(connection: Connection, new: Suspension) -> Suspension:
    """Store one, and return it with its number."""
    values = {
        "client_id": new.client_id,
        "client_name": new.client_name,
        "algorithm": new.algorithm.value if new.algorithm else None,
        "stops": new.stops,
        "reason": new.reason,
        "started_at": new.started_at,
        "started_by": new.started_by,
        "ends_at": new.ends_at,
    }
    return _suspension_of(connection.execute(insert(suspensions).values(values).returning(suspensions)).one())


def end_suspensions(connection: Connection, ids: Iterable[int], by: str, reason: str) -> list[Suspension]:
    """End these, as far as nobody else has meanwhile; return those that were ended."""
    values = {"ended_at": database_time(), "ended_by": by, "end_reason": reason or None}
    which = _TABLE.id.in_(list(ids)), _TABLE.ended_at.is_(None)
    return [
        _suspension_of(row)
        for row in connection.execute(update(suspensions).where(*which).values(values).returning(suspensions))
    ]


def _in_force(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return _TABLE.ended_at.is_(None), or_(_TABLE.ends_at.is_(None), _TABLE.ends_at > now)


def _suspension_of(row: Row[Any]) -> Suspension:
    values = row._asdict()
    # Whatever is written by hand leaves more alone rather than less: 'infinity', and an algorithm that nobody knows.
    if values["ends_at"] == LONG_AGO:
        values["ends_at"] = None
    known = values["algorithm"] in list(Algorithm)
    return Suspension(**{**values, "algorithm": Algorithm(values["algorithm"]) if known else None})
