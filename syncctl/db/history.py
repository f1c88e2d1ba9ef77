"""What passes have done: one row each, kept for a number of days, with what they have done to pods.

What a pass has left undone, because it was held, has failed or waits for something, is stored by the first pass that
left it so, and is true of all that follow until one of them ends it: thousands of pods that the guard refuses would
else be thousands of rows every five minutes.

Each host writes its own times. Which pass came later the ids tell, and what is old the database's clock: a host whose
clock is wrong must neither hide what others did after it nor make them be forgotten.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, delete, exists, func, insert, or_, select, update

from syncctl.core.errors import InvalidInput
from syncctl.core.exits import WORKED
from syncctl.core.records import PassRecord, PastStep, StepRecord
from syncctl.core.shard import WHOLE, Shard, parse_shard
from syncctl.core.validation import LARGEST_ID
from syncctl.db.changelog import forget_changes
from syncctl.db.engine import reading, writing
from syncctl.db.rows import batches, of_shard
from syncctl.db.tables import clients, deleted_clients, pass_steps, passes, standing_steps
from syncctl.db.times import LONG_AGO

_BATCH = 100
_STEPS_AT_ONCE = 5000
"""How many steps are forgotten in one transaction: a fraction of a second's work."""


_COLUMNS = ("pod", "uid", "client_id", "algorithm", "step", "cause", "result", "reason")


def record_pass(
    connection: Connection,
    record: PassRecord,
    done: Iterable[StepRecord] = (),
    standing: Mapping[str, StepRecord] | None = None,
    *,
    keep_days: int,
) -> bool:
    """Store a record with its steps, and tell whether there are some that began more than `keep_days` ago.

    Forgetting those is not done by the way: a great many of them would keep every pass from being recorded at all.

    Args:
        record: one with an error knows of no steps; what was left undone before it stays so.
        done: steps that came to something.
        standing: all others, each of a client, by what tells whether it is just as an earlier pass has left it.
        keep_days: what is still left undone is kept for longer.
    """
    values = asdict(record)
    del values["id"], values["client_steps"]
    left = exists().where(_left(parse_shard(record.shard)))
    stored = insert(passes).values(values).returning(passes.c.id, left.label("left"))
    pass_id, is_left = connection.execute(stored).one()
    if rows := [{"pass_id": pass_id, **_row(step)} for step in done]:
        connection.execute(insert(pass_steps), rows)
    if record.error is None and (standing or is_left):
        _leave(connection, pass_id, parse_shard(record.shard), standing or {})
    return bool(connection.execute(select(exists().where(_old(connection, keep_days)))).scalar_one())


def _leave(connection: Connection, pass_id: int, shard: Shard, standing: Mapping[str, StepRecord]) -> None:
    """Store what was not left so before, and end what is not left so any more."""
    table = standing_steps
    rows = connection.execute(select(table.c.id, table.c.digest).where(_left(shard)))
    known = {digest: row_id for row_id, digest in rows}
    new = [
        {"first_pass": pass_id, "digest": digest, **_row(step)}
        for digest, step in standing.items()
        if digest not in known
    ]
    if new:
        connection.execute(insert(table), new)
    for batch in batches([row_id for digest, row_id in known.items() if digest not in standing]):
        connection.execute(update(table).where(table.c.id.in_(batch)).values(ended_by=pass_id))


def _left(shard: Shard) -> ColumnElement[bool]:
    """Return the condition of what passes over this shard's pods have left undone until now."""
    return and_(standing_steps.c.ended_by.is_(None), *of_shard(standing_steps.c.client_id, shard))


def _row(step: StepRecord) -> dict[str, object]:
    # asdict takes ten times as long, and a pass over a new fleet has a step for every pod.
    return {name: getattr(step, name) for name in _COLUMNS}


