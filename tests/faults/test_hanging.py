"""B3: a database that hangs at some moment of a pass. It ends in its time, by itself or by a signal."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import PostgresServer
from kit.hanging import Way, silent_port
from sqlalchemy import text

from syncctl.db.engine import connect, writing
from syncctl.db.history import list_passes
from syncctl.operations.lease import lease_status

from .processes import Child, poll, run
from .test_postgres import OwnServer, own_server  # noqa: F401 - a fixture
from .world import World, add_rows, outlive_lease

NUMBER = 4
LAUNCHER = """
import syncctl.operations.brake
syncctl.operations.brake.DATABASE_PATIENCE = 1.0
from syncctl.cli.app import main
main()
"""
ONCE = ("sync", "once", "-o", "json", "--concurrency", "1")


@dataclass
class Live:
    """A fleet of clients that have no pod yet, and a way to its database that can be cut."""

    world: World
    way: Way

    def child(self, *arguments: str) -> Child:
        """Start a command that goes this way."""
        child = Child.__new__(Child)
        engine, self.world.engine = self.world.engine, connect(self.way.url)
        child.__init__(self.world, *arguments, launcher=LAUNCHER)  # type: ignore[misc]
        self.world.engine = engine
        return child


@pytest.fixture
def live(
    postgres: PostgresServer, _postgres_template: str, _graveyard: ThreadPoolExecutor, tmp_path: Path
) -> Iterator[Live]:
    database = postgres.create(_postgres_template)
    engine = connect(postgres.url(database))
    world = World(engine, tmp_path, live=True).__enter__()
    add_rows(engine, dict.fromkeys(range(1, NUMBER + 1), "vwap"))
    with Way(postgres.url(database)) as way:
        yield Live(world, way)
    assert world.violations == []
    _graveyard.submit(world.__exit__)
    engine.dispose()
    postgres.drop(database)


MOMENTS = {
    "the lease": b"FOR UPDATE",
    "the rows": b"clients.client_name",
    "what is begun": b"UPDATE fleet",
    "a confirmation": b"UPDATE lease SET expires_at",
    "the record": b"INSERT INTO passes",
    "the lease's end": b"UPDATE lease SET holder=NULL",
}
"""What has the words in it is the first that the database does not get."""
MADE = {"the record": NUMBER, "the lease's end": NUMBER}


@pytest.mark.parametrize("moment", MOMENTS)
def test_b3_a_pass_whose_database_hangs_ends_by_itself(live: Live, moment: str) -> None:
    live.way.cut_before(MOMENTS[moment])
    with live.child(*ONCE, "--database-timeout", "1") as child:
        end = child.ended()
    assert live.way.is_cut.is_set()
    assert "Traceback" not in end.err
    # When all is recorded, a lease that cannot be given back is a remark: it ends by itself.
    assert end.code == (0 if moment == "the lease's end" else 1), end
    assert "no answer within 1 s" in end.err
    assert len(live.world.pods()) == MADE.get(moment, 0)


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [
        ("the lease", signal.SIGTERM, 143),
        ("the rows", signal.SIGINT, 130),
        ("a confirmation", signal.SIGTERM, 1),
        ("the record", signal.SIGINT, 1),
        ("the lease's end", signal.SIGTERM, 0),
    ],
)
def test_b3_a_pass_whose_database_hangs_hears_signals(
    live: Live, moment: str, number: signal.Signals, code: int
) -> None:
    live.way.cut_before(MOMENTS[moment])
    with live.child(*ONCE, "--database-timeout", "600") as child:
        poll(live.way.is_cut.is_set)
        time.sleep(0.3)
        assert child.process.poll() is None
        told_at = time.monotonic()
        child.signal(number)
        end = child.ended()
    # A second for the waits, as the launcher says, and connections of their own for record and lease.
    assert time.monotonic() - told_at < 20
    assert "Traceback" not in end.err
    assert end.code == code, end
    assert len(live.world.pods()) == MADE.get(moment, 0)
    if moment == "the record":
        assert "hint: what was done in the cluster is done; the next pass goes on from there" in end.err


def test_b3_a_pass_goes_on_from_where_a_hanging_database_left_the_last(live: Live) -> None:
    live.way.cut_before(MOMENTS["the record"])
    with live.child(*ONCE, "--database-timeout", "1") as child:
        assert child.ended().code == 1
    outlive_lease(live.world.engine)
    live.way.mend()
    with live.child(*ONCE) as child:
        end = child.ended()
    assert (end.code, end.counts) == (0, {"unchanged": NUMBER})
    assert live.world.unrecorded() == set()


def test_b3_a_healthy_record_is_written_after_a_signal(live: Live) -> None:
    live.way.cut_before(MOMENTS["the record"])
    with live.child(*ONCE) as child:
        poll(live.way.is_cut.is_set)
        child.signal(signal.SIGTERM)
        time.sleep(0.4)
        # It was slow and not dead.
        live.way.go_on()
        end = child.ended()
    # The report was made before it was told.
    assert end.code == 0, end
    assert [each.exit_code for each in list_passes(live.world.engine, 9)] == [0]
    assert lease_status(live.world.engine).holder is None


def test_b3_the_thread_that_renews_ends_with_its_pass(live: Live) -> None:
    # It waits for the database while the pass waits for the cluster, and is joined at the end.
    let_go = threading.Event()
    live.world.sandbox.server.on_request = lambda _request, asked: let_go.wait(20) if asked == "list" else None
    launcher = "import syncctl.operations.lease; syncctl.operations.lease.RENEW_EVERY = 0.3\n" + LAUNCHER
    live.way.cut_before(b"UPDATE lease SET expires_at")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.faults.test_hanging.LAUNCHER", launcher)
        child = live.child(*ONCE, "--database-timeout", "600")
    with child:
        poll(live.way.is_cut.is_set)
        child.signal(signal.SIGTERM)
        let_go.set()
        told_at = time.monotonic()
        end = child.ended()
    assert time.monotonic() - told_at < 20
    assert end.code == 1, end
    assert "Traceback" not in end.err
    assert live.world.writes() == 0


# Ordinary commands


@pytest.mark.parametrize("command", ["client list", "status", "sync plan"])
def test_b3_a_command_behind_an_open_alter_table_ends_and_says_why(live: Live, command: str) -> None:
    with writing(live.world.engine) as connection:
        connection.execute(text("ALTER TABLE clients ADD COLUMN another text"))
        end = run(live.world, *command.split(), "--database-timeout", "0.5")
    assert end.code == 1
    assert "was in the way: canceling statement due to lock timeout\nhint: nothing was changed; pg_stat_act" in end.err


@pytest.mark.parametrize("command", ["client list", "sync plan", "client add acme"])
def test_b3_a_command_behind_an_open_alter_table_can_be_interrupted(live: Live, command: str) -> None:
    with writing(live.world.engine) as connection:
        connection.execute(text("ALTER TABLE clients ADD COLUMN another text"))
        with Child(live.world, *command.split(), "--database-timeout", "600") as child:
            poll(lambda: waiting_for_a_lock(live.world))
            child.signal(signal.SIGINT)
            told_at = time.monotonic()
            end = child.ended()
            assert time.monotonic() - told_at < 20
    assert (end.code, end.out, end.err) == (130, "", "\nstopped: nothing was changed\n")


@pytest.mark.parametrize("backend", ["sqlite"])
def test_b3_a_command_that_waits_for_a_connection_hears_signals(world: World) -> None:
    with silent_port() as port:
        url = f"postgresql://alice@127.0.0.1:{port}/desk?connect_timeout=600"
        for number, code, err in ((signal.SIGINT, 130, "\nstopped: nothing was changed\n"), (signal.SIGTERM, 143, "")):
            options = ("--database-url", url, "--database-timeout", "600")
            with Child(world, "client", "list", *options) as child:
                poll(lambda child=child: holds(child.pid, "socket:"))
                time.sleep(0.5)
                child.signal(number)
                end = child.ended()
            assert (end.code, end.out, end.err) == (code, "", err)


def holds(pid: int, what: str) -> bool:
    """Whether a process has something open in whose name this is."""
    with contextlib.suppress(OSError):
        return any(what in str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir())
    return False


def waiting_for_a_lock(world: World) -> bool:
    """Whether somebody else waits for a lock of this database."""
    engine = connect(world.engine.url.render_as_string(hide_password=False))
    with engine.connect() as connection:
        found = connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one()
    engine.dispose()
    return bool(found)


def test_b3_a_command_that_is_interrupted_in_its_commit_says_that_nobody_knows(live: Live) -> None:
    committing = threading.Event()

    def go_on() -> None:
        live.way.go_on()
        live.way.cut_before(b"COMMIT", committing.set)

    live.way.cut_before(b"INSERT INTO clients", go_on)
    with live.child("client", "add", "acme", "--database-timeout", "600") as child:
        poll(committing.is_set)
        child.signal(signal.SIGINT)
        end = child.ended()
    assert end.code == 130
    assert end.err == "\nstopped: whether the change was made, nobody knows: look before you repeat it\n"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_b3_a_command_on_sqlite_can_be_interrupted(world: World) -> None:
    with writing(world.engine):
        with Child(world, "client", "add", "acme", "--database-timeout", "600") as child:
            # Reads do not wait, and the last file that it opens is that of a transaction that cannot begin.
            poll(lambda: holds(child.pid, "-wal"))
            time.sleep(0.5)
            assert child.process.poll() is None
            child.signal(signal.SIGINT)
            told_at = time.monotonic()
            end = child.ended()
        assert time.monotonic() - told_at < 20
        assert (end.code, end.err) == (130, "\nstopped: nothing was changed\n")


# A whole server


def test_b3_a_server_that_is_stopped_in_mid_pass_is_left_in_time(
    own_server: OwnServer,  # noqa: F811
    tmp_path: Path,
) -> None:
    engine = connect(own_server.url)
    add_rows(engine, dict.fromkeys(range(101, 101 + NUMBER), "twap"))
    with World(engine, tmp_path, live=True) as world:
        engine.dispose()
        world.sandbox.server.on_request = lambda _request, asked: own_server.freeze() if asked == "create" else None
        try:
            for command in (ONCE, ("client", "list")):
                end = run(world, *command, "--database-timeout", "1")
                assert end.code == 1
                assert "no answer within 1 s" in end.err
                assert "Traceback" not in end.err
        finally:
            own_server.thaw()
        assert len(world.pods()) == NUMBER
