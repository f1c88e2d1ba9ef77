"""Lengths of time and moments, read from a command line."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from syncctl.core.durations import parse_duration, parse_until, told_length
from syncctl.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("65s", 65), ("2m", 120), ("1m30s", 90), ("1h", 3600), ("1h2m3s", 3723), ("2h5s", 7205), ("090s", 90)],
)
def test_a_length_of_time_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration("--wait", text) == seconds


@pytest.mark.parametrize("text", ["", "65", "s", "m3s", "30s1m", "1m30", "1.5m", "-5s", "+5s", "5 s", "5s\n", "5S"])
def test_what_is_none_is_a_usage_error_that_names_the_form(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_duration("--wait", text)
    assert refused.value.message == f'--wait "{text}" is no length of time'
    assert refused.value.hint == "write it like 65s, 2m, 1m30s or 7d"


# Until when


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.usefixtures("in_new_york")
@pytest.mark.parametrize(
    ("text", "now", "ends"),
    [
        ("2h", "2026-03-02T14:30", "2026-03-02T16:30"),
        ("1d12h", "2026-03-02T14:30", "2026-03-04T02:30"),
        ("16:30", "2026-03-02T14:30", "2026-03-02T21:30"),
        ("9:30", "2026-03-02T14:30", "2026-03-03T14:30"),
        ("09:31", "2026-03-02T14:30", "2026-03-02T14:31"),
        ("23:00", "2026-03-03T03:30", "2026-03-03T04:00"),
        ("2026-11-27T09:00", "2026-03-02T14:30", "2026-11-27T14:00"),
        ("2026-11-27", "2026-03-02T14:30", "2026-11-27T05:00"),
        ("2026-11-27T09:00Z", "2026-03-02T14:30", "2026-11-27T09:00"),
        ("2026-11-27T09:00+01:00", "2026-03-02T14:30", "2026-11-27T08:00"),
        # The night in which 01:30 comes twice, and the later one counts.
        ("2026-11-01T01:30", "2026-10-31T14:30", "2026-11-01T06:30"),
    ],
)
def test_a_moment_is_read_in_the_zone_of_this_machine(text: str, now: str, ends: str) -> None:
    assert parse_until(text, utc(now)) == utc(ends)


def test_forever_is_a_word() -> None:
    assert parse_until("forever", datetime.now(UTC)) is None


@pytest.mark.usefixtures("in_new_york")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("soon", "is no time"),
        ("25:00", "is no time"),
        ("2026-13-01", "is no time"),
        ("0s", "is over: it is 2026-03-02 09:30 EST"),
        ("2026-03-02T09:00", "is over"),
        ("999999d", "more than ten years"),
        ("2999-01-01", "more than ten years"),
        ("2026-03-08T02:30", "is not on the clock on 2026-03-08"),
        ("FOREVER", "is no time"),
    ],
)
def test_what_is_no_moment_ahead_is_a_usage_error(text: str, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_until(text, utc("2026-03-02T14:30"))
    assert why in refused.value.message
    assert "forever" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (59, "59 s"), (7440, "2 h 4 min"), (7201, "2 h 1 s"), (90061, "1 d 1 h"), (60, "1 min")],
)
def test_a_length_is_told_in_its_two_largest_units(seconds: int, told: str) -> None:
    assert told_length(timedelta(seconds=seconds)) == told
