"""Passes are remembered for a number of days."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from syncctl.core.shard import WHOLE, Shard
from syncctl.db.engine import reading, writing
from syncctl.db.history import (
    PassRecord,
    StepRecord,
    forget_passes,
    last_pass,
    list_passes,
    orphans_refused,
    record_pass,
)

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
RECORD = PassRecord(
    started_at=NOW,
    finished_at=NOW + timedelta(seconds=4),
    host="syncctl-28571040-x7k2p",
    who="cronjob",
    version="0.1.0",
    outcome="30 pods: 2 created, 1 replaced, 0 deleted, 26 unchanged, 1 waiting",
    exit_code=6,
    counts={"create": 2, "replace": 1, "keep": 26, "wait": 1},
    error='vwap of client 3: "ResourceQuota" exceeded',
)


def _record(engine: Engine, *records: PassRecord) -> None:
    for record in records:
        with writing(engine) as connection:
            record_pass(connection, record, keep_days=36500)


def test_a_record_comes_back_as_it_was(engine: Engine) -> None:
    _record(engine, RECORD)
    (stored,) = list_passes(engine, 10)
    assert stored == replace(RECORD, id=stored.id)
    assert stored.id > 0


def test_records_are_listed_newest_first_and_no_more_than_asked_for(engine: Engine) -> None:
    at = {step: replace(RECORD, started_at=NOW + timedelta(minutes=step), error=None) for step in (0, 5, 10)}
    _record(engine, at[0], at[5], at[10])
    assert [record.started_at for record in list_passes(engine, 10)] == [at[step].started_at for step in (10, 5, 0)]
    assert [record.started_at for record in list_passes(engine, 2)] == [at[step].started_at for step in (10, 5)]
    assert list_passes(engine, 0) == ()


def test_what_was_stored_later_is_newer_whatever_the_hosts_clocks_say(engine: Engine) -> None:
    ahead = replace(RECORD, started_at=NOW + timedelta(days=40), exit_code=0)
    _record(engine, ahead, RECORD, RECORD)
    ids = [record.id for record in list_passes(engine, 10)]
    assert ids == sorted(ids, reverse=True)
    with reading(engine) as connection:
        last = last_pass(connection)
    assert last is not None
    assert (last.id, last.started_at) == (ids[0], NOW)


def test_what_is_older_than_the_days_kept_is_forgotten(engine: Engine) -> None:
    now = datetime.now(UTC)
    just_in, too_old = (now - timedelta(days=30) + timedelta(minutes=late) for late in (5, -5))
    for moment in (just_in, too_old, now):
        with writing(engine) as connection:
            record = replace(RECORD, started_at=moment, finished_at=moment)
            assert record_pass(connection, record, keep_days=30) is (moment == now)
    forget_passes(engine, 30)
    assert [record.started_at for record in list_passes(engine, 10)] == [now, just_in]


def test_a_host_whose_clock_is_ahead_forgets_nothing_of_what_others_did(engine: Engine) -> None:
    now = datetime.now(UTC)
    for moment in (now, now + timedelta(days=40), now):
        with writing(engine) as connection:
            record_pass(connection, replace(RECORD, started_at=moment, finished_at=moment), keep_days=30)
    assert len(list_passes(engine, 10)) == 3


def test_a_transaction_that_fails_records_nothing_and_forgets_nothing(engine: Engine) -> None:
    _record(engine, RECORD)

    def fail() -> None:
        with writing(engine) as connection:
            record_pass(connection, replace(RECORD, finished_at=NOW + timedelta(days=99)), keep_days=1)
            raise RuntimeError("the body's own")

    with pytest.raises(RuntimeError, match="the body's own"):
        fail()
    assert len(list_passes(engine, 10)) == 1


def _passed(engine: Engine, shard: str, *results: str, error: str | None = None, cause: str = "orphan") -> None:
    """Record a pass that came to these results with its orphans."""
    steps = [StepRecord(f"vwap-{n}", "uid", n, "vwap", "delete", cause, each, "") for n, each in enumerate(results)]
    with writing(engine) as connection:
        record_pass(connection, replace(RECORD, error=error, shard=shard), steps, keep_days=36500)


def test_orphans_are_refused_from_the_pass_that_did_to_the_one_that_found_or_deleted_none(engine: Engine) -> None:
    assert not orphans_refused(engine, WHOLE)
    _passed(engine, "0/1", "refused", cause="switched-off")
    assert not orphans_refused(engine, WHOLE)
    _passed(engine, "0/1", "refused", "refused")
    assert orphans_refused(engine, WHOLE)
    for settles_nothing in (("deferred",), ("failed",), ("deferred", "failed")):
        _passed(engine, "0/1", *settles_nothing)
        assert orphans_refused(engine, WHOLE)
    _passed(engine, "0/1", error="the cluster does not answer")
    assert orphans_refused(engine, WHOLE)
    _passed(engine, "0/1")
    assert not orphans_refused(engine, WHOLE)
    _passed(engine, "0/1", "refused")
    _passed(engine, "0/1", "deleted", "deferred", "failed")
    assert not orphans_refused(engine, WHOLE)


def test_orphans_are_refused_for_what_shards_have_in_common(engine: Engine) -> None:
    _passed(engine, "1/2", "refused")
    assert [orphans_refused(engine, shard) for shard in (WHOLE, Shard(1, 2), Shard(3, 4))] == [True, True, True]
    assert [orphans_refused(engine, shard) for shard in (Shard(0, 2), Shard(2, 4))] == [False, False]
    _passed(engine, "1/4")
    assert [orphans_refused(engine, shard) for shard in (Shard(1, 4), Shard(3, 4), WHOLE)] == [False, True, True]
    _passed(engine, "3/4")
    assert not orphans_refused(engine, WHOLE)


def test_a_long_history_is_looked_through(engine: Engine) -> None:
    _passed(engine, "0/2", "refused")
    for _ in range(250):
        _passed(engine, "1/2")
    assert orphans_refused(engine, WHOLE)
    assert not orphans_refused(engine, Shard(1, 2))
