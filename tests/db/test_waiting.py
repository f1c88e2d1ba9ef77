"""B3: every wait for the database has an end on this side, and somebody who can end it before."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kit.hanging import Way, silent_port
from sqlalchemy import Engine, event, insert, make_url, select, text

from syncctl.core.errors import DatabaseBusy, DatabaseError, DatabaseUnavailable, SettingsError
from syncctl.db import clients as db
from syncctl.db import postgres
from syncctl.db.engine import connect, reading, set_locally, waits_of, writing
from syncctl.db.migrations import locked, upgrade
from syncctl.db.snapshot import read_snapshot
from syncctl.db.tables import clients
from syncctl.db.waiting import USUAL
from syncctl.settings import SETTINGS

SHORT = 0.5
LATE = 9.0
"""Seconds: below the usual limit, and roomy for a machine that has much else to do."""
NEVER = 3600.0


@pytest.fixture
def backend() -> str:
    """Postgres, but for the tests of SQLite."""
    return "postgres"


@pytest.fixture
def way(migrated_url: str) -> Iterator[Way]:
    with Way(migrated_url) as way:
        yield way


@pytest.fixture
def cut(way: Way) -> Iterator[Engine]:
    """An engine with a connection in its pool, to a server that hangs since."""
    engine = connect(way.url, SHORT)
    with reading(engine):
        pass
    way.cut()
    yield engine
    engine.dispose()


@contextmanager
def taking(least: float, most: float) -> Iterator[None]:
    """See to it that the block takes so many seconds."""
    began = time.monotonic()
    yield
    assert least <= time.monotonic() - began < most


def read(engine: Engine) -> None:
    with reading(engine) as connection:
        connection.execute(select(clients.c.id)).all()


# Connections ----------------------------------------------------------------------------------------------------------


def test_b3_a_server_that_takes_a_connection_and_says_nothing_is_given_up() -> None:
    with (
        silent_port() as port,
        taking(SHORT, LATE),
        pytest.raises(DatabaseUnavailable, match=rf"^cannot reach the database at 127.0.0.1:{port}/desk: ") as caught,
    ):
        read(connect(f"postgresql://alice@127.0.0.1:{port}/desk", SHORT))
    assert caught.value.message.endswith("/desk: no answer within 0.5 s")
    assert "database_timeout (SYNCCTL_DATABASE_TIMEOUT)" in str(caught.value.hint)


def test_b3_a_server_whose_packets_are_dropped_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        # Linux drops the first packet of whoever comes when the queue is full.
        queued = [socket.socket() for _ in range(4)]
        for each in queued:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        with taking(SHORT, LATE), pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.5 s"):
            read(connect(f"postgresql://alice@127.0.0.1:{port}/desk", SHORT))
        for each in queued:
            each.close()


def test_b3_the_limit_of_a_connection_is_5_s_that_of_the_url_or_database_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[float] = []

    def note(_parameters: object, _waits: object, seconds: float) -> None:
        given.append(seconds)
        raise postgres.NoAnswer("no answer")

    monkeypatch.setattr(postgres, "open_connection", note)
    for query, timeout in (("", 10.0), ("?connect_timeout=3", 10.0), ("?connect_timeout=0", 10.0), ("", 2.0)):
        with pytest.raises(DatabaseUnavailable):
            read(connect(f"postgresql://alice@127.0.0.1/desk{query}", timeout))
    assert given == [5.0, 3.0, 5.0, 2.0]
    with pytest.raises(SettingsError, match="connect_timeout"):
        connect("postgresql://alice@127.0.0.1/desk?connect_timeout=soon")


@pytest.mark.parametrize(
    "hosts", ["host=127.0.0.1:{}&host=127.0.0.1:{}", "host=127.0.0.1,127.0.0.1&port={},{}"], ids=["each", "lists"]
)
def test_b3_a_silent_first_host_is_followed_by_the_second(way: Way, hosts: str) -> None:
    with silent_port() as port, taking(SHORT, LATE):
        read(connect(f"postgresql://postgres@/{way.database}?{hosts.format(port, way.port)}", SHORT))


def test_b3_a_silent_first_address_of_a_name_is_followed_by_the_second(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with silent_port("127.0.0.2", way.port), taking(SHORT, LATE):
        read(connect(way.url.replace("127.0.0.1", "db.example"), SHORT))
    assert asked == ["db.example"]


def test_b3_hosts_of_the_environment_count_too(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    with silent_port() as port:
        monkeypatch.setenv("PGHOST", "127.0.0.1,127.0.0.1")
        monkeypatch.setenv("PGPORT", f"{port},{way.port}")
        read(connect(f"postgresql://postgres@/{way.database}", SHORT))
        assert way.opened == 1


def test_b3_all_that_was_tried_is_named() -> None:
    with silent_port() as port, pytest.raises(DatabaseUnavailable) as caught:
        read(connect(f"postgresql://alice@/desk?host=127.0.0.1:{port}&host=127.0.0.1:1", SHORT))
    assert caught.value.message == (
        f"cannot reach the database at 127.0.0.1:{port},127.0.0.1:1/desk:"
        " 127.0.0.1: no answer within 0.5 s; 127.0.0.1: Connection refused"
    )


def test_b3_a_server_that_refuses_is_not_asked_at_another_address(way: Way) -> None:
    with pytest.raises(DatabaseUnavailable, match='database "nothing" does not exist') as caught:
        read(connect(f"postgresql://postgres@/nothing?host=127.0.0.1:{way.port}&host=127.0.0.1:{way.port}", SHORT))
    assert way.opened == 1
    assert str(caught.value.hint).startswith("the server answers")


def test_b3_a_session_that_is_not_what_was_wished_for_is_looked_for_at_the_next(way: Way) -> None:
    both = f"postgresql://postgres@/{way.database}?host=127.0.0.1:{way.port}&host=127.0.0.1:{way.port}"
    with pytest.raises(DatabaseUnavailable, match=r"not in hot standby mode; .*not in hot standby mode"):
        read(connect(f"{both}&target_session_attrs=standby"))
    assert way.opened == 2
    # Nowhere is a standby, so any will do.
    read(connect(f"{both}&target_session_attrs=prefer-standby"))
    assert way.opened == 5


def test_b3_lists_that_do_not_fit_together_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="number of hosts and ports don't match"):
        connect("postgresql://alice@/desk?host=a,b&port=1,2,3")
    monkeypatch.setenv("PGHOST", "a,b")
    monkeypatch.setenv("PGPORT", "1,2,3")
    with pytest.raises(DatabaseUnavailable, match="could not match 3 port numbers to 2 hosts"):
        read(connect("postgresql://alice@/desk"))


def test_b3_a_service_is_libpqs_to_read(way: Way, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "services").write_text(
        f"[desk]\nhost=127.0.0.1\nport={way.port}\nuser=postgres\ndbname={way.database}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    read(connect("postgresql://?service=desk"))
    assert way.opened == 1


def test_b3_a_name_server_that_says_nothing_is_given_up_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = [], threading.Event()

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        answered.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        for _ in range(2):
            with (
                taking(SHORT, LATE),
                pytest.raises(DatabaseUnavailable, match=r"no answer about the name .silent\.example. within"),
            ):
                read(connect("postgresql://alice@silent.example/desk", SHORT))
        assert asked == ["silent.example"]
    finally:
        answered.set()


def test_b3_a_name_that_is_none_is_told_as_libpq_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    told = 'could not translate host name "none.example" to address: Name or service not known'
    with pytest.raises(DatabaseUnavailable, match=told):
        read(connect("postgresql://alice@none.example/desk"))


# Statements -----------------------------------------------------------------------------------------------------------


def test_b3_a_statement_that_is_not_answered_ends_and_nothing_is_cancelled(way: Way) -> None:
    engine = connect(way.url, SHORT)

    def hang() -> None:
        with reading(engine) as connection:
            way.cut()
            connection.execute(text("SELECT 1"))

    with taking(SHORT, LATE), pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.5 s$") as caught:
        hang()
    assert str(caught.value.hint).startswith("is the server stopped, its disk full, or does a firewall drop")
    # A cancel would have been a second connection.
    assert way.opened == 1
    way.mend()
    read(engine)


def test_b3_a_connection_of_the_pool_that_hangs_is_left_for_a_new_one(cut: Engine, way: Way) -> None:
    # As when a firewall has forgotten a connection that was idle: the server is well.
    way.mend()
    with taking(SHORT, LATE):
        read(cut)
    assert way.opened == 2


def test_b3_a_list_that_stops_in_the_middle_is_an_error_and_no_short_list(way: Way) -> None:
    engine, seen = connect(way.url, SHORT), []
    with writing(engine) as connection:
        connection.execute(insert(clients), [{"client_name": f"client {number}"} for number in range(1201)])

    def read_all() -> None:
        with reading(engine) as connection:
            for client in db.list_clients(connection):
                seen.append(client)
                way.cut()

    with pytest.raises(DatabaseUnavailable, match="no answer within"):
        read_all()
    assert 0 < len(seen) < 1201


@pytest.fixture
def slow_standby(postgres: Any, migrated_url: str) -> Iterator[str]:
    """A database whose commits wait for a standby that never comes."""
    postgres._run(f"ALTER DATABASE {make_url(migrated_url).database} SET synchronous_commit = on")
    postgres._run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    postgres._run("SELECT pg_reload_conf()")
    yield migrated_url
    postgres._run("ALTER SYSTEM RESET synchronous_standby_names")
    postgres._run("SELECT pg_reload_conf()")


def test_b3_a_commit_that_waits_for_a_standby_ends_and_nobody_knows(slow_standby: str) -> None:
    engine = connect(slow_standby, SHORT)

    def add() -> None:
        with writing(engine) as connection:
            connection.execute(insert(clients).values(client_name="acme"))

    told = "no answer within 0.5 s; whether the change was made, nobody knows"
    with taking(SHORT, LATE), pytest.raises(DatabaseUnavailable, match=told) as caught:
        add()
    assert caught.value.hint == "look before you repeat it"
    engine.dispose()


def test_b3_each_transaction_has_its_limits_by_one_statement(engine: Engine, migrated_url: str) -> None:
    engine = connect(migrated_url, 4.0)
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    for opened in (reading(engine), writing(engine), writing(engine, at_one_moment=True)):
        with opened as connection:
            assert len(sent) == 1
            assert sent.pop().count("set_config(") == 2
            limits = connection.execute(
                text("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
            )
            assert limits.one() == ("3200ms", "3600ms")
        sent.clear()
    # Gone with the transaction: behind a pooler, the connection is somebody else's by now.
    with engine.connect() as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "0"
    sent.clear()
    for consume in (True, False):
        read_snapshot(engine, consume_restarts=consume)
        assert [statement.count("set_config(") for statement in sent if "set_config(" in statement] == [3]
        assert not [statement for statement in sent if statement.startswith("SET")]
        sent.clear()
    engine.dispose()


def test_b3_settings_are_the_transactions_own(engine: Engine) -> None:
    with writing(engine, {"syncctl.actor": "alice"}) as connection:
        assert connection.execute(text("SELECT current_setting('syncctl.actor')")).scalar() == "alice"
        set_locally(connection, {"syncctl.actor": "bob; SELECT 1 --'"})
        assert connection.execute(text("SELECT current_setting('syncctl.actor')")).scalar() == "bob; SELECT 1 --'"
    with reading(engine) as connection:
        assert connection.execute(text("SELECT current_setting('syncctl.actor', true)")).scalar() == ""


def test_b3_a_lock_that_is_not_to_be_had_names_the_way_out(engine: Engine, migrated_url: str) -> None:
    other = connect(migrated_url, SHORT)
    with writing(engine) as connection:
        connection.execute(text("ALTER TABLE clients ADD COLUMN another text"))
        with taking(0, LATE), pytest.raises(DatabaseBusy, match="was in the way") as caught:
            read(other)
    assert str(caught.value.hint).startswith("nothing was changed; pg_stat_activity shows whose transaction is open")
    read(other)
    other.dispose()


def test_b3_a_statement_that_takes_too_long_is_ended_by_the_server(migrated_url: str) -> None:
    engine = connect(migrated_url, SHORT)

    def sleep() -> None:
        with reading(engine) as connection:
            connection.execute(text("SELECT pg_sleep(30)"))

    with taking(0, LATE), pytest.raises(DatabaseBusy, match="took too long: canceling statement") as caught:
        sleep()
    assert "database_timeout (SYNCCTL_DATABASE_TIMEOUT)" in str(caught.value.hint)
    engine.dispose()


def test_b3_the_usual_limit_is_that_of_the_setting() -> None:
    assert SETTINGS["database_timeout"].default == USUAL


# Told to stop ---------------------------------------------------------------------------------------------------------


def locked_out(engine: Engine, migrated_url: str) -> None:
    other = connect(migrated_url)
    with writing(other) as holder:
        holder.execute(text("LOCK TABLE clients"))
        read(engine)


def silent_server(_engine: Engine, _url: str) -> None:
    with silent_port() as port:
        engine = connect(f"postgresql://alice@127.0.0.1:{port}/desk", NEVER)
        waits_of(engine).may_go_on = waits_of(_engine).may_go_on
        read(engine)


def silent_name(_engine: Engine, _url: str) -> None:
    answered = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(20) and [])
        engine = connect(f"postgresql://alice@{threading.get_native_id()}.example/desk", NEVER)
        waits_of(engine).may_go_on = waits_of(_engine).may_go_on
        try:
            read(engine)
        finally:
            answered.set()


def long_migration(engine: Engine, _url: str) -> None:
    with locked(engine) as connection:
        connection.execute(text("SELECT pg_sleep(30)"))


@pytest.mark.parametrize("wait", [locked_out, silent_server, silent_name, long_migration])
@pytest.mark.parametrize("in_a_thread", [False, True])
def test_b3_whoever_is_asked_ends_a_wait_in_any_thread(
    migrated_url: str, wait: Callable[[Engine, str], None], in_a_thread: bool
) -> None:
    engine, told, errors = connect(migrated_url, NEVER), [], []

    def may_go_on(waited: float) -> bool:
        told.append(waited)
        return sum(told) < 0.3

    def go() -> None:
        with waits_of(engine).asking(may_go_on):
            try:
                wait(engine, migrated_url)
            except DatabaseError as error:
                errors.append(error)

    with taking(0.3, LATE):
        thread = threading.Thread(target=go)
        if in_a_thread:
            thread.start()
            thread.join()
        else:
            go()
    assert "told to stop before there was an answer" in errors[0].message
    read(engine)
    engine.dispose()


def test_b3_whoever_may_wait_no_longer_is_not_let_begin(cut: Engine, way: Way) -> None:
    with waits_of(cut).asking(lambda _waited: False), taking(0, 0.2), pytest.raises(DatabaseUnavailable):
        read(cut)


def test_b3_all_of_a_wait_is_counted(engine: Engine) -> None:
    told: list[float] = []
    with waits_of(engine).asking(lambda waited: not told.append(waited)), reading(engine) as connection:
        for _ in range(10):
            connection.execute(text("SELECT pg_sleep(0.03)"))
    assert 0.3 <= sum(told) < 3


# Migrations -----------------------------------------------------------------------------------------------------------


def test_b3_a_migration_may_take_its_time_but_not_for_a_lock(engine: Engine, migrated_url: str) -> None:
    hurried = connect(migrated_url, SHORT)
    with locked(hurried) as connection:
        connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": SHORT + 0.3})

    def alter() -> None:
        with locked(hurried) as connection:
            connection.execute(text("ALTER TABLE clients ADD COLUMN another text"))

    with writing(engine) as holder:
        holder.execute(select(clients.c.id))
        with taking(0, LATE), pytest.raises(DatabaseBusy):
            alter()
    # And whoever comes after it is held to the limits again.
    with taking(0, LATE), pytest.raises(DatabaseBusy), reading(hurried) as connection:
        connection.execute(text("SELECT pg_sleep(30)"))
    hurried.dispose()


def test_b3_an_upgrade_with_nothing_to_do_waits_for_nobody(engine: Engine, migrated_url: str) -> None:
    with locked(engine) as holder:
        holder.execute(text("LOCK TABLE clients, algorithm_status, passes, lease"))
        other = connect(migrated_url, SHORT)
        assert not upgrade(other).changed
        other.dispose()


# SQLite ---------------------------------------------------------------------------------------------------------------


class TestSqlite:
    """The same of SQLite, whose locks are waited for on this side."""

    @pytest.fixture
    def backend(self) -> str:
        return "sqlite"

    def test_b3_a_lock_that_is_not_to_be_had_ends_in_time(self, engine: Engine, migrated_url: str) -> None:
        other = connect(migrated_url, SHORT)
        with writing(engine), taking(SHORT, LATE), pytest.raises(DatabaseBusy), writing(other):
            pass

    def test_b3_whoever_is_asked_ends_the_wait(self, engine: Engine, migrated_url: str) -> None:
        other, told = connect(migrated_url, NEVER), []

        def may_go_on(waited: float) -> bool:
            told.append(waited)
            return sum(told) < 0.3

        with (
            writing(engine),
            waits_of(other).asking(may_go_on),
            taking(0.3, LATE),
            pytest.raises(DatabaseBusy, match="another process is writing"),
            writing(other),
        ):
            pass

    def test_b3_who_waits_gets_the_lock_when_it_is_free(self, engine: Engine, migrated_url: str) -> None:
        with writing(engine) as connection:
            connection.execute(select(clients.c.id))
            freed = threading.Event()

            def add() -> None:
                with writing(connect(migrated_url)) as other:
                    other.execute(insert(clients).values(client_name="acme"))
                freed.set()

            thread = threading.Thread(target=add)
            thread.start()
            assert not freed.wait(0.4)
        assert freed.wait(5)
        thread.join()
        with reading(engine) as connection:
            assert connection.execute(select(clients.c.client_name)).scalars().all() == ["acme"]

    def test_b3_a_commit_waits_for_who_still_reads(self, engine: Engine, migrated_url: str) -> None:
        # Not in WAL: there, a commit needs everybody else to be away.
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA journal_mode = DELETE")
        patient, hurried = (connect(migrated_url, seconds) for seconds in (20.0, SHORT))
        for each in (patient, hurried):
            event.listen(each, "connect", lambda driver, _record: driver.execute("PRAGMA journal_mode = DELETE"))

        def add(other: Engine, name: str) -> None:
            with writing(other) as connection:
                connection.execute(insert(clients).values(client_name=name))

        reader = connect(migrated_url)
        event.listen(reader, "connect", lambda driver, _record: driver.execute("PRAGMA journal_mode = DELETE"))
        with reading(reader) as connection:
            connection.execute(select(clients.c.id)).all()
            with taking(SHORT, LATE), pytest.raises(DatabaseBusy):
                add(hurried, "acme")
            thread = threading.Thread(target=add, args=(patient, "globex"))
            thread.start()
            thread.join(0.4)
            assert thread.is_alive()
        thread.join()
        with reading(reader) as connection:
            assert connection.execute(select(clients.c.client_name)).scalars().all() == ["globex"]
