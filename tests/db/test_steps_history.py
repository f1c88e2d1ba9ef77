"""What became of the steps of a pass is remembered with it, and forgotten with it."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Table, event, func, select, text

from syncctl.core.errors import DatabaseBusy, InvalidInput
from syncctl.core.records import PassRecord, StepRecord
from syncctl.db.engine import connect, reading, writing
from syncctl.db.history import forget_passes, list_passes, list_steps, record_pass
from syncctl.db.tables import pass_steps, standing_steps

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
MANY = 10_000


def record(
    engine: Engine,
    *done: StepRecord,
    left: Iterable[StepRecord] = (),
    at: datetime = NOW,
    keep_days: int = 36500,
    **fields: Any,
) -> int:
    """Store a pass that did these steps and left those, and return its id."""
    with writing(engine) as connection:
        moved = replace(RECORD, started_at=at, finished_at=at, **fields)
        standing = {f"{step.pod} {step.result[:3]}": step for step in left}
        record_pass(connection, moved, done, standing, keep_days=keep_days)
    return list_passes(engine, 1)[0].id


def refused(number: int, reason: str = "11 of 20 are orphans", **fields: Any) -> StepRecord:
    step = StepRecord(f"vwap-{number}", f"u{number}", number, "vwap", "delete", "orphan", "refused", reason)
    return replace(step, **fields)


def shown(engine: Engine, pass_id: int) -> list[tuple[str, str, int]]:
    """Return what the history shows of a pass: pod, result, and since which pass."""
    return [(step.pod, step.result, step.since) for step in list_steps(engine, pass_id)]


def counted(engine: Engine, table: Table) -> int:
    with reading(engine) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_steps_come_back_as_they_were_and_in_order(engine: Engine) -> None:
    done = [CREATED, UNREADABLE, *(StepRecord(f"hft-{number}", None, number, "hft", *"abcd") for number in range(50))]
    left = [refused(number) for number in range(20)]
    pass_id = record(engine, *done, left=left)
    assert list_steps(engine, pass_id) == tuple(replace(step, since=pass_id) for step in done + left)


def test_each_pass_has_its_own(engine: Engine) -> None:
    first, second = record(engine, CREATED), record(engine, UNREADABLE, at=NOW + timedelta(minutes=5))
    assert list_steps(engine, first) == (replace(CREATED, since=first),)
    assert list_steps(engine, second) == (replace(UNREADABLE, since=second),)


def test_c6_what_is_left_as_it_was_is_stored_once_and_shown_of_each_pass(engine: Engine) -> None:
    passes = [record(engine, left=[refused(1), refused(2)]) for _ in range(4)]
    assert counted(engine, standing_steps) == 2
    assert counted(engine, pass_steps) == 0
    for each in passes:
        assert shown(engine, each) == [("vwap-1", "refused", passes[0]), ("vwap-2", "refused", passes[0])]


def test_c6_what_ends_is_shown_no_longer_and_what_comes_back_is_new(engine: Engine) -> None:
    first = record(engine, left=[refused(1), refused(2)])
    second = record(engine, refused(1, result="deleted"), left=[refused(2)])
    third = record(engine, left=[refused(2), refused(3)])
    fourth = record(engine, left=[refused(1), refused(3)])
    assert shown(engine, first) == [("vwap-1", "refused", first), ("vwap-2", "refused", first)]
    assert shown(engine, second) == [("vwap-1", "deleted", second), ("vwap-2", "refused", first)]
    assert shown(engine, third) == [("vwap-2", "refused", first), ("vwap-3", "refused", third)]
    assert shown(engine, fourth) == [("vwap-3", "refused", third), ("vwap-1", "refused", fourth)]


def test_c6_another_result_of_a_step_is_another_row(engine: Engine) -> None:
    first = record(engine, left=[refused(1)])
    second = record(engine, left=[refused(1, result="failed")])
    assert shown(engine, first) == [("vwap-1", "refused", first)]
    assert shown(engine, second) == [("vwap-1", "failed", second)]


def test_c6_a_pass_that_had_no_plan_shows_nothing_and_ends_nothing(engine: Engine) -> None:
    first = record(engine, left=[refused(1)])
    failed = record(engine, error="the cluster does not answer")
    third = record(engine, left=[refused(1)])
    assert shown(engine, failed) == []
    assert shown(engine, third) == [("vwap-1", "refused", first)]


def test_c6_a_shard_tells_of_its_own_only(engine: Engine) -> None:
    whole = record(engine, left=[refused(number) for number in (1, 2, 3, 4)])
    odd = record(engine, left=[refused(1)], shard="1/2")
    even = record(engine, left=[refused(2), refused(4)], shard="0/2")
    quarter = record(engine, shard="2/4")
    assert shown(engine, whole) == [(f"vwap-{number}", "refused", whole) for number in (1, 2, 3, 4)]
    assert shown(engine, odd) == [("vwap-1", "refused", whole)]
    assert shown(engine, even) == [("vwap-2", "refused", whole), ("vwap-4", "refused", whole)]
    assert shown(engine, quarter) == []
    after = record(engine, left=[refused(1), refused(4)])
    assert shown(engine, after) == [("vwap-1", "refused", whole), ("vwap-4", "refused", whole)]


def test_c6_what_is_still_left_outlives_the_days_that_are_kept(engine: Engine) -> None:
    old = record(engine, left=[refused(1), refused(2), refused(3)])
    record(engine, left=[refused(1), refused(2)], at=NOW + timedelta(minutes=5))
    now = datetime.now(UTC)
    latest = record(engine, left=[refused(1)], at=now, keep_days=30)
    forget_passes(engine, 30, 400)
    # What ended with the passes that are forgotten is forgotten too.
    assert counted(engine, standing_steps) == 2
    assert shown(engine, latest) == [("vwap-1", "refused", old)]
    with pytest.raises(InvalidInput, match="is not in the history"):
        list_steps(engine, old)
    assert shown(engine, record(engine, left=[refused(1)], at=now, keep_days=30)) == [("vwap-1", "refused", old)]


def test_c6_ten_thousand_held_pods_cost_nothing_from_the_second_pass_on(engine: Engine) -> None:
    left = [refused(number, "10000 of 10000 live pods (100%) are orphans: " + 200 * "x") for number in range(MANY)]
    first = record(engine, left=left)
    size = _bytes(engine)
    assert size > MANY * 200
    sent: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", listen)
    passes = [record(engine, left=left) for _ in range(4)]
    event.remove(engine, "before_cursor_execute", listen)
    assert counted(engine, standing_steps) == MANY
    # Of each pass one look at what is left, and its row.
    assert sum("FROM standing_steps" in statement and "INSERT" not in statement for statement in sent) == 4
    assert not any(statement.startswith(("INSERT INTO standing", "UPDATE standing")) for statement in sent)
    assert _bytes(engine) - size < 100_000
    assert {len(list_steps(engine, each)) for each in [first, *passes]} == {MANY}


def _bytes(engine: Engine) -> int:
    """Return what the database takes."""
    if engine.dialect.name == "sqlite":
        query = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    else:
        query = "SELECT pg_database_size(current_database())"
    with reading(engine) as connection:
        return int(connection.execute(text(query)).scalar_one())


def test_c6_a_pass_with_nothing_left_undone_asks_for_nothing_more(engine: Engine) -> None:
    sent: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    record(engine)
    event.listen(engine, "before_cursor_execute", listen)
    record(engine)
    event.remove(engine, "before_cursor_execute", listen)
    assert [statement.split()[0] for statement in sent if "passes" in statement or "standing" in statement] == [
        "INSERT",
        "SELECT",
        "SELECT",
    ]


def test_a_quiet_pass_has_none_and_an_unknown_one_neither(engine: Engine) -> None:
    assert list_steps(engine, record(engine)) == ()
    for never in (12345, -1, 2**70):
        with pytest.raises(InvalidInput, match="is not in the history"):
            list_steps(engine, never)


def test_steps_are_forgotten_with_their_pass(engine: Engine) -> None:
    old = record(engine, CREATED, UNREADABLE)
    record(engine, CREATED, at=datetime.now(UTC))
    forget_passes(engine, 30, 400)
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
    forget_passes(engine, 30, 400, lambda: gone.count(-1) < 2)
    # Of the six steps of two passes first four, then the rest, none that they ended, the passes, and no change.
    assert gone == [4, -1, 2, 0, 2, 0, -1]
    forget_passes(engine, 30, 400)
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
            moved = replace(RECORD, started_at=datetime.now(UTC))
            assert record_pass(connection, moved, keep_days=30)
        assert len(list_passes(hurried, 10)) == 4
        with pytest.raises(DatabaseBusy):
            forget_passes(hurried, 30, 400)
        hurried.dispose()
    forget_passes(engine, 30, 400)
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
