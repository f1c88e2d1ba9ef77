"""What became of the steps of a pass is remembered with it, and forgotten with it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select

from syncctl.core.errors import DatabaseBusy, InvalidInput
from syncctl.db.engine import connect, reading, writing
from syncctl.db.history import PassRecord, StepRecord, forget_passes, list_passes, list_steps, record_pass
from syncctl.db.tables import pass_steps

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
RECORD = PassRecord(
    started_at=NOW,
    finished_at=NOW + timedelta(seconds=4),
    host="syncctl-28571040-x7k2p",
    who="cronjob",
    version="0.1.0",
    outcome="2 pods: 1 created, 0 replaced, 0 deleted, 0 unchanged, 0 waiting, 1 failed",
    exit_code=6,
    counts={"created": 1, "failed": 1},
)
CREATED = StepRecord("vwap-107", None, 7, "vwap", "create", "missing", "created", "enabled, and there is no pod")
UNREADABLE = StepRecord(
    "stray", "uid-1", None, None, "conflict", "unreadable-labels", "conflict", "its labels name nobody: Zoë ☂"
)


def record(engine: Engine, *steps: StepRecord, at: datetime = NOW, keep_days: int = 36500) -> int:
    """Store a pass with these steps and return its id."""
    with writing(engine) as connection:
        moved = PassRecord(**{**_fields(RECORD), "started_at": at, "finished_at": at})
        record_pass(connection, moved, steps, keep_days=keep_days)
    return list_passes(engine, 1)[0].id


def _fields(record: PassRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in PassRecord.__dataclass_fields__}


def test_steps_come_back_as_they_were_and_in_order(engine: Engine) -> None:
    steps = [CREATED, UNREADABLE, *(StepRecord(f"hft-{number}", None, number, "hft", *"abcd") for number in range(50))]
    assert list_steps(engine, record(engine, *steps)) == tuple(steps)


def test_each_pass_has_its_own(engine: Engine) -> None:
    first, second = record(engine, CREATED), record(engine, UNREADABLE, at=NOW + timedelta(minutes=5))
    assert list_steps(engine, first) == (CREATED,)
    assert list_steps(engine, second) == (UNREADABLE,)


def test_a_quiet_pass_has_none_and_an_unknown_one_neither(engine: Engine) -> None:
    assert list_steps(engine, record(engine)) == ()
    for never in (12345, -1, 2**70):
        with pytest.raises(InvalidInput, match="is not in the history"):
            list_steps(engine, never)


def test_steps_are_forgotten_with_their_pass(engine: Engine) -> None:
    old = record(engine, CREATED, UNREADABLE)
    record(engine, CREATED, at=datetime.now(UTC))
    forget_passes(engine, 30)
    with pytest.raises(InvalidInput, match="is not in the history"):
        list_steps(engine, old)
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(pass_steps)).scalar_one() == 1


def test_b3_what_is_forgotten_goes_in_short_transactions_and_while_there_is_time(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncctl.db.history._STEPS_AT_ONCE", 4)
    monkeypatch.setattr("syncctl.db.history._BATCH", 2)
    for _ in range(5):
        record(engine, *(CREATED,) * 3)
    record(engine, CREATED, at=datetime.now(UTC))
    gone: list[int] = []

    def after(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("DELETE"):
            gone.append(cursor.rowcount)

    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "commit", lambda _connection: gone.append(-1))
    forget_passes(engine, 30, lambda: gone.count(-1) < 2)
    # Of the six steps of two passes first four, then the rest and the passes.
    assert gone == [4, -1, 2, 2, -1]
    forget_passes(engine, 30)
    assert len(list_passes(engine, 10)) == 1
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(pass_steps)).scalar_one() == 1


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_b3_a_pass_is_recorded_however_much_there_is_to_forget(engine: Engine, migrated_url: str) -> None:
    old = [record(engine, CREATED) for _ in range(3)]
    with writing(engine) as somebody:
        # As slow as a million of them: no deletion comes to an end.
        somebody.execute(select(pass_steps.c.id).where(pass_steps.c.pass_id.in_(old)).with_for_update())
        hurried = connect(migrated_url, 0.5)
        with writing(hurried) as connection:
            moved = PassRecord(**{**_fields(RECORD), "started_at": datetime.now(UTC)})
            assert record_pass(connection, moved, keep_days=30)
        assert len(list_passes(hurried, 10)) == 4
        with pytest.raises(DatabaseBusy):
            forget_passes(hurried, 30)
        hurried.dispose()
    forget_passes(engine, 30)
    assert len(list_passes(engine, 10)) == 1


def test_a_pass_of_thousands_of_steps_is_recorded_whole(engine: Engine) -> None:
    steps = [StepRecord(f"vwap-{number}", "u", number, "vwap", "create", *"abc") for number in range(3000)]
    assert len(list_steps(engine, record(engine, *steps))) == 3000


def test_a_transaction_that_fails_records_neither_the_pass_nor_its_steps(engine: Engine) -> None:
    def fail() -> None:
        with writing(engine) as connection:
            record_pass(connection, RECORD, [CREATED], keep_days=30)
            raise RuntimeError("the body's own")

    with pytest.raises(RuntimeError, match="the body's own"):
        fail()
    assert list_passes(engine, 1) == ()
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(pass_steps)).scalar_one() == 0
