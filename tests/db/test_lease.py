"""The lease: one pass a fleet, by the database's clock, on both databases and behind a transaction pooler."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, delete, event, update

from syncctl.core.errors import DatabaseError, LeaseHeld, LeaseLost
from syncctl.db import lease as db
from syncctl.db.engine import connect, reading, writing
from syncctl.db.tables import lease
from syncctl.operations.clock import Clock
from syncctl.operations.lease import SAFETY, HeldLease, lease_status, revoke_lease

TERM = db.TERM.total_seconds()
A_MOMENT = timedelta(seconds=20)
"""How far the test's clock and the database's may be apart, and how long a slow machine may take."""


def nothing(_connection: object) -> None:
    """Read nothing with the question."""


def acquire(engine: Engine, holder: str = "host-a, process 1") -> db.Lease:
    with writing(engine) as connection:
        found = db.acquire_lease(connection, holder)
    if not found.taken:
        raise LeaseHeld(found.holder or "", found.acquired_at, found.expires_at)
    return found


def renew(engine: Engine, mine: db.Lease) -> bool:
    with writing(engine) as connection:
        return db.renew_lease(connection, mine)


def release(engine: Engine, mine: db.Lease) -> None:
    with writing(engine) as connection:
        db.release_lease(connection, mine)


def age(engine: Engine, seconds: float) -> None:
    """Let the lease be so much older: the database's own clock is what nobody can drive."""
    found = lease_status(engine)
    assert found.acquired_at
    assert found.expires_at
    by = timedelta(seconds=seconds)
    with writing(engine) as connection:
        connection.execute(update(lease).values(acquired_at=found.acquired_at - by, expires_at=found.expires_at - by))


def fail_over(engine: Engine) -> None:
    """Let a standby take over that has never heard of any lease."""
    with writing(engine) as connection:
        connection.execute(update(lease).values(holder=None, token=0, acquired_at=None, expires_at=None))


