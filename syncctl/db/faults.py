"""What a failure of the database means to syncctl: one table, applied at the door of the room."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from syncctl.core.errors import DatabaseBusy, DatabaseError, DatabaseUnavailable, SchemaMismatch
from syncctl.db.address import describe

UPGRADE_HINT = "`syncctl db upgrade` brings the tables up to date"

_UNREACHABLE_HINT = "is it running, and does database_url (SYNCCTL_DATABASE_URL) name it rightly?"
_REFUSED_HINT = "the server answers: are user, password and database name of database_url (SYNCCTL_DATABASE_URL) right?"
# What a server says that knows us and takes nobody just now: starting, stopping, or full.
_NOT_NOW = ("the database system is", "too many", "remaining connection slots", "terminating connection")
_AGAIN_HINT = "nothing was changed; try again"
_POLICY_HINT = "a pass must see all rows: let its user own the tables, or have BYPASSRLS"
_DENIED = "42501"
_BROKEN = ("08", "57P01", "57P02", "57P03", "53300")
_MISSING = ("42P01", "42703")
_IN_THE_WAY = ("40001", "40P01", "55P03")


@contextmanager
def translated(address: URL) -> Iterator[None]:
    """Turn what SQLAlchemy raises inside into our errors.

    Raises DatabaseUnavailable when nobody answers or the connection broke, DatabaseBusy when another transaction was in
    the way, SchemaMismatch when a table or column is missing, else DatabaseError.
    """
    try:
        yield
    except DBAPIError as error:
        raise translate(error, address) from error
    except PoolTimeoutError as error:
        raise DatabaseUnavailable(f"all connections to the database at {describe(address)} are busy") from error


def translate(error: DBAPIError, address: URL) -> DatabaseError:
    """Say what one error of the driver means."""
    code = sqlstate(error)
    cause = _first_line(error)
    place = describe(address)
    if address.drivername.startswith("sqlite"):
        return _of_sqlite(cause, place)
    nobody = isinstance(error, (OperationalError, InterfaceError)) and not code
    if error.connection_invalidated or nobody or code.startswith(_BROKEN):
        # While connecting, the driver tells no code, only what the server said.
        refused = "FATAL:" in cause and not any(words in cause for words in _NOT_NOW)
        hint = _REFUSED_HINT if refused else _UNREACHABLE_HINT
        return DatabaseUnavailable(f"cannot reach the database at {place}: {cause}", hint)
    if code in _MISSING:
        return SchemaMismatch(f"the database at {place} has not the tables of this syncctl: {cause}", UPGRADE_HINT)
    if code in _IN_THE_WAY:
        return DatabaseBusy(f"another transaction in the database at {place} was in the way: {cause}", _AGAIN_HINT)
    hint = _POLICY_HINT if code == _DENIED and "row-level security" in cause else ""
    return DatabaseError(f"the database at {place} refused: {cause}{_detail(error)}", hint)


def sqlstate(error: DBAPIError) -> str:
    """Return Postgres' five-letter code of an error, or "" when it has none."""
    return getattr(error.orig, "pgcode", None) or ""


def _of_sqlite(cause: str, place: str) -> DatabaseError:
    if "unable to open" in cause:
        return DatabaseUnavailable(f"cannot open the database {place}: {cause}", "may this user read and write it?")
    if any(words in cause for words in ("no such table", "no such column", "has no column named")):
        return SchemaMismatch(f"the database {place} has not the tables of this syncctl: {cause}", UPGRADE_HINT)
    if "locked" in cause:
        return DatabaseBusy(f"another process is writing to the database {place}: {cause}", _AGAIN_HINT)
    return DatabaseError(f"the database {place} refused: {cause}")


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0].strip() if lines else type(error.orig).__name__


def _detail(error: DBAPIError) -> str:
    detail = getattr(getattr(error.orig, "diag", None), "message_detail", None)
    return f" ({detail})" if detail else ""
