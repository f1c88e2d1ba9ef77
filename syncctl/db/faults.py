"""What a failure of the database means to syncctl: one table, applied at the door of the room."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, RootTransaction
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from syncctl.core.errors import DatabaseBusy, DatabaseError, DatabaseUnavailable, SchemaMismatch
from syncctl.db.address import describe

UPGRADE_HINT = "`syncctl db upgrade` brings the tables up to date"

_UNREACHABLE_HINT = "is it running, and does database_url (SYNCCTL_DATABASE_URL) name it rightly?"
_REFUSED_HINT = "the server answers: are user, password and database name of database_url (SYNCCTL_DATABASE_URL) right?"
# What a server says that knows us and takes nobody just now: starting, stopping, or full.
_NOT_NOW = ("the database system is", "too many", "remaining connection slots", "terminating connection")
_SILENT = "no answer within"
_SILENT_HINT = (
    "is the server stopped, its disk full, or does a firewall drop what is sent?"
    " database_timeout (SYNCCTL_DATABASE_TIMEOUT) is how long to wait for one"
)
_UNCHANGED = "nothing was changed"
_UNKNOWN = "whether the change was made, nobody knows"
_UNKNOWN_HINT = "look before you repeat it"
_AGAIN_HINT = f"{_UNCHANGED}; try again"
_LOCKED_HINT = f"{_UNCHANGED}; pg_stat_activity shows whose transaction is open: end that one, or try again"
_SLOW_HINT = f"{_UNCHANGED}; try again, or allow more by database_timeout (SYNCCTL_DATABASE_TIMEOUT)"
_POLICY_HINT = "a pass must see all rows: let its user own the tables, or have BYPASSRLS"
_DENIED = "42501"
_BROKEN = ("08", "57P01", "57P02", "57P03", "53300")
_MISSING = ("42P01", "42703")
_IN_THE_WAY = ("40001", "40P01", "55P03")
_LOCKED = "55P03"
_CANCELLED = "57014"


@contextmanager
def translated(address: URL) -> Iterator[None]:
    """Turn what SQLAlchemy raises inside into our errors.

    Raises DatabaseUnavailable when nobody answers or the connection broke, DatabaseBusy when another transaction was in
    the way, SchemaMismatch when a table or column is missing, else DatabaseError. KeyboardInterrupt says what it left.
    """
    try:
        yield
    except DBAPIError as error:
        raise translate(error, address) from error
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(str(error) or _UNCHANGED) from None


def commit(transaction: RootTransaction, address: URL) -> None:
    """Commit what has not been rolled back; of a commit that is not answered say that nobody knows what came of it."""
    try:
        if transaction.is_active:
            transaction.commit()
    except DBAPIError as error:
        failure = translate(error, address)
        if isinstance(failure, DatabaseUnavailable):
            raise DatabaseUnavailable(f"{failure.message}; {_UNKNOWN}", _UNKNOWN_HINT) from error
        raise failure from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{_UNKNOWN}: {_UNKNOWN_HINT}") from None


def translate(error: DBAPIError, address: URL) -> DatabaseError:
    """Say what one error of the driver means."""
    code = sqlstate(error)
    cause = _first_line(error)
    place = describe(address)
    if address.drivername.startswith("sqlite"):
        return _of_sqlite(cause, place)
    nobody = isinstance(error, (OperationalError, InterfaceError)) and not code
    if error.connection_invalidated or nobody or code.startswith(_BROKEN):
        hint = _REFUSED_HINT if is_refusal(cause) else _SILENT_HINT if _SILENT in cause else _UNREACHABLE_HINT
        return DatabaseUnavailable(f"cannot reach the database at {place}: {cause}", hint)
    if code in _MISSING:
        return SchemaMismatch(f"the database at {place} has not the tables of this syncctl: {cause}", UPGRADE_HINT)
    if code in _IN_THE_WAY:
        hint = _LOCKED_HINT if code == _LOCKED else _AGAIN_HINT
        return DatabaseBusy(f"another transaction in the database at {place} was in the way: {cause}", hint)
    if code == _CANCELLED and "timeout" in cause:
        return DatabaseBusy(f"the database at {place} took too long: {cause}", _SLOW_HINT)
    hint = _POLICY_HINT if code == _DENIED and "row-level security" in cause else ""
    return DatabaseError(f"the database at {place} refused: {cause}{_detail(error)}", hint)


def is_refusal(cause: str) -> bool:
    """Tell whether these words for a connection that failed are a server's that is up, and does not want just us."""
    # While connecting, the driver tells no code, only what the server said.
    return "FATAL:" in cause and not any(words in cause for words in _NOT_NOW)


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
