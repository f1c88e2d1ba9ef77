"""Passes are remembered for a number of days."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from syncctl.db.engine import writing
from syncctl.db.history import PassRecord, list_passes, record_pass

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
            record_pass(connection, record, keep_days=30)


def test_a_record_comes_back_as_it_was(engine: Engine) -> None:
    _record(engine, RECORD)
    (stored,) = list_passes(engine, 10)
    assert stored == replace(RECORD, id=stored.id)
    assert stored.id > 0


def test_records_are_listed_newest_first_and_no_more_than_asked_for(engine: Engine) -> None:
    at = {step: replace(RECORD, started_at=NOW + timedelta(minutes=step), error=None) for step in (0, 5, 10)}
    _record(engine, at[5], at[0], at[10])
    assert [record.started_at for record in list_passes(engine, 10)] == [at[step].started_at for step in (10, 5, 0)]
    assert [record.started_at for record in list_passes(engine, 2)] == [at[step].started_at for step in (10, 5)]
    assert list_passes(engine, 0) == ()


def test_of_two_begun_at_once_the_later_stored_is_the_newer(engine: Engine) -> None:
    _record(engine, RECORD, RECORD, RECORD)
    ids = [record.id for record in list_passes(engine, 10)]
    assert ids == sorted(ids, reverse=True)


def test_what_is_older_than_the_days_kept_is_forgotten(engine: Engine) -> None:
    just_in, too_old = (RECORD.finished_at - timedelta(days=30, seconds=late) for late in (0, 1))
    _record(engine, *(replace(RECORD, started_at=moment, finished_at=moment) for moment in (just_in, too_old)), RECORD)
    assert [record.started_at for record in list_passes(engine, 10)] == [NOW, just_in]


def test_a_transaction_that_fails_records_nothing_and_forgets_nothing(engine: Engine) -> None:
    _record(engine, RECORD)

    def fail() -> None:
        with writing(engine) as connection:
            record_pass(connection, replace(RECORD, finished_at=NOW + timedelta(days=99)), keep_days=1)
            raise RuntimeError("the body's own")

    with pytest.raises(RuntimeError, match="the body's own"):
        fail()
    assert len(list_passes(engine, 10)) == 1
