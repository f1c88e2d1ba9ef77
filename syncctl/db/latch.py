"""What the guard refuses until a pass has seen the end of it, and what a person has let pass it."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, or_, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from syncctl.core.holds.guard import allowance_of
from syncctl.core.memory import Allowance, GuardKind, Latch
from syncctl.core.shard import Shard
from syncctl.core.steps import Step
from syncctl.db.rows import batches
from syncctl.db.tables import allowed_stops, guard_allowances, guard_latches


def is_anything() -> ColumnElement[bool]:
    """Return what tells, in any query, whether there is anything to read here: there hardly ever is."""
    return or_(*(exists().select_from(table) for table in (guard_latches, guard_allowances, allowed_stops)))


def read_latches(connection: Connection, *conditions: ColumnElement[bool]) -> dict[GuardKind, Latch]:
    """Return what is latched in the buckets that the conditions select, with the first who found it."""
    table = guard_latches
    query = select(table.c.kind, table.c.bucket, table.c.refused_since, table.c.found_by).where(*conditions)
    latches: dict[GuardKind, Latch] = {}
    for name, bucket, since, by in connection.execute(query.order_by(table.c.refused_since, table.c.bucket)):
        kind = GuardKind(name)
        first = latches.get(kind, Latch(since, by, frozenset()))
        latches[kind] = Latch(first.since, first.by, first.buckets | {bucket})
    return latches


def store_latches(
    connection: Connection, latch: Mapping[GuardKind, Iterable[int]], since: datetime, found_by: str
) -> None:
    """Latch these kinds in these buckets; what is latched already stays as it is."""
    rows: list[dict[str, object]] = [
        {"kind": kind.value, "bucket": bucket, "refused_since": since, "found_by": found_by}
        for kind, buckets in latch.items()
        for bucket in buckets
    ]
    _insert_new(connection, guard_latches, rows)


def settle_latches(connection: Connection, kinds: Iterable[GuardKind], shard: Shard) -> None:
    """Let these kinds go in the buckets of a shard."""
    table = guard_latches
    if settled := [kind.value for kind in kinds]:
        connection.execute(delete(table).where(and_(table.c.kind.in_(settled), table.c.bucket.in_(shard.buckets))))


def read_allowances(connection: Connection, *conditions: ColumnElement[bool]) -> frozenset[Allowance]:
    """Return the pods that may go, of the clients that the conditions select."""
    table = guard_allowances
    rows = connection.execute(select(table.c.pod, table.c.uid).where(*conditions))
    return frozenset(Allowance(pod, uid) for pod, uid in rows)


def store_allowances(connection: Connection, steps: Iterable[Step], at: datetime, by: str) -> None:
    """Write down that these steps may be carried out, in a later pass too."""
    rows = [
        {**allowance_of(step)._asdict(), "client_id": step.key.client_id, "at": at, "by": by}
        for step in steps
        if step.key is not None
    ]
    _insert_new(connection, guard_allowances, rows)


def forget_allowances(connection: Connection, allowances: Iterable[Allowance]) -> None:
    """Remove those that have nothing left to allow."""
    table = guard_allowances
    for batch in batches(sorted(allowances)):
        connection.execute(delete(table).where(tuple_(table.c.pod, table.c.uid).in_(batch)))


def _insert_new(connection: Connection, table: Table, rows: list[dict[str, object]]) -> None:
    """Insert the rows that are not there yet: another pass may have stored the same, if this one has lost its lease."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    if rows:
        connection.execute(insert(table).on_conflict_do_nothing(), rows)
