"""Reach the database, and open transactions on it: `reading` and `writing` are the doors of this room.

Whoever opens a transaction closes it; functions take its connection and never commit. Both doors translate every
failure, of the body too, into our errors.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, select
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from syncctl.core.changes import Author
from syncctl.core.errors import DatabaseUnavailable, SettingsError, UsageError
from syncctl.db import changelog
from syncctl.db.address import read_address
from syncctl.db.faults import commit, translated
from syncctl.db.sqlite import PatientConnection
from syncctl.db.tables import fleet
from syncctl.db.times import parse_time
from syncctl.db.waiting import USUAL, Waits

__all__ = [
    "Connection",
    "Engine",
    "author_of",
    "connect",
    "lock_timeout",
    "reading",
    "set_locally",
    "waits_of",
    "writing",
    "written_by",
]

_TIMESTAMPTZ = 1184
_CONNECT_SECONDS = 5.0
"""For each address of a server, where its URL has no connect_timeout and database_timeout is not less."""
_CONNECT_ARGUMENTS = {
    # A server that went away without a word is noticed within a minute, and not after the two hours of TCP.
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "syncctl",
}


def connect(url: str, timeout: float = USUAL) -> Engine:
    """Make the engine for a URL. Nothing is sent yet; of SQLite, an empty file of mode 0600 is made.

    `timeout` is how many seconds one wait for the database may last: for a connection, a lock, a statement's answer.
    Raises SettingsError for a URL that cannot be one, DatabaseUnavailable for a file that cannot be made.
    """
    address, waits = read_address(url), Waits(timeout)
    return _sqlite(address, waits) if address.drivername.startswith("sqlite") else _postgres(address, waits)


def waits_of(engine: Engine) -> Waits:
    """Return what the waits of all connections of this engine go by."""
    waits: Waits = engine.get_execution_options()["waits"]
    return waits


def written_by(engine: Engine, author: Author) -> Engine:
    """Return the same database for what this author writes: the change log says so of each change."""
    return engine.execution_options(author=author)


def author_of(engine: Engine) -> Author | None:
    """Return who writes by this engine, if that was said."""
    author: Author | None = engine.get_execution_options().get("author")
    return author


@contextmanager
def reading(engine: Engine, settings: Mapping[str, str] | None = None) -> Iterator[Connection]:
    """Open a transaction that sees the database at one moment and cannot write to it.

    `settings` are the server's, for this transaction; SQLite has none. Raises DatabaseUnavailable, SchemaMismatch,
    DatabaseError.
    """
    if engine.dialect.name == "sqlite":
        options: dict[str, Any] = {"sqlite_begin": "DEFERRED"}
    else:
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with translated(engine.url), engine.connect().execution_options(**options) as connection, connection.begin():
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
        _begin(connection, settings)
        yield connection


@contextmanager
def writing(
    engine: Engine, settings: Mapping[str, str] | None = None, *, at_one_moment: bool = False
) -> Iterator[Connection]:
    """Open a transaction that commits at the end, or changes nothing when the body raises.

    The change log says of its changes that they are the engine's author's.

    `settings` are as for `reading`. `at_one_moment` is for one that reads much before it writes: Postgres' REPEATABLE
    READ, which may fail with a serialization error when another writer was faster. In SQLite writers come one after the
    other in any case.
    Raises DatabaseUnavailable, SchemaMismatch, DatabaseError; UsageError when the fleet demands a reason of the author.
    """
    options: dict[str, Any] = {}
    author = author_of(engine)
    if engine.dialect.name == "postgresql" and at_one_moment:
        options = {"isolation_level": "REPEATABLE READ"}
    with (
        translated(engine.url),
        engine.connect().execution_options(**options) as connection,
        connection.begin() as transaction,
    ):
        signed = changelog.local_settings(author) if author else {}
        _begin(connection, {**signed, **(settings or {})})
        if author and author.needs_reason and not author.reason:
            _take_without_reason(connection)
        # Postgres' triggers know the author by now; SQLite's changes are signed at the end.
        unsigned = changelog.last_id(connection) if author and connection.dialect.name == "sqlite" else None
        yield connection
        if author and unsigned is not None:
            changelog.sign(connection, author, unsigned)
        commit(transaction, engine.url)


def _take_without_reason(connection: Connection) -> None:
    """Raise unless the fleet takes changes without a reason."""
    if connection.execute(select(fleet.c.require_reason)).scalar_one():
        raise UsageError("this fleet takes no change without a reason", "say why: --reason 'the exchange asked'")


def set_locally(connection: Connection, settings: Mapping[str, str]) -> None:
    """Change the server's settings until the end of the transaction, all of them by one statement.

    Behind PgBouncer's transaction pooling a connection is somebody else's afterwards. And it is one SELECT and not
    several SETs in one string, for the driver waits for the second answer of a string without asking anybody.
    """
    connection.execute(select(*(func.set_config(name, value, True) for name, value in settings.items())))


def lock_timeout(engine: Engine) -> dict[str, str]:
    """Return the setting that keeps a psql left open in a transaction from holding us up for ever."""
    return {"lock_timeout": _milliseconds(0.8 * waits_of(engine).seconds)}


def _begin(connection: Connection, settings: Mapping[str, str] | None) -> None:
    """Let the server end each wait just before we would: its answer says more, and the connection can stay."""
    if connection.dialect.name == "postgresql":
        engine = connection.engine
        limits = lock_timeout(engine) | {"statement_timeout": _milliseconds(0.9 * waits_of(engine).seconds)}
        set_locally(connection, limits | dict(settings or {}))


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))  # 0 would be no limit


def _postgres(address: URL, waits: Waits) -> Engine:
    # Not for SQLite, which does not need the driver.
    from syncctl.db.postgres import open_connection

    arguments = {name: value for name, value in _CONNECT_ARGUMENTS.items() if name not in address.query}
    seconds = min(_connect_seconds(address), waits.seconds)
    # As many connections as there are threads: nobody waits for one of somebody else.
    try:
        engine = create_engine(
            address,
            connect_args=arguments,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=0,
            execution_options={"waits": waits},
        )
    except ArgumentError as error:
        raise SettingsError(f"the hosts of database_url cannot be used: {error}") from error
    extensions: Any = engine.dialect.loaded_dbapi.extensions
    # psycopg2's own reader raises on infinity, and on the year 1, which in a session west of Greenwich is 1 BC.
    utc = extensions.new_type((_TIMESTAMPTZ,), "UTC", lambda value, _cursor: value and parse_time(value))

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> Any:
        return open_connection(parameters, waits, seconds)

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: Any) -> None:
        extensions.register_type(utc, dbapi_connection)

    return engine


def _connect_seconds(address: URL) -> float:
    # libpq takes 0 and less for no limit at all.
    given = address.query.get("connect_timeout")
    try:
        return float(str(given)) if given and float(str(given)) > 0 else _CONNECT_SECONDS
    except ValueError:
        raise SettingsError("connect_timeout in database_url is no number of seconds") from None


def _sqlite(address: URL, waits: Waits) -> Engine:
    _make_file(Path(address.database or ""))
    engine = create_engine(
        address,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"factory": PatientConnection},
        execution_options={"waits": waits},
    )

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: PatientConnection, _record: Any) -> None:
        # Python's own transactions begin late and never IMMEDIATE; with None it leaves them to _on_begin.
        dbapi_connection.isolation_level = None
        dbapi_connection.wait_by(waits)
        dbapi_connection.execute("PRAGMA foreign_keys = ON")
        # On a read-only medium, or while another process does just this, the file stays in the mode that it has.
        with suppress(sqlite3.OperationalError):
            dbapi_connection.execute("PRAGMA journal_mode = WAL")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # Two transactions that read first and write later would deadlock, which no timeout resolves: lock at once.
        mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _make_file(path: Path) -> None:
    try:
        # Made before SQLite makes it, for others may not read clients; its journals take the mode over.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except FileNotFoundError:
        # Not made: a mistyped path would be a new and empty database, and owns no pod.
        raise DatabaseUnavailable(
            f"cannot make the database {path}: there is no folder {path.parent}",
            "make the folder, or correct database_url (SYNCCTL_DATABASE_URL)",
        ) from None
    except PermissionError:
        if not path.is_file():
            raise DatabaseUnavailable(f"cannot make the database {path}: permission denied") from None
    except OSError as error:
        raise DatabaseUnavailable(f"cannot open the database {path}: {error.strerror}") from error
