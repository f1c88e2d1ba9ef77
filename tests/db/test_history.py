"""Passes are remembered for a number of days."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from syncctl.core.model import NewClient
from syncctl.core.records import PassRecord, StepRecord
from syncctl.db.engine import reading, writing
from syncctl.db.history import forget_passes, last_pass, list_passes, list_steps, read_last_success, record_pass
from syncctl.operations import clients

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
    forget_passes(engine, 30, 400)
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


def test_passes_are_narrowed_to_those_one_asks_for(engine: Engine) -> None:
    done = StepRecord("vwap-1", "uid", 7, "vwap", "create", "missing", "created", "enabled, and there is no pod")
    left = replace(done, pod="hft-2", client_id=8, algorithm="hft", result="refused")
    idle = replace(RECORD, error=None, exit_code=0)
    with writing(engine) as connection:
        record_pass(connection, idle, keep_days=36500)
        record_pass(connection, replace(idle, started_at=NOW + timedelta(hours=1)), [done], keep_days=36500)
        record_pass(connection, replace(idle, exit_code=4), standing={"digest": left}, keep_days=36500)
        record_pass(connection, replace(idle, exit_code=4), standing={"digest": left}, keep_days=36500)
    first, second, third, fourth = reversed([record.id for record in list_passes(engine, 10)])

    def found(**which: Any) -> list[int]:
        return [record.id for record in list_passes(engine, 10, **which)]

    assert list_passes(engine, 10, client=7)[0].client_steps == ("vwap-1 created",)
    assert list_passes(engine, 10, client=8)[0].client_steps == ("hft-2 refused",)
    assert found(client=7) == found(changed=True) == found(since=NOW + timedelta(minutes=1)) == [second]
    assert found(client=8) == [third]
    assert found(failed=True) == [fourth, third]
    assert found(client=7, failed=True) == found(client=9) == []
    assert read_last_success(engine) == list_passes(engine, 10)[2]
    assert first < second


def test_steps_come_with_the_names_of_their_clients(engine: Engine) -> None:
    acme = clients.add_client(engine, NewClient("acme"))
    globex = clients.add_client(engine, NewClient("globex"))
    clients.delete_client(engine, globex.id)
    steps = [
        StepRecord(f"vwap-{number}", None, number, "vwap", "create", "missing", "created", "")
        for number in (acme.id, globex.id, 99)
    ]
    with writing(engine) as connection:
        record_pass(connection, RECORD, steps, keep_days=36500)
    (record,) = list_passes(engine, 1)
    assert [step.client_name for step in list_steps(engine, record.id)] == ["acme", "globex", None]
