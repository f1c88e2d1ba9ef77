"""What passes have done: one row each, kept for a number of days.

Each host writes its own times. Which pass came later the ids tell, and what is old the database's clock: a host whose
clock is wrong must neither hide what others did after it nor make them be forgotten.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, delete, exists, func, insert, select

from syncctl.core.errors import InvalidInput
from syncctl.core.shard import WHOLE, parse_shard
from syncctl.core.validation import LARGEST_ID
from syncctl.db.engine import reading, writing
from syncctl.db.tables import pass_steps, passes

_BATCH = 100
_STEPS_AT_ONCE = 5000
"""How many steps are forgotten in one transaction: a fraction of a second's work."""


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
    shard: str = "0/1"
    id: int = 0


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What became of one step of a pass."""

    pod: str
    uid: str | None
    client_id: int | None
    algorithm: str | None
    step: str
    cause: str
    result: str
    reason: str


def record_pass(
    connection: Connection, record: PassRecord, steps: Iterable[StepRecord] = (), *, keep_days: int
) -> bool:
    """Store a record with its steps, and tell whether there are some that began more than `keep_days` ago.

    Forgetting those is not done by the way: a great many of them would keep every pass from being recorded at all.
    """
    values = asdict(record)
    del values["id"]
    pass_id = connection.execute(insert(passes).values(values).returning(passes.c.id)).scalar_one()
    # asdict takes ten times as long, and a pass over a new fleet has a step for every pod.
    names = [field.name for field in fields(StepRecord)]
    if rows := [{"pass_id": pass_id, **{name: getattr(step, name) for name in names}} for step in steps]:
        connection.execute(insert(pass_steps), rows)
    return bool(connection.execute(select(exists().where(_old(connection, keep_days)))).scalar_one())


def forget_passes(engine: Engine, keep_days: int, may_go_on: Callable[[], bool] = lambda: True) -> None:
    """Forget the passes that began more than `keep_days` ago, in transactions that are each short, while one may go on.

    Raises all that `writing` raises; what is forgotten by then stays forgotten.
    """
    while may_go_on():
        with writing(engine) as connection:
            old = select(passes.c.id).where(_old(connection, keep_days)).order_by(passes.c.id).limit(_BATCH)
            ids = connection.execute(old).scalars().all()
            of_them = select(pass_steps.c.id).where(pass_steps.c.pass_id.in_(ids)).limit(_STEPS_AT_ONCE)
            steps = connection.execute(delete(pass_steps).where(pass_steps.c.id.in_(of_them)))
            if steps.rowcount == _STEPS_AT_ONCE:
                continue
            connection.execute(delete(passes).where(passes.c.id.in_(ids)))
            if len(ids) < _BATCH:
                return


def _old(connection: Connection, days: int) -> ColumnElement[bool]:
    """Return the condition for passes that began more than so many days ago by the database's clock.

    The newest is none of them: it may come from a host whose clock is that far behind.
    """
    ago: ColumnElement[Any] = func.strftime("%Y-%m-%d %H:%M:%f", "now", f"-{days} days")
    if connection.dialect.name == "postgresql":
        ago = func.now() - timedelta(days=days)
    return (passes.c.started_at < ago) & (passes.c.id < select(func.max(passes.c.id)).scalar_subquery())


def list_passes(engine: Engine, limit: int) -> tuple[PassRecord, ...]:
    """Read the last `limit` records, the last stored first."""
    with reading(engine) as connection:
        rows = connection.execute(select(passes).order_by(passes.c.id.desc()).limit(limit))
        return tuple(PassRecord(**row._asdict()) for row in rows)


def last_pass(connection: Connection) -> PassRecord | None:
    """Read the newest record; None when there is none."""
    row = connection.execute(select(passes).order_by(passes.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else PassRecord(**row._asdict())


def last_success(connection: Connection) -> PassRecord | None:
    """Read the record from which on each part of the fleet has had a pass that exited with 0; None when one has not.

    Of shards that is the last success of the one whose last success is the longest ago: a shard that always fails must
    not be hidden by the others. What an earlier number of shards has done counts until the present one has done it.
    """
    of_each_shard = select(func.max(passes.c.id)).where(passes.c.exit_code == 0).group_by(passes.c.shard)
    missing = set(WHOLE.buckets)
    for row in connection.execute(select(passes).where(passes.c.id.in_(of_each_shard)).order_by(passes.c.id.desc())):
        missing.difference_update(parse_shard(row.shard).buckets)
        if not missing:
            return PassRecord(**row._asdict())
    return None


def list_steps(engine: Engine, pass_id: int) -> tuple[StepRecord, ...]:
    """Read the steps of one pass, in the order of its plan.

    Raises InvalidInput when the pass never was, or is forgotten by now.
    """
    columns = [pass_steps.c[field.name] for field in fields(StepRecord)]
    with reading(engine) as connection:
        if (
            not -LARGEST_ID <= pass_id <= LARGEST_ID
            or not connection.execute(select(passes.c.id).where(passes.c.id == pass_id)).first()
        ):
            raise InvalidInput(f"pass {pass_id}", ["is not in the history"], "`syncctl history` lists those that are")
        rows = connection.execute(select(*columns).where(pass_steps.c.pass_id == pass_id).order_by(pass_steps.c.id))
        return tuple(StepRecord(*row) for row in rows)
