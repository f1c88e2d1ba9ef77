"""From the text of a URL to the address of a database, without ever repeating the text: it holds the password."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from syncctl.core.errors import SettingsError

_HINT = (
    "write it like postgresql://USER:PASSWORD@HOST:5432/NAME or sqlite:////path/to/file.db;"
    " in the password write @ as %40, / as %2F and % as %25"
)
_POSTGRES = {"postgres", "postgresql", "postgresql+psycopg2"}
_SQLITE = {"sqlite", "sqlite+pysqlite"}


def read_address(url: str) -> URL:
    """Read a database URL: Postgres through psycopg2, or a file of SQLite.

    Raises SettingsError when it cannot be one. No error holds any part of the URL but its scheme, nor an exception that
    does: where the password ends in a broken URL, nobody knows.
    """
    parsed = _parse(url)
    if parsed is None:
        raise SettingsError("database_url is not a URL of a database", _HINT)
    if parsed.drivername in _SQLITE:
        return parsed.set(drivername="sqlite+pysqlite", database=_sqlite_path(parsed))
    if parsed.drivername not in _POSTGRES:
        raise SettingsError("database_url names neither Postgres nor SQLite", _HINT)
    # A stray @ or / moves a part of the password into the host or the name, which errors do show.
    if url.count("@") > 1 or "@" in f"{parsed.host}{parsed.database}":
        raise SettingsError("database_url has an @ in a place where none can be", _HINT)
    if "\0" in f"{parsed.username}{parsed.password}{parsed.host}{parsed.database}":
        raise SettingsError("database_url has a NUL in it", _HINT)
    if not parsed.database and "service" not in parsed.query:
        raise SettingsError("database_url names no database", _HINT)
    return _password_out_of_query(parsed).set(drivername="postgresql+psycopg2")


def describe(address: URL) -> str:
    """Say where a database is, as HOST:PORT/NAME or as a path, without user and password; of several hosts, all."""
    if address.drivername.startswith("sqlite"):
        return address.database or ""
    asked = address.query.get("host") or "localhost"
    host = address.host or (asked if isinstance(asked, str) else ",".join(asked))
    # The hosts of a query may have their ports with them.
    if "/" in host or ("," in host and ":" in host):
        return f"{host}/{address.database or ''}"
    return f"{host}:{address.port or _first(address.query.get('port')) or 5432}/{address.database or ''}"


def _parse(url: str) -> URL | None:
    # The exceptions quote the URL, so they end here and not even as a context do they travel on.
    try:
        return make_url(url.strip())
    except (ArgumentError, ValueError):
        return None


def _sqlite_path(address: URL) -> str:
    if address.host or address.username or address.query:
        raise SettingsError("database_url of SQLite takes a path and nothing else", _HINT)
    path = address.database or ""
    if not path or path == ":memory:" or path.startswith("file:"):
        raise SettingsError("database_url of SQLite needs a file: memory would forget all of it", _HINT)
    return str(Path(path).expanduser().absolute())


def _password_out_of_query(address: URL) -> URL:
    # libpq takes ?password= too, but SQLAlchemy hides only the one before the @.
    password = _first(address.query.get("password"))
    if password is None:
        return address
    return address.set(password=password).difference_update_query(["password"])


def _first(value: str | tuple[str, ...] | None) -> str | None:
    return value[0] if isinstance(value, tuple) else value
