"""What passes have done: one row each, kept for a number of days."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, delete, insert, select

from syncctl.db.engine import reading
from syncctl.db.tables import passes


@dataclass(frozen=True, slots=True)
class PassRecord:
    """One pass: who ran which syncctl where and when, and what came of it.

    `outcome` is its summary line, `counts` the number of pods by step, `error` what ended it early. `id` is 0 until the
    record is stored.
    """

    started_at: datetime
    finished_at: datetime
    host: str
    who: str
    version: str
    outcome: str
    exit_code: int
    counts: Mapping[str, int]
    error: str | None = None
    id: int = 0


def record_pass(connection: Connection, record: PassRecord, *, keep_days: int) -> None:
    """Store a record, and forget those that began more than `keep_days` before it ended."""
    connection.execute(delete(passes).where(passes.c.started_at < record.finished_at - timedelta(days=keep_days)))
    values = asdict(record)
    del values["id"]
    connection.execute(insert(passes).values(values))


def list_passes(engine: Engine, limit: int) -> tuple[PassRecord, ...]:
    """Read the last `limit` records, newest first."""
    with reading(engine) as connection:
        rows = connection.execute(select(passes).order_by(passes.c.started_at.desc(), passes.c.id.desc()).limit(limit))
        return tuple(PassRecord(**row._asdict()) for row in rows)
