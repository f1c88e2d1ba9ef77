"""Times are aware and UTC on this side of the database, whatever the database makes of them.

Rows written by hand hold everything: the year 1 that the Go service wrote for "never", 'infinity', in SQLite text that
is no time at all. None of that may end a pass, so what cannot be read becomes LONG_AGO.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect, Text, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

LONG_AGO = datetime.min.replace(tzinfo=UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """Timestamptz in Postgres; in SQLite text in UTC without offset, which sorts and is what its clock writes."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write an aware time. A naive one is a bug of the caller: nobody could say which moment it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None).isoformat(sep=" ") if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 - the base's signature
        """Read a time as aware UTC."""
        # The engine has Postgres' text read by parse_time already.
        return parse_time(value) if isinstance(value, str) else value


def parse_time(text: str) -> datetime:
    """Read the text of a time as either database spells it, UTC when it names no zone; LONG_AGO when it is none."""
    try:
        value = datetime.fromisoformat(text)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        return LONG_AGO


class database_time(FunctionElement[datetime]):  # noqa: N801 - reads like the functions of SQLAlchemy
    """The database's time, in any query: that of the moment, also in a transaction that had to wait."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(database_time, "postgresql")
def _of_postgres(*_: Any, **__: Any) -> str:
    return "clock_timestamp()"


@compiles(database_time, "sqlite")
def _of_sqlite(*_: Any, **__: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f', 'now')"


def clock_of(connection: Connection) -> datetime:
    """Return the database's time."""
    now: datetime = connection.execute(select(database_time())).scalar_one()
    return now