class Ticking:
    """A boot-time clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def boottime() -> Ticking:
    return Ticking()


@pytest.fixture
def held(engine: Engine, boottime: Ticking) -> Iterator[HeldLease]:
    with HeldLease(engine, Clock(boottime=boottime)) as held:
        yield held


# The row


def test_nobody_holds_it_at_first(engine: Engine) -> None:
    assert lease_status(engine) == db.Lease(None, 0, None, None, expired=True)


def test_it_is_taken_from_now_for_a_term(engine: Engine) -> None:
    taken = acquire(engine)
    assert (taken.holder, taken.token, taken.expired) == ("host-a, process 1", 1, False)
    assert taken.acquired_at
    assert taken.expires_at == taken.acquired_at + db.TERM
    assert abs(taken.acquired_at - datetime.now(UTC)) < A_MOMENT
    assert lease_status(engine) == taken


def test_the_second_is_told_who_has_it_since_when_and_until_when(engine: Engine) -> None:
    first = acquire(engine)
    with pytest.raises(LeaseHeld) as refused:
        acquire(engine, "host-b, process 2")
    since, until = (f"{time:%Y-%m-%d %H:%M:%S} UTC" for time in (first.acquired_at, first.expires_at) if time)
    assert refused.value.message == (
        f"another pass is at work: host-a, process 1 holds the lease since {since}, until {until} unless it is renewed"
    )
    assert refused.value.hint == (
        "wait for it (`--wait 65s`); if that process is certainly dead, the lease ends by itself,"
        " or `syncctl lease release`"
    )
    assert lease_status(engine) == first


def test_it_is_not_even_the_same_holder_who_may_take_it_twice(engine: Engine) -> None:
    acquire(engine)
    with pytest.raises(LeaseHeld):
        acquire(engine)


@pytest.mark.parametrize(("seconds", "expired"), [(TERM - 20, False), (TERM, True), (TERM + 3600, True)])
def test_it_ends_by_the_databases_clock(engine: Engine, seconds: float, expired: bool) -> None:
    first = acquire(engine)
    age(engine, seconds)
    assert lease_status(engine).expired is expired
    assert renew(engine, first) is not expired
    if expired:
        assert acquire(engine, "host-b").token == 2
    else:
        with pytest.raises(LeaseHeld):
            acquire(engine, "host-b")


def test_renewing_moves_the_end_and_nothing_else(engine: Engine) -> None:
    first = acquire(engine)
    age(engine, 30)
    older = lease_status(engine)
    assert renew(engine, first)
    now = lease_status(engine)
    assert older.expires_at
    assert now.expires_at
    assert timedelta(seconds=30) <= now.expires_at - older.expires_at < timedelta(seconds=30) + A_MOMENT
    assert (now.holder, now.token, now.acquired_at) == (older.holder, older.token, older.acquired_at)


def test_the_token_grows_with_every_holder(engine: Engine) -> None:
    tokens = []
    for _ in range(3):
        tokens.append((taken := acquire(engine)).token)
        release(engine, taken)
    acquire(engine)
    age(engine, TERM)
    tokens.append(acquire(engine, "host-b").token)
    revoke_lease(engine)
    tokens.append(acquire(engine, "host-c").token)
    assert tokens == sorted(set(tokens))


def test_given_back_it_is_free_at_once(engine: Engine) -> None:
    release(engine, acquire(engine))
    assert lease_status(engine).holder is None
    assert acquire(engine, "host-b").holder == "host-b"


def test_an_old_holder_can_neither_renew_nor_give_back_what_is_anothers(engine: Engine) -> None:
    old = acquire(engine)
    age(engine, TERM)
    new = acquire(engine, "host-b")
    assert not renew(engine, old)
    release(engine, old)
    assert lease_status(engine) == new


def test_one_that_was_given_back_cannot_be_renewed(engine: Engine) -> None:
    first = acquire(engine)
    release(engine, first)
    assert not renew(engine, first)


def test_a_person_may_take_it_from_whoever_holds_it(engine: Engine) -> None:
    first = acquire(engine)
    assert revoke_lease(engine) == first
    assert not lease_status(engine).held
    assert not renew(engine, first)
    assert acquire(engine, "host-b").token > first.token + 1


# What it tells of those that went before


def test_after_one_that_was_given_back_there_is_nothing_to_make_up(engine: Engine) -> None:
    first = acquire(engine)
    assert not first.took_over
    release(engine, first)
    assert not acquire(engine, "host-b").took_over


def test_whoever_follows_a_holder_that_was_killed_is_told_so(engine: Engine) -> None:
    acquire(engine)
    age(engine, TERM)
    second = acquire(engine, "host-b")
    assert second.took_over
    # It dies as well, so the third is told; it does its work, and with that it is over.
    age(engine, TERM)
    third = acquire(engine, "host-c")
    assert third.took_over
    release(engine, third)
    assert not acquire(engine, "host-d").took_over


def test_whoever_follows_a_holder_that_failed_is_told_so_at_once(engine: Engine) -> None:
    first = acquire(engine)
    with writing(engine) as connection:
        db.end_lease(connection, first)
    assert not renew(engine, first)
    assert acquire(engine, "host-b").took_over


def test_ending_one_that_is_anothers_by_now_leaves_it_alone(engine: Engine) -> None:
    old = acquire(engine)
    age(engine, TERM)
    new = acquire(engine, "host-b")
    with writing(engine) as connection:
        db.end_lease(connection, old)
    assert lease_status(engine) == new


def test_a_lease_that_was_taken_away_was_not_given_back(engine: Engine) -> None:
    # Its holder may have been dead: that is when a person is told to take it away.
    acquire(engine)
    revoke_lease(engine)
    assert acquire(engine, "host-b").took_over


def test_where_nobody_has_it_nothing_is_taken_away(engine: Engine) -> None:
    release(engine, acquire(engine))
    before = lease_status(engine)
    assert revoke_lease(engine) == before
    assert lease_status(engine) == before
    assert not acquire(engine, "host-b").took_over


def test_of_many_at_once_one_gets_it(engine: Engine) -> None:
    start = threading.Barrier(8)

    def try_it(number: int) -> str:
        start.wait()
        try:
            return acquire(engine, f"host-{number}").holder or ""
        except LeaseHeld:
            return ""

    with ThreadPoolExecutor(8) as pool:
        winners = [holder for holder in pool.map(try_it, range(8)) if holder]
    assert winners == [lease_status(engine).holder]
    assert lease_status(engine).token == 1


def test_a_table_without_its_row_is_an_error_that_says_so(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(delete(lease))
    for ask in (acquire, lease_status, revoke_lease):
        with pytest.raises(DatabaseError, match="the table lease has no row") as refused:
            ask(engine)
        assert refused.value.hint


# The holder


def test_a_pass_holds_it_from_entering_to_leaving(engine: Engine) -> None:
    with HeldLease(engine) as held:
        found = lease_status(engine)
        assert re.fullmatch(r".+, process \d+", found.holder or "")
        held.check()
        held.confirm(nothing)
    assert lease_status(engine).holder is None


def test_it_ends_at_once_when_the_pass_fails(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="the pass's own"), HeldLease(engine):
        raise RuntimeError("the pass's own")
    assert not lease_status(engine).held
    with HeldLease(engine) as next_one:
        assert next_one.took_over
    with HeldLease(engine) as third:
        assert not third.took_over


def test_a_second_pass_does_not_even_enter(engine: Engine) -> None:
    with HeldLease(engine), pytest.raises(LeaseHeld), HeldLease(engine):
        pytest.fail("it entered")


def test_confirming_renews_it(engine: Engine, held: HeldLease) -> None:
    age(engine, TERM - 20)
    held.confirm(nothing)
    until = lease_status(engine).expires_at
    assert until
    assert until - datetime.now(UTC) > db.TERM - A_MOMENT


def test_its_own_clock_ends_it_before_the_databases_does(held: HeldLease, boottime: Ticking) -> None:
    boottime.seconds += TERM - SAFETY - 0.001
    held.check()
    boottime.seconds += 0.001
    with pytest.raises(LeaseLost, match="the lease has expired before it could be renewed") as lost:
        held.check()
    assert lost.value.hint == "`syncctl lease status` tells who has it; the next pass goes on from here"


def test_once_lost_it_stays_lost(engine: Engine, held: HeldLease, boottime: Ticking) -> None:
    boottime.seconds += TERM
    for _ in range(2):
        with pytest.raises(LeaseLost):
            held.confirm(nothing)
        with pytest.raises(LeaseLost):
            held.check()
    # Not even asking again makes it ours: the row was not renewed.
    boottime.seconds -= TERM
    with pytest.raises(LeaseLost):
        held.confirm(nothing)


def test_a_renewal_counts_from_before_it_was_asked_for(engine: Engine, held: HeldLease, boottime: Ticking) -> None:
    # A slow answer must not make this clock believe in more time than the database has given.
    def slow(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        boottime.seconds += 30 if statement.startswith("UPDATE lease") else 0

    event.listen(engine, "after_cursor_execute", slow)
    held.confirm(nothing)
    event.remove(engine, "after_cursor_execute", slow)
    began = 1000.0
    boottime.seconds = began + TERM - SAFETY - 0.001
    held.check()
    boottime.seconds = began + TERM - SAFETY
    with pytest.raises(LeaseLost):
        held.check()


@pytest.mark.parametrize("how", ["released by a person", "expired", "taken by another"])
def test_a_lost_lease_cannot_be_confirmed(engine: Engine, held: HeldLease, how: str) -> None:
    if how == "released by a person":
        revoke_lease(engine)
    else:
        age(engine, TERM)
    if how == "taken by another":
        acquire(engine, "host-b")
    with pytest.raises(LeaseLost, match="the lease was lost: it expired, was released or is another's"):
        held.confirm(nothing)
    with pytest.raises(LeaseLost):
        held.check()


def test_leaving_takes_nothing_from_the_next_holder(engine: Engine) -> None:
    with HeldLease(engine):
        age(engine, TERM)
        taken = acquire(engine, "host-b")
    assert lease_status(engine) == taken


def test_a9_a_token_that_came_again_after_a_failover_is_not_taken_for_ones_own(engine: Engine) -> None:
    with HeldLease(engine) as first:
        fail_over(engine)
        assert acquire(engine, "host-b").token == 1
        with pytest.raises(LeaseLost, match="the lease was lost"):
            first.confirm(nothing)


@pytest.mark.parametrize("error", [None, RuntimeError("the pass's own")], ids=["done", "failed"])
def test_a9_leaving_after_a_failover_frees_nothing_of_the_next_holders(
    engine: Engine, error: RuntimeError | None
) -> None:
    taken = []
    with suppress(RuntimeError), HeldLease(engine):
        fail_over(engine)
        taken.append(acquire(engine, "host-b"))
        if error:
            raise error
    assert [lease_status(engine)] == taken


def test_a9_a_lease_that_was_taken_away_stays_so_when_its_token_comes_again(engine: Engine) -> None:
    first = acquire(engine)
    revoke_lease(engine)
    with writing(engine) as connection:
        values = {"token": first.token, "expires_at": first.expires_at}
        connection.execute(update(lease).values(values))
    assert not renew(engine, first)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_one_connection_that_breaks_does_not_cost_the_lease(engine: Engine, held: HeldLease) -> None:
    broken: list[bool] = []

    def break_once(*_: object) -> None:
        if not broken:
            broken.append(True)
            raise engine.dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    event.listen(engine, "before_cursor_execute", break_once)
    held.confirm(nothing)
    event.remove(engine, "before_cursor_execute", break_once)
    assert broken


def test_a_database_that_is_away_cannot_confirm_it(engine: Engine, held: HeldLease) -> None:
    def away(*_: object) -> None:
        raise engine.dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    event.listen(engine, "before_cursor_execute", away)
    with pytest.raises(LeaseLost, match="the lease cannot be confirmed: "):
        held.confirm(nothing)
    event.remove(engine, "before_cursor_execute", away)
    with pytest.raises(LeaseLost):
        held.check()


def test_the_thread_renews_it_without_being_asked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncctl.operations.lease.RENEW_EVERY", 0.01)
    renewed = threading.Event()

    def seen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if threading.current_thread().name == "lease" and statement.startswith("UPDATE lease"):
            renewed.set()

    event.listen(engine, "after_cursor_execute", seen)
    with HeldLease(engine) as held:
        assert renewed.wait(10)
        held.check()


def test_the_thread_notices_that_it_is_lost(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncctl.operations.lease.RENEW_EVERY", 0.01)
    with HeldLease(engine) as held:
        revoke_lease(engine)
        held._renewing.join(10)
        with pytest.raises(LeaseLost, match="was released"):
            held.check()


# The database's clock steps


def set_clock_back(engine: Engine, seconds: float) -> None:
    """Let the database's clock be set back; a negative number sets it forward."""
    age(engine, -seconds)


