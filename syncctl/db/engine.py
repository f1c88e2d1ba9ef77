"""Reach the database, and open transactions on it: `reading` and `writing` are the doors of this room.

Whoever opens a transaction closes it; functions take its connection and never commit. Both doors translate every
failure, of the body too, into our errors.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.pool import NullPool

from syncctl.core.errors import DatabaseUnavailable
from syncctl.db.address import read_address
from syncctl.db.faults import translated
from syncctl.db.times import parse_time

__all__ = ["Engine", "connect", "reading", "writing"]

_TIMESTAMPTZ = 1184
_CONNECT_ARGUMENTS = {
    "connect_timeout": 5,
    # A server that went away without a word is noticed within a minute, and not after the two hours of TCP.
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "syncctl",
}


def connect(url: str) -> Engine:
    """Make the engine for a URL. Nothing is sent yet; of SQLite, an empty file of mode 0600 is made.

    Raises SettingsError for a URL that cannot be one, DatabaseUnavailable for a file that cannot be made.
    """
    address = read_address(url)
    return _sqlite(address) if address.drivername.startswith("sqlite") else _postgres(address)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that sees the database at one moment and cannot write to it.

    Raises DatabaseUnavailable, SchemaMismatch, DatabaseError.
    """
    if engine.dialect.name == "sqlite":
        options: dict[str, Any] = {"sqlite_begin": "DEFERRED"}
    else:
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with translated(engine.url), engine.connect().execution_options(**options) as connection, connection.begin():
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
        yield connection


@contextmanager
def writing(engine: Engine, *, at_one_moment: bool = False) -> Iterator[Connection]:
    """Open a transaction that commits at the end, or changes nothing when the body raises.

    `at_one_moment` is for one that reads much before it writes: Postgres' REPEATABLE READ, which may fail with a
    serialization error when another writer was faster. In SQLite writers come one after the other in any case.
    Raises DatabaseUnavailable, SchemaMismatch, DatabaseError.
    """
    options: dict[str, Any] = {}
    if engine.dialect.name == "postgresql" and at_one_moment:
        options = {"isolation_level": "REPEATABLE READ"}
    with translated(engine.url), engine.connect().execution_options(**options) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            # A psql that somebody left open in a transaction must not hold up a command for ever.
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        yield connection


def _postgres(address: URL) -> Engine:
    arguments = {name: value for name, value in _CONNECT_ARGUMENTS.items() if name not in address.query}
    engine = create_engine(address, connect_args=arguments, hide_parameters=True, pool_pre_ping=True)
    extensions: Any = engine.dialect.loaded_dbapi.extensions
    # psycopg2's own reader raises on infinity, and on the year 1, which in a session west of Greenwich is 1 BC.
    utc = extensions.new_type((_TIMESTAMPTZ,), "UTC", lambda value, _cursor: value and parse_time(value))

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: Any) -> None:
        extensions.register_type(utc, dbapi_connection)

    return engine


def _sqlite(address: URL) -> Engine:
    _make_file(Path(address.database or ""))
    engine = create_engine(address, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: sqlite3.Connection, _record: Any) -> None:
        # Python's own transactions begin late and never IMMEDIATE; with None it leaves them to _on_begin.
        dbapi_connection.isolation_level = None
        dbapi_connection.execute("PRAGMA busy_timeout = 5000")
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