def forget_passes(
    engine: Engine, keep_days: int, keep_change_days: int, may_go_on: Callable[[], bool] = lambda: True
) -> None:
    """Forget passes and changes that are more than so many days old, in short transactions, while one may go on.

    Raises all that `writing` raises; what is forgotten by then stays forgotten.
    """
    while may_go_on():
        with writing(engine) as connection:
            old = select(passes.c.id).where(_old(connection, keep_days)).order_by(passes.c.id).limit(_BATCH)
            ids = connection.execute(old).scalars().all()
            if _forget_steps(connection, pass_steps, pass_steps.c.pass_id.in_(ids)):
                continue
            if _forget_steps(connection, standing_steps, standing_steps.c.ended_by.in_(ids)):
                continue
            connection.execute(delete(passes).where(passes.c.id.in_(ids)))
            more = forget_changes(connection, _ago(connection, keep_change_days))
            if len(ids) < _BATCH and not more:
                return


def _forget_steps(connection: Connection, table: Table, which: ColumnElement[bool]) -> bool:
    """Delete the first of these steps; True when there may be more of them."""
    some = select(table.c.id).where(which).limit(_STEPS_AT_ONCE)
    return connection.execute(delete(table).where(table.c.id.in_(some))).rowcount == _STEPS_AT_ONCE


def _old(connection: Connection, days: int) -> ColumnElement[bool]:
    """Return the condition for passes that began more than so many days ago by the database's clock.

    The newest is none of them: it may come from a host whose clock is that far behind.
    """
    before = passes.c.started_at < _ago(connection, days)
    return before & (passes.c.id < select(func.max(passes.c.id)).scalar_subquery())


def _ago(connection: Connection, days: int) -> ColumnElement[Any]:
    if connection.dialect.name == "postgresql":
        return func.now() - timedelta(days=days)
    return func.strftime("%Y-%m-%d %H:%M:%f", "now", f"-{days} days")


def list_passes(
    engine: Engine,
    limit: int,
    *,
    client: int | None = None,
    since: datetime | None = None,
    changed: bool = False,
    failed: bool = False,
) -> tuple[PassRecord, ...]:
    """Read the last `limit` records, the last stored first.

    Args:
        engine: the database.
        limit: how many at the most.
        client: only passes that did something to a pod of this client, or were the first to leave something undone.
        since: only passes that began after that.
        changed: only passes that did something to any pod.
        failed: only passes that did not end with 0.
    """
    acted, left = pass_steps.c, standing_steps.c
    query = select(passes).order_by(passes.c.id.desc()).limit(limit)
    if client is not None:
        did = exists().where(acted.pass_id == passes.c.id, acted.client_id == client)
        query = query.where(or_(did, exists().where(left.first_pass == passes.c.id, left.client_id == client)))
    if since is not None:
        query = query.where(passes.c.started_at >= since)
    if changed:
        query = query.where(exists().where(acted.pass_id == passes.c.id))
    if failed:
        query = query.where(passes.c.exit_code != 0)
    with reading(engine) as connection:
        found = tuple(PassRecord(**row._asdict()) for row in connection.execute(query))
        if client is None:
            return found
        steps = _steps_of_client(connection, client, [record.id for record in found])
    return tuple(replace(record, client_steps=tuple(steps.get(record.id, ()))) for record in found)


def _steps_of_client(connection: Connection, client: int, pass_ids: list[int]) -> dict[int, list[str]]:
    """Return by pass what became of each of a client's pods, in words; what is left undone, at the first that did."""
    did: dict[int, list[str]] = {}
    for batch in batches(pass_ids):
        for table, number in ((pass_steps, pass_steps.c.pass_id), (standing_steps, standing_steps.c.first_pass)):
            query = select(number, table.c.pod, table.c.result).where(number.in_(batch), table.c.client_id == client)
            for row in connection.execute(query.order_by(table.c.id)):
                did.setdefault(row[0], []).append(f"{row[1]} {row[2]}")
    return did


def read_last_success(engine: Engine) -> PassRecord | None:
    """Read the record since which every part of the fleet has had a pass that worked; None when one has not."""
    with reading(engine) as connection:
        return last_success(connection)


