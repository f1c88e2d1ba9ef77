"""C12: a log line on a terminal is one line, whatever the cluster or the database has written."""

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from syncctl.cli.logformat import set_up_logging
from syncctl.settings import Settings

FORGED = "gone\x1b[2J\x07\r\nerror: all pods were deleted\u2028\x9b31m \u202edne"
LOG = logging.getLogger("syncctl")


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the log in text is written to."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    before = LOG.handlers, LOG.propagate
    set_up_logging(Settings(log_format="text"))
    yield sys.stderr  # type: ignore[misc]
    LOG.handlers, LOG.propagate = before


def test_c12_what_others_wrote_is_escaped_and_stays_on_its_line(stderr: io.StringIO) -> None:
    LOG.error("vwap-1: failed: %s", FORGED, extra={"hint": FORGED})
    lines = stderr.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"]
    assert all(line.isprintable() for line in lines)
    assert "\\x1b[2J\\x07\\r\\nerror: all pods" in lines[0]


def test_c12_a_traceback_keeps_its_lines_and_nothing_else(stderr: io.StringIO) -> None:
    try:
        int(FORGED)
    except ValueError:
        LOG.exception("unforeseen")
    lines = stderr.getvalue().splitlines()
    assert lines[:2] == ["error: unforeseen", "Traceback (most recent call last):"]
    assert all(line.isprintable() for line in lines)
