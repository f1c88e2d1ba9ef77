"""What is warmed once: a process to fork passes from, a server, and the state before the pass."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncctl.db.engine import connect
from syncctl.db.migrations import upgrade
from syncctl.sandbox import Sandbox

from .scenario import Passes, Scenario, copied_file


@pytest.fixture(scope="session")
def passes() -> Iterator[Passes]:
    """Forked off a warmed process."""
    passes = Passes()
    yield passes
    passes.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Sandbox]:
    """One server, over HTTP, on whose stage each test puts a store of its own."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def scenario(server: Sandbox, tmp_path_factory: pytest.TempPathFactory, _memory_folder: Path) -> Scenario:
    """On SQLite."""
    folder = _memory_folder
    url = f"sqlite:///{folder / 'base.db'}"
    engine = connect(url)
    upgrade(engine)
    engine.dispose()
    kubeconfig = server.kubeconfig(tmp_path_factory.mktemp("kubeconfig") / "config")
    return Scenario(server, url, copied_file(folder), kubeconfig)


@pytest.fixture(scope="session")
def _memory_folder() -> Iterator[Path]:
    # In memory, where the machine has some: a commit on a disk takes as long as all else that a request does.
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="syncctl-crashes-", dir=shared if os.access(shared, os.W_OK) else None
    ) as folder:
        yield Path(folder)


@pytest.fixture
def postgres_scenario(server: Sandbox, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scenario]:
    """On Postgres."""
    postgres = request.getfixturevalue("postgres")
    base = postgres.create(request.getfixturevalue("_postgres_template"))
    copies: list[str] = []

    def copy() -> str:
        copies.append(postgres.create(base))
        return str(postgres.url(copies[-1]))

    yield Scenario(server, postgres.url(base), copy, server.kubeconfig(tmp_path / "config"))
    for name in [*copies, base]:
        postgres.drop(name)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    # Hundreds of passes report the same conflict, which is part of the scenario.
    caplog.set_level("CRITICAL", "syncctl")