def refused(engine: Engine) -> LeaseHeld:
    """Try to hold the lease, in vain."""
    with pytest.raises(LeaseHeld) as refused, HeldLease(engine):
        pytest.fail("it entered")
    return refused.value


def ends_in(engine: Engine) -> timedelta:
    """Return in what time the lease ends."""
    found = lease_status(engine)
    assert found.held
    assert found.expires_at
    return found.expires_at - datetime.now(UTC)


@pytest.mark.parametrize("seconds", [45, 3600, 30 * 86400])
def test_a10_a_clock_that_was_set_back_lets_a_dead_holder_keep_the_next_out_for_a_term(
    engine: Engine, seconds: float
) -> None:
    acquire(engine)
    set_clock_back(engine, seconds)
    assert ends_in(engine) > db.TERM + A_MOMENT
    told = refused(engine)
    until = lease_status(engine).expires_at
    assert until
    assert f"until {until:%Y-%m-%d %H:%M:%S} UTC" in told.message
    assert db.TERM - A_MOMENT < ends_in(engine) <= db.TERM + A_MOMENT
    # Whoever comes next does not put it off.
    refused(engine)
    assert lease_status(engine).expires_at == until
    age(engine, TERM)
    with HeldLease(engine) as held:
        assert held.took_over


def test_a10_a_live_holder_loses_nothing_when_the_clock_is_set_back(engine: Engine) -> None:
    with HeldLease(engine) as held:
        before = lease_status(engine)
        for _ in range(2):
            set_clock_back(engine, 3600)
            refused(engine)
            held.confirm(nothing)
            assert ends_in(engine) <= db.TERM
        assert (lease_status(engine).nonce, lease_status(engine).token) == (before.nonce, before.token)
    assert lease_status(engine).holder is None


