"""A pass that waits for the lease: how long, what it says meanwhile, and what it keeps of the database."""

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine, create_engine, text, update

from syncctl.core.errors import LeaseHeld
from syncctl.db import lease as db
from syncctl.db.engine import writing
from syncctl.db.tables import lease
from syncctl.operations.clock import Clock
from syncctl.operations.lease import HeldLease, lease_status

LONGER_THAN_A_TERM = 65.0


class Waiting:
    """Time that passes only while somebody waits, for the lease too; things may happen at some second of it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.seconds = 0.0
        self.steps: list[float] = []
        self.happenings: dict[float, Callable[[], object]] = {}

    def __call__(self, seconds: float) -> None:
        """Wait."""
        self.steps.append(seconds)
        self.seconds += seconds
        shift(self._engine, -seconds)
        for at in [at for at in self.happenings if at <= self.seconds]:
            self.happenings.pop(at)()

    def lease(self, patience: float) -> HeldLease:
        """Return the lease, to be waited for."""
        clock = Clock(monotonic=lambda: self.seconds, boottime=lambda: self.seconds)
        return HeldLease(self._engine, clock).waiting(patience, self)


@pytest.fixture
def waiting(engine: Engine) -> Waiting:
    return Waiting(engine)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What the log says."""
    monkeypatch.setattr(logging.getLogger("syncctl"), "propagate", True)
    caplog.set_level("INFO", "syncctl")
    return lambda: [record.getMessage() for record in caplog.records]


def shift(engine: Engine, seconds: float) -> None:
    """Move the lease in time: the database's own clock is what nobody can drive."""
    found = lease_status(engine)
    if found.holder and found.acquired_at and found.expires_at:
        by = timedelta(seconds=seconds)
        with writing(engine) as connection:
            values = {"acquired_at": found.acquired_at + by, "expires_at": found.expires_at + by}
            connection.execute(update(lease).values(values))


def acquire(engine: Engine, holder: str) -> db.Lease:
    with writing(engine) as connection:
        taken = db.acquire_lease(connection, holder)
    assert taken.taken
    return taken


def release(engine: Engine, mine: db.Lease) -> None:
    with writing(engine) as connection:
        db.release_lease(connection, mine)


def test_b2_who_waits_takes_the_lease_as_soon_as_it_is_given_back(engine: Engine, waiting: Waiting) -> None:
    other = acquire(engine, "host-b, process 2")
    waiting.happenings[20.0] = lambda: release(engine, other)
    with waiting.lease(LONGER_THAN_A_TERM) as held:
        assert 20.0 <= waiting.seconds <= 21.0
        assert not held.took_over
        held.confirm(lambda _connection: None)
        assert lease_status(engine).holder != "host-b, process 2"
    assert lease_status(engine).holder is None


def test_b2_who_waits_for_longer_than_a_term_outlives_a_dead_holder(engine: Engine, waiting: Waiting) -> None:
    acquire(engine, "dead, process 2")
    with waiting.lease(LONGER_THAN_A_TERM) as held:
        assert waiting.seconds <= db.TERM.total_seconds() + 1.0
        assert held.took_over


@pytest.mark.parametrize("patience", [0.0, 0.5, 10.0, LONGER_THAN_A_TERM])
def test_b2_who_has_waited_in_vain_is_told_who_has_it(
    engine: Engine, waiting: Waiting, told: Callable[[], list[str]], patience: float
) -> None:
    other = acquire(engine, "host-b, process 2")
    waiting.happenings |= {second: lambda: renew(engine, other) for second in range(15, 61, 15)}
    with pytest.raises(LeaseHeld, match="host-b, process 2 holds the lease since"), waiting.lease(patience):
        pytest.fail("it entered")
    assert waiting.seconds == patience
    # In short steps: whoever gives it back must not find that nobody looks.
    assert all(0 < step <= 1.0 for step in waiting.steps)
    assert len(told()) == (1 if patience else 0)


def renew(engine: Engine, mine: db.Lease) -> None:
    with writing(engine) as connection:
        assert db.renew_lease(connection, mine)


def test_b2_who_waits_says_once_for_whom_and_again_when_that_is_another(
    engine: Engine, waiting: Waiting, told: Callable[[], list[str]]
) -> None:
    first = acquire(engine, "host-b, process 2")
    since, until = (f"{time:%Y-%m-%d %H:%M:%S} UTC" for time in (first.acquired_at, first.expires_at) if time)

    def pass_on() -> None:
        release(engine, first)
        # By the same name, as the same command on the same machine may have; and still another pass.
        second.append(acquire(engine, "host-b, process 2"))

    second: list[db.Lease] = []
    waiting.happenings = {10.0: pass_on, 30.0: lambda: release(engine, second[0])}
    with waiting.lease(LONGER_THAN_A_TERM):
        pass
    assert told()[0] == (
        "waiting for the lease, 65 s at the most: another pass is at work:"
        f" host-b, process 2 holds the lease since {since}, until {until} unless it is renewed"
    )
    assert [line.partition(":")[0] for line in told()] == [
        "waiting for the lease, 65 s at the most",
        "waiting for the lease, 55 s at the most",
    ]


def test_a10_who_waits_goes_on_waiting_when_a_clock_was_set_back(engine: Engine, waiting: Waiting) -> None:
    acquire(engine, "dead, process 2")
    shift(engine, 3600)
    with waiting.lease(LONGER_THAN_A_TERM) as held:
        assert waiting.seconds <= db.TERM.total_seconds() + 1.0
        assert held.took_over


def test_b2_whatever_ends_the_waiting_leaves_the_lease_to_its_holder(engine: Engine, waiting: Waiting) -> None:
    other = acquire(engine, "host-b, process 2")

    def stop() -> None:
        raise InterruptedError

    waiting.happenings[3.0] = stop
    with pytest.raises(InterruptedError), waiting.lease(LONGER_THAN_A_TERM):
        pytest.fail("it entered")
    assert lease_status(engine).nonce == other.nonce


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_b2_who_waits_keeps_no_connection_meanwhile(engine: Engine, waiting: Waiting) -> None:
    other = acquire(engine, "host-b, process 2")
    onlooker = create_engine(engine.url, isolation_level="AUTOCOMMIT")
    ours = "datname = current_database() AND application_name = 'syncctl'"
    question = text(f"SELECT count(*) FROM pg_stat_activity WHERE {ours}")
    seen = []

    def look(_seconds: float) -> None:
        with onlooker.connect() as connection:
            # A server process takes a moment to go.
            seen.append(any(connection.execute(question).scalar_one() == 0 for _ in range(1000)))
        if len(seen) == 3:
            release(engine, other)
            engine.dispose()

    with HeldLease(engine).waiting(LONGER_THAN_A_TERM, look):
        pass
    onlooker.dispose()
    assert seen == [True] * 3
