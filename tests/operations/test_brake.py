"""When a pass begins nothing more, when it goes on with nothing, and how long it sleeps in between."""

from datetime import UTC, datetime
from signal import SIGTERM

import pytest

from syncctl.core.errors import LeaseLost
from syncctl.operations.brake import OVERTIME, PATIENCE, Brake
from syncctl.operations.clock import Clock

DEADLINE = 150.0


class Seconds:
    """Time that passes in sleep only; a signal comes at some moment of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.signal_at = float("inf")
        self.lost = False
        clock = Clock(now=lambda: datetime.fromtimestamp(self.now, UTC), monotonic=lambda: self.now, sleep=self.sleep)
        self.brake = Brake(DEADLINE, self.check, clock)
        self.brake.patience = PATIENCE

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.signal_at:
            self.signal_at = float("inf")
            # As the handler does, which would take over this process's signals.
            self.brake.signal, self.brake._told_at = SIGTERM, self.now

    def check(self) -> None:
        if self.lost:
            raise LeaseLost("the lease was lost")


@pytest.fixture
def time() -> Seconds:
    return Seconds()


def test_b1_what_was_begun_is_gone_on_with_for_90_seconds_after_the_deadline(time: Seconds) -> None:
    time.now = DEADLINE - 1
    assert (time.brake.reason(), time.brake.over()) == ("", "")
    for time.now in (DEADLINE, DEADLINE + OVERTIME - 1):
        assert (time.brake.reason(), time.brake.over()) == ("the pass's deadline came first", "")
    time.now = DEADLINE + OVERTIME
    assert time.brake.over() == "the pass's deadline came first"
    assert time.brake.reason(begun=True) == ""


@pytest.mark.parametrize("at", [10.0, DEADLINE + 20.0])
def test_b1_and_for_10_seconds_after_a_signal(time: Seconds, at: float) -> None:
    time.now, time.signal_at = at - 1, at
    time.brake.wait(1.0)
    told = "the pass was told to stop by SIGTERM"
    assert (time.brake.reason(), time.brake.over()) == (told, "")
    time.now = at + PATIENCE - 0.5
    assert time.brake.over() == ""
    time.now = at + PATIENCE
    assert time.brake.over() == told


def test_b1_a_lost_lease_ends_it_at_once(time: Seconds) -> None:
    time.lost = True
    assert time.brake.over() == time.brake.reason() == time.brake.reason(begun=True) == "the lease was lost"


@pytest.mark.parametrize(
    ("begin", "signal_at", "end"),
    [
        pytest.param(0.0, 500.0, 10.0, id="as long as it was asked to"),
        pytest.param(0.0, 3.0, 3.0, id="until a signal"),
        pytest.param(DEADLINE - 2, 500.0, DEADLINE, id="until the deadline"),
        pytest.param(DEADLINE + 1, 500.0, DEADLINE + 11, id="after the deadline too"),
        pytest.param(DEADLINE + OVERTIME - 2, 500.0, DEADLINE + OVERTIME, id="until its end"),
    ],
)
def test_b1_it_sleeps_until_it_has_something_else_to_say(
    time: Seconds, begin: float, signal_at: float, end: float
) -> None:
    time.now, time.signal_at = begin, signal_at
    time.brake.wait(10.0)
    assert time.now == pytest.approx(end, abs=0.11)


def test_b1_after_a_signal_it_sleeps_no_longer_than_its_patience_lasts(time: Seconds) -> None:
    time.signal_at = 1.0
    time.brake.wait(5.0)
    assert time.now == pytest.approx(1.0, abs=0.11)
    time.brake.wait(4.0)
    assert time.now == pytest.approx(5.0, abs=0.11)
    time.brake.wait(60.0)
    assert time.now == pytest.approx(1.0 + PATIENCE, abs=0.11)


@pytest.mark.parametrize("begin", [0.0, DEADLINE + OVERTIME - 5.0])
def test_b1_no_request_is_repeated_when_its_time_is_over(time: Seconds, begin: float) -> None:
    time.now = begin
    assert time.brake.pause(4.0)
    assert time.brake.pause(4.0) is (begin == 0.0)
    assert time.now <= DEADLINE + OVERTIME + 0.11