def test_a10_who_took_the_lease_while_the_clock_was_ahead_and_died_keeps_nobody_out_for_longer(engine: Engine) -> None:
    with HeldLease(engine) as first:
        set_clock_back(engine, -3600)
        acquire(engine, "host-b")
        with pytest.raises(LeaseLost):
            first.confirm(nothing)
    set_clock_back(engine, 3600)
    refused(engine)
    age(engine, TERM)
    assert acquire(engine, "host-c").took_over


# PgBouncer's transaction pooling: each transaction may be on another server connection.


@pytest.fixture
def changing(engine: Engine) -> Iterator[Engine]:
    """The same database through a pool that opens another connection for every transaction."""
    other = connect(engine.url.render_as_string(hide_password=False))
    event.listen(other, "checkin", lambda _connection, record: record.invalidate())
    yield other
    other.dispose()


# SQLite has no pooler, and its engine opens a connection for every transaction anyway.
@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_it_works_when_every_transaction_has_another_connection(changing: Engine) -> None:
    connections = []
    event.listen(changing, "connect", lambda *_: connections.append(True))
    with HeldLease(changing) as held:
        held.confirm(nothing)
        held.confirm(nothing)
        with pytest.raises(LeaseHeld):
            acquire(changing)
    assert lease_status(changing).holder is None
    # Taken, confirmed twice, refused, given back, looked at: a connection each.
    assert len(connections) == 6


def test_reading_who_has_it_writes_nothing(engine: Engine) -> None:
    first = acquire(engine)
    with reading(engine) as connection:
        assert db.read_lease(connection) == first
