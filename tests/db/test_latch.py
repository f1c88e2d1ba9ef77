"""What the guard refuses until further notice, bucket by bucket, and what a person has allowed, pod by pod."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event

from syncctl.core.holds.guard import allowance_of
from syncctl.core.memory import Allowance, GuardKind, Latch
from syncctl.core.model import ObservedPod
from syncctl.core.shard import WHOLE, Shard
from syncctl.core.steps import Cause, Step, StepKind
from syncctl.db.engine import writing
from syncctl.db.latch import forget_allowances, settle_latches, store_allowances, store_latches
from syncctl.db.rows import BATCH
from syncctl.db.snapshot import read_snapshot
from tests.core.builders import key

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
ORPHANS = GuardKind.ORPHANS


def latch(engine: Engine, shard: Shard = WHOLE, *, at: datetime = NOW, by: str = "cronjob@host-3") -> None:
    with writing(engine) as connection:
        store_latches(connection, {ORPHANS: shard.buckets}, at, by)


def settle(engine: Engine, shard: Shard) -> None:
    with writing(engine) as connection:
        settle_latches(connection, {ORPHANS}, shard)


def latches(engine: Engine, shard: Shard = WHOLE) -> dict[GuardKind, Latch]:
    return dict(read_snapshot(engine, consume_restarts=False, shard=shard).latches)


def to_go(number: int, uid: str = "") -> Step:
    pod = ObservedPod(f"vwap-{number}", uid or f"uid of {number}", {}, {})
    return Step(StepKind.DELETE, Cause.ORPHAN, pod.name, key(number), "orphan", observed=pod)


def allow(engine: Engine, *steps: Step) -> None:
    with writing(engine) as connection:
        store_allowances(connection, steps, NOW, "alice@host-3")


def allowances(engine: Engine, shard: Shard = WHOLE) -> frozenset[Allowance]:
    return read_snapshot(engine, consume_restarts=False, shard=shard).allowances


def test_c6_nothing_is_latched_and_nothing_allowed_at_first(engine: Engine) -> None:
    assert (latches(engine), allowances(engine)) == ({}, frozenset())


def test_c6_a_latch_says_since_when_and_who_found_it_first(engine: Engine) -> None:
    latch(engine)
    latch(engine, at=NOW + timedelta(hours=1), by="alice@laptop")
    assert latches(engine) == {ORPHANS: Latch(NOW, "cronjob@host-3", frozenset(range(256)))}


def test_c6_of_several_shards_the_first_is_told(engine: Engine) -> None:
    latch(engine, Shard(1, 4), at=NOW + timedelta(minutes=1), by="second@host")
    latch(engine, Shard(0, 4), by="first@host")
    assert latches(engine) == {ORPHANS: Latch(NOW, "first@host", frozenset(Shard(0, 4).buckets + Shard(1, 4).buckets))}
    assert latches(engine, Shard(1, 4))[ORPHANS].by == "second@host"


def test_c6_a_latch_is_for_what_shards_have_in_common(engine: Engine) -> None:
    latch(engine, Shard(1, 2))
    assert [bool(latches(engine, shard)) for shard in (WHOLE, Shard(1, 2), Shard(3, 4))] == [True, True, True]
    assert [bool(latches(engine, shard)) for shard in (Shard(0, 2), Shard(2, 4))] == [False, False]
    settle(engine, Shard(1, 4))
    assert [bool(latches(engine, shard)) for shard in (Shard(1, 4), Shard(3, 4), WHOLE)] == [False, True, True]
    settle(engine, Shard(3, 4))
    assert latches(engine) == {}


def test_c6_an_allowance_is_that_of_a_pod_and_a_uid(engine: Engine) -> None:
    allow(engine, to_go(7), to_go(7, "uid of its successor"), to_go(8))
    # Once more by a pass that has lost its lease.
    allow(engine, to_go(8))
    known = {Allowance("vwap-7", "uid of 7"), Allowance("vwap-7", "uid of its successor"), allowance_of(to_go(8))}
    assert allowances(engine) == known
    assert allowances(engine, Shard(0, 2)) == {allowance_of(to_go(8))}
    with writing(engine) as connection:
        forget_allowances(connection, {Allowance("vwap-7", "uid of 7"), Allowance("vwap-8", "uid of another")})
    assert allowances(engine) == known - {Allowance("vwap-7", "uid of 7")}


@pytest.mark.parametrize("number", [BATCH, BATCH + 1])
def test_c6_a_whole_fleet_can_be_allowed_and_forgotten(engine: Engine, number: int) -> None:
    steps = [to_go(each) for each in range(1, number + 1)]
    allow(engine, *steps)
    assert len(allowances(engine)) == number
    with writing(engine) as connection:
        forget_allowances(connection, map(allowance_of, steps))
    assert allowances(engine) == frozenset()


def test_c6_who_knows_nothing_is_asked_nothing(engine: Engine) -> None:
    sent: list[str] = []

    def counted(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", counted)
    read_snapshot(engine, consume_restarts=False)
    before = len(sent)
    assert sum("guard_" in statement for statement in sent) == 1
    sent.clear()
    latch(engine)
    sent.clear()
    read_snapshot(engine, consume_restarts=False)
    # Latches, allowances, and the stops that are allowed.
    assert len(sent) == before + 3
    sent.clear()
    with writing(engine) as connection:
        store_latches(connection, {}, NOW, "x")
        store_allowances(connection, [], NOW, "x")
        settle_latches(connection, set(), WHOLE)
        forget_allowances(connection, set())
    assert not any("guard_" in statement for statement in sent)
