"""Times as both databases hold them, those written by hand included."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import StatementError

from syncctl.db import clients as db
from syncctl.db.engine import reading, writing
from syncctl.db.tables import clients
from syncctl.db.times import LONG_AGO, parse_time

EAST = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (datetime(2024, 5, 1, 12, tzinfo=UTC), datetime(2024, 5, 1, 12, tzinfo=UTC)),
        (datetime(2024, 5, 1, 12, 0, 0, 1, tzinfo=EAST), datetime(2024, 5, 1, 6, 30, 0, 1, tzinfo=UTC)),
        (
            datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        ),
        (datetime(1900, 1, 1, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_comes_back_as_the_same_moment_in_utc(engine: Engine, given: datetime, kept: datetime) -> None:
    with writing(engine) as connection:
        connection.execute(insert(clients).values(client_name="acme", spawned_at=given))
    with reading(engine) as connection:
        read = connection.execute(select(clients.c.spawned_at)).scalar_one()
    assert read == kept
    assert read.tzinfo is UTC


def test_a_time_without_a_zone_is_never_written(engine: Engine) -> None:
    with pytest.raises(StatementError, match="without a zone"), writing(engine) as connection:
        connection.execute(insert(clients).values(client_name="acme", spawned_at=datetime(2024, 5, 1)))  # noqa: DTZ001


def test_times_sort_as_they_passed(engine: Engine) -> None:
    moments = [datetime(2024, 5, 1, 12, 0, second, micro, tzinfo=UTC) for second in (0, 5) for micro in (0, 1, 10)]
    with writing(engine) as connection:
        for number, moment in enumerate(reversed(moments)):
            connection.execute(insert(clients).values(client_name=str(number), spawned_at=moment))
    with reading(engine) as connection:
        assert (
            connection.execute(select(clients.c.spawned_at).order_by(clients.c.spawned_at)).scalars().all() == moments
        )


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("value", ["0001-01-01 00:00:00+00", "0044-03-15 00:00:00+00 BC", "infinity", "-infinity"])
@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_no_time_of_postgres_ends_a_list(engine: Engine, value: str, zone: str) -> None:
    with writing(engine) as connection:
        connection.execute(
            text("INSERT INTO clients (client_name, spawned_at, created_at) VALUES ('acme', :value, :value)"),
            {"value": value},
        )
    with reading(engine) as connection:
        connection.execute(text(f"SET LOCAL TIME ZONE '{zone}'"))
        (client,) = db.list_clients(connection)
    assert client.spawned_at is None
    assert client.created_at is None


@pytest.mark.parametrize("value", ["yesterday", "", "2024-02-31", "12:00", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_no_text_for_a_time_in_sqlite_ends_a_list(engine: Engine, value: str) -> None:
    with writing(engine) as connection:
        connection.execute(
            text("INSERT INTO clients (client_name, spawned_at, created_at) VALUES ('acme', :value, :value)"),
            {"value": value},
        )
    with reading(engine) as connection:
        (client,) = db.list_clients(connection)
    assert client.spawned_at is None
    assert client.created_at is None


@pytest.mark.parametrize(
    "spelling",
    [
        "2024-05-01 12:00:00",
        "2024-05-01T12:00:00Z",
        "2024-05-01 12:00",
        "2024-05-01 12:00:00.000",
        "2024-05-01 14:00:00+02",
        "2024-05-01 17:30:00+05:30",
    ],
)
def test_a_time_is_read_in_any_spelling(spelling: str) -> None:
    assert parse_time(spelling) == datetime(2024, 5, 1, 12, tzinfo=UTC)


def test_the_edges_of_the_calendar_do_not_overflow() -> None:
    assert parse_time("0001-01-01 00:00:00+14") == LONG_AGO
    assert parse_time("9999-12-31 23:00:00-12") == LONG_AGO
