"""Lengths of time, read from a command line."""

import pytest

from syncctl.core.durations import parse_duration
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