def last_pass(connection: Connection) -> PassRecord | None:
    """Read the newest record; None when there is none."""
    row = connection.execute(select(passes).order_by(passes.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else PassRecord(**row._asdict())


def last_success(connection: Connection) -> PassRecord | None:
    """Read the record since which every part of the fleet has had a pass that worked; None when one has not.

    Of shards that is the last success of the one whose last success is the longest ago: a shard that always fails must
    not be hidden by the others. What an earlier number of shards has done counts until the present one has done it.
    """
    worked = passes.c.exit_code.in_(WORKED)
    of_each_shard = select(func.max(passes.c.id)).where(worked).group_by(passes.c.shard)
    missing = set(WHOLE.buckets)
    for row in connection.execute(select(passes).where(passes.c.id.in_(of_each_shard)).order_by(passes.c.id.desc())):
        missing.difference_update(parse_shard(row.shard).buckets)
        if not missing:
            return PassRecord(**row._asdict())
    return None


def last_plans(connection: Connection) -> tuple[PassRecord, ...]:
    """Read the newest record that has a plan, and with it those of the other shards of its number of shards."""
    had_a_plan = select(func.max(passes.c.id)).where(passes.c.error.is_(None)).group_by(passes.c.shard)
    rows = connection.execute(select(passes).where(passes.c.id.in_(had_a_plan)).order_by(passes.c.id.desc()))
    found = [PassRecord(**row._asdict()) for row in rows]
    return tuple(each for each in found if parse_shard(each.shard).of == parse_shard(found[0].shard).of)


def list_steps(engine: Engine, pass_id: int) -> tuple[StepRecord, ...]:
    """Read the steps of one pass: what it did, in the order of its plan, then what it left undone.

    Raises InvalidInput when the pass never was, or is forgotten by now.
    """
    with reading(engine) as connection:
        known = -LARGEST_ID <= pass_id <= LARGEST_ID
        found = connection.execute(select(passes).where(passes.c.id == pass_id)).one_or_none() if known else None
        if found is None:
            raise InvalidInput(f"pass {pass_id}", ["is not in the history"], "`syncctl history` lists those that are")
        table = pass_steps
        columns = [table.c[name] for name in (*_COLUMNS, "pass_id")]
        done = select(*columns).where(table.c.pass_id == pass_id).order_by(table.c.id)
        steps = [StepRecord(*row) for row in connection.execute(done)]
        if found.error is None:
            table = standing_steps
            columns = [table.c[name] for name in (*_COLUMNS, "first_pass")]
            then = (table.c.first_pass <= pass_id) & (table.c.ended_by.is_(None) | (table.c.ended_by > pass_id))
            left = select(*columns).where(then, *of_shard(table.c.client_id, parse_shard(found.shard)))
            steps += [StepRecord(*row) for row in connection.execute(left.order_by(table.c.id))]
        names = _names(connection, {step.client_id for step in steps if step.client_id is not None})
        return tuple(replace(step, client_name=names.get(step.client_id or 0)) for step in steps)


def _names(connection: Connection, ids: set[int]) -> dict[int, str]:
    """Return what these clients are called, those that were deleted by what they were called."""
    found: dict[int, str] = {}
    for batch in batches(list(ids)):
        for table, number in ((deleted_clients, deleted_clients.c.client_id), (clients, clients.c.id)):
            query = select(number, table.c.client_name).where(number.in_(batch))
            found |= {int(row[0]): str(row[1]) for row in connection.execute(query)}
    return found


def past_steps(connection: Connection, client_id: int, algorithm: str, limit: int) -> tuple[PastStep, ...]:
    """Read what is left undone of a key, then what the last passes have done to its pod, newest first."""
    told = ("pod", "result", "step", "cause", "reason")
    found: list[PastStep] = []
    left = standing_steps.c
    standing = select(left.first_pass, passes.c.started_at, *(left[name] for name in told)).outerjoin(
        passes, passes.c.id == left.first_pass
    )
    of_key = (left.client_id == client_id, left.algorithm == algorithm, left.ended_by.is_(None))
    done = pass_steps.c
    acted = select(done.pass_id, passes.c.started_at, *(done[name] for name in told)).join(passes)
    for query, is_standing in (
        (standing.where(*of_key).order_by(left.id.desc()), True),
        (acted.where(done.client_id == client_id, done.algorithm == algorithm).order_by(done.id.desc()), False),
    ):
        rows = connection.execute(query.limit(limit))
        found += [
            PastStep(row[0], row[1] or LONG_AGO, row[2], row[3], row[4], row[5], row[6], is_standing) for row in rows
        ]
    return tuple(found[:limit])
