"""Bring the tables to the newest revision, with Alembic and without a checkout: the scripts travel in the wheel."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, delete, func, inspect, select, text

import syncctl
from syncctl.core.errors import DatabaseError
from syncctl.db import triggers
from syncctl.db.address import describe
from syncctl.db.engine import lock_timeout, reading, set_locally, waits_of
from syncctl.db.faults import commit, translated
from syncctl.db.schema import HEAD, OWN_VERSION, REVISIONS, SHARED_VERSION, newer_than_this, read_revision

# Any number will do that no other program locks in this database; this one is "syncctl" read as a number.
_ADVISORY_LOCK = int.from_bytes(b"syncctl", "big")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did, a line each in `steps`. `before` is None for a database without our tables."""

    before: str | None
    after: str
    steps: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was done at all."""
        return bool(self.steps)


def head() -> str:
    """Return the revision that this syncctl works with."""
    return HEAD


def current(engine: Engine) -> str | None:
    """Return the revision that the database has; None for an empty one and for one of the Go service."""
    with reading(engine) as connection:
        return read_revision(connection)


def upgrade(engine: Engine, on_step: Callable[[str], None] | None = None) -> Upgrade:
    """Bring the tables to the newest revision, all in one transaction: done, or nothing changed.

    `on_step` hears each line of the report as it comes. Of two who upgrade at once one waits, then finds it done.
    Raises SchemaMismatch for tables of a newer syncctl, DatabaseError when the tables there cannot be adopted.
    """
    # Who finds nothing to do has locked nothing: behind somebody's open transaction that would hold up all readers.
    if _is_whole(engine):
        return Upgrade(HEAD, HEAD)
    steps: list[str] = []

    def say(step: str) -> None:
        steps.append(step)
        if on_step is not None:
            on_step(step)

    with locked(engine) as connection:
        before = read_revision(connection)
        if before is not None and before not in REVISIONS:
            raise newer_than_this(describe(engine.url), before)
        if before != HEAD:
            if before is not None:
                _take_over(connection, before)
            config = alembic_config()
            config.attributes.update(connection=connection, say=say)
            triggers.remove(connection)
            command.upgrade(config, HEAD)
        if before == HEAD and (lost := triggers.missing(connection)):
            say(f"making the change log's triggers that were not there: {', '.join(lost)}")
        triggers.install(connection)
    return Upgrade(before, HEAD, tuple(steps))


def _is_whole(engine: Engine) -> bool:
    with reading(engine) as connection:
        return read_revision(connection) == HEAD and not triggers.missing(connection)


def _take_over(connection: Connection, revision: str) -> None:
    """Note our revision in a table of our own, and no longer in the one that other programs use too."""
    if inspect(connection).has_table(OWN_VERSION.name):
        return
    context = MigrationContext.configure(connection, opts={"version_table": OWN_VERSION.name})
    context.stamp(ScriptDirectory.from_config(alembic_config()), revision)
    shared = SHARED_VERSION
    connection.execute(delete(shared).where(shared.c.version_num == revision))
    if connection.execute(select(func.count()).select_from(shared)).scalar() == 0:
        connection.execute(text("DROP TABLE alembic_version"))


@contextmanager
def locked(engine: Engine) -> Iterator[Connection]:
    """Open the one transaction that may change the tables; others who ask for it wait.

    A statement of it may take as long as it takes: a large table is not rewritten in seconds. But for a lock it waits
    no longer than others do, because all readers of the table queue up behind it.
    Raises DatabaseError when the other has not finished within a minute, and all that `writing` raises.
    """
    with translated(engine.url), waits_of(engine).without_limit(), engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # To change a table, SQLite's are copied and dropped, and a dropped row takes those that refer to it along.
            _pragma(connection, "foreign_keys = OFF")
        with connection.begin() as transaction:
            if engine.dialect.name == "postgresql":
                set_locally(connection, {"lock_timeout": "60s"})
                connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
                set_locally(connection, lock_timeout(engine))
            yield connection
            if engine.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise DatabaseError("the upgrade would leave rows that refer to none; nothing was changed")
            commit(transaction, engine.url)


def alembic_config() -> Config:
    """Return Alembic's configuration with the scripts of the wheel, else of the checkout."""
    package = Path(syncctl.__file__).parent
    scripts = next((folder for folder in (package / "migrations", package.parent / "alembic") if folder.is_dir()), None)
    if scripts is None:
        raise DatabaseError("the migrations are missing from this installation", "install syncctl again")
    config = Config()
    # A % begins a reference in a configuration file.
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _pragma(connection: Connection, pragma: str) -> None:
    # Past SQLAlchemy, which would begin a transaction first; in one, SQLite ignores this.
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA {pragma}")
