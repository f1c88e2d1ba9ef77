"""Suspensions come back as they were stored, are over by the database's clock, and are never taken away."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event, text

from syncctl.core.errors import DatabaseError
from syncctl.core.model import Algorithm, PodKey
from syncctl.core.suspensions import NO_SUSPENSIONS, Suspension
from syncctl.db.changelog import find_changes, removals
from syncctl.db.engine import reading, writing
from syncctl.db.snapshot import read_snapshot
from syncctl.db.suspensions import end_suspensions, find_suspensions, insert_suspension, read_in_force
from syncctl.db.times import clock_of

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def store(engine: Engine, client_id: int | None = 7, **fields: object) -> Suspension:
    given = {
        "id": 0,
        "client_id": client_id,
        "client_name": None if client_id is None else "acme",
        "algorithm": None,
        "stops": False,
        "reason": "the exchange asked",
        "started_at": NOW,
        "started_by": "anna@desk7",
        "ends_at": None,
    }
    with writing(engine) as connection:
        return insert_suspension(connection, Suspension(**{**given, **fields}))  # type: ignore[arg-type]


def of_the_snapshot(engine: Engine) -> list[int]:
    return [each.id for each in read_snapshot(engine, consume_restarts=False).suspensions.in_force]


def test_they_come_back_as_they_were(engine: Engine) -> None:
    assert read_snapshot(engine, consume_restarts=False).suspensions is NO_SUSPENSIONS
    one = store(engine, algorithm=Algorithm.TWAP, stops=True, ends_at=datetime(2999, 1, 1, tzinfo=UTC))
    fleet = store(engine, None)
    found = read_snapshot(engine, consume_restarts=False).suspensions
    assert found.in_force == (one, fleet)
    assert found.of(PodKey(7, Algorithm.TWAP)) == one
    assert found.of(PodKey(7, Algorithm.VWAP)) == fleet


@pytest.mark.parametrize("seconds", [-0.001, 0, 0.001, 60])
def test_one_is_over_at_its_end_by_the_moment_that_is_asked_about(engine: Engine, seconds: float) -> None:
    store(engine, ends_at=NOW + timedelta(seconds=seconds))
    with reading(engine) as connection:
        assert bool(read_in_force(connection, NOW)) is (seconds > 0)


def test_it_is_the_databases_clock_that_ends_one(engine: Engine) -> None:
    store(engine, ends_at=datetime.now(UTC) - timedelta(seconds=5))
    lasts = store(engine, ends_at=datetime.now(UTC) + timedelta(hours=1))
    assert of_the_snapshot(engine) == [lasts.id]
    with reading(engine) as connection:
        assert [each.id for each in find_suspensions(connection, clock_of(connection), ended=True)] == [lasts.id - 1]


def test_a_fleet_without_any_is_not_asked_for_them(engine: Engine) -> None:
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    read_snapshot(engine, consume_restarts=False)
    assert not any("suspensions.reason" in statement for statement in asked)
    store(engine)
    read_snapshot(engine, consume_restarts=False)
    assert any("suspensions.reason" in statement for statement in asked)


def test_one_is_ended_once(engine: Engine) -> None:
    one = store(engine)
    with writing(engine) as connection:
        (ended,) = end_suspensions(connection, [one.id], "bob@desk8", "done")
        assert end_suspensions(connection, [one.id], "carol", "again") == []
    assert (ended.ended_by, ended.end_reason, ended.ended_at is not None) == ("bob@desk8", "done", True)
    assert of_the_snapshot(engine) == []


def test_rows_of_clients_may_go_and_what_was_said_of_them_stays(engine: Engine) -> None:
    one = store(engine)
    with writing(engine) as connection:
        how = "TRUNCATE clients CASCADE" if engine.dialect.name == "postgresql" else "DELETE FROM clients"
        connection.execute(text(how))
    assert of_the_snapshot(engine) == [one.id]


def test_what_becomes_of_a_suspension_says_nothing_of_how_a_client_went(engine: Engine) -> None:
    store(engine)
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM suspensions"))
        assert [change.op for change in find_changes(connection, table="suspensions")] == ["delete", "insert"]
        assert removals(connection, [7]) == []


def test_each_is_in_the_change_log_of_its_client(engine: Engine) -> None:
    one = store(engine, algorithm=Algorithm.VWAP, ends_at=NOW)
    fleet = store(engine, None, ends_at=None)
    with writing(engine) as connection:
        end_suspensions(connection, [one.id], "bob@desk8", "done")
    with reading(engine) as connection:
        found = list(find_changes(connection, table="suspensions"))
        assert [change.id for change in find_changes(connection, client=7)] == [found[0].id, found[2].id]
    assert [change.what for change in found] == [
        f"suspension {one.id} ended",
        f"all suspended until somebody resumes it (suspension {fleet.id})",
        f"vwap suspended until 2026-03-02 14:30 UTC (suspension {one.id})",
    ]
    assert [(change.client_id, change.client_name, change.is_of_fleet) for change in found] == [
        (7, "acme", False),
        (None, None, True),
        (7, "acme", False),
    ]


@pytest.mark.parametrize(
    ("client_id", "fields"),
    [(7, {"reason": ""}), (None, {"algorithm": Algorithm.VWAP}), (None, {"stops": True})],
)
def test_the_database_takes_none_without_a_reason_and_none_that_stops_the_fleet(
    engine: Engine, client_id: int | None, fields: dict[str, object]
) -> None:
    with pytest.raises(DatabaseError):
        store(engine, client_id, **fields)


def test_a_row_that_is_odd_leaves_more_alone_and_ends_no_pass(engine: Engine) -> None:
    with writing(engine) as connection:
        ends = "'infinity'" if engine.dialect.name == "postgresql" else "'the end of days'"
        connection.execute(
            text(
                "INSERT INTO suspensions (client_id, algorithm, reason, started_by, ends_at)"
                f" VALUES (7, 'pov', 'by hand', 'psql', {ends})"
            )
        )
    found = read_snapshot(engine, consume_restarts=False).suspensions.of(PodKey(7, Algorithm.HFT))
    assert found is not None
    assert found.until == "until somebody resumes it"
