"""The fleets that are harmed. One is made a session and copied, on each database."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from conftest import PostgresServer
from sqlalchemy import Engine

from syncctl.db.engine import connect

from .world import GOING, Objects, World, prepare


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> Iterator[World]:
    """A fleet without clients, on either database."""
    with World(engine, tmp_path) as world:
        yield world


def _prepare(url: str, folder: Path) -> Objects:
    engine = connect(url)
    with World(engine, folder) as world:
        prepare(world)
        assert not world.violations
        objects = world.objects()
    engine.dispose()
    return objects


@pytest.fixture(scope="session")
def _prepared_sqlite(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Objects]:
    folder = tmp_path_factory.mktemp("prepared")
    path = folder / "syncctl.db"
    shutil.copy(_sqlite_template, path)
    return path, _prepare(f"sqlite:///{path}", folder)


@pytest.fixture(scope="session")
def _graveyard() -> Iterator[ThreadPoolExecutor]:
    # A server takes a moment to stop; hundreds of them need not be waited for one by one.
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture(scope="session")
def _memory_folder() -> Iterator[Path]:
    # Every transaction waits for the disk, where there is one.
    shared = Path("/dev/shm")
    place = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="syncctl-faults-", dir=place) as folder:
        yield Path(folder)


@pytest.fixture
def harmed(
    _prepared_sqlite: tuple[Path, Objects], _graveyard: ThreadPoolExecutor, _memory_folder: Path, tmp_path: Path
) -> Iterator[World]:
    """A fleet in which a pass has a step of each kind to do, on SQLite."""
    path, objects = _prepared_sqlite
    copied = _memory_folder / f"{tmp_path.name}.db"
    shutil.copy(path, copied)
    engine = connect(f"sqlite:///{copied}")
    world = World(engine, tmp_path, saved=objects).__enter__()
    world.may_go.update(map(world.uid, GOING))
    yield world
    _graveyard.submit(world.__exit__)
    engine.dispose()


@pytest.fixture(scope="session")
def _prepared_postgres(
    postgres: PostgresServer, _postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Objects]:
    name = postgres.create(_postgres_template)
    return name, _prepare(postgres.url(name), tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def harm_postgres(
    postgres: PostgresServer,
    _prepared_postgres: tuple[str, Objects],
    _graveyard: ThreadPoolExecutor,
    tmp_path: Path,
) -> Callable[[], AbstractContextManager[World]]:
    """Opens fleets as `harmed`, on Postgres, one after the other."""
    template, objects = _prepared_postgres

    @contextmanager
    def opened() -> Iterator[World]:
        database = postgres.create(template)
        engine = connect(postgres.url(database))
        world = World(engine, tmp_path, saved=objects).__enter__()
        world.may_go.update(map(world.uid, GOING))
        yield world
        _graveyard.submit(world.__exit__)
        engine.dispose()
        postgres.drop(database)

    return opened
