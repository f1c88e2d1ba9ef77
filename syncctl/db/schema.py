"""Know which revision of the tables a database has. Alembic is imported only where a database is upgraded."""

from sqlalchemy import Connection, Engine, inspect, text

from syncctl.core.errors import SchemaMismatch
from syncctl.db.address import describe
from syncctl.db.engine import connect, reading
from syncctl.db.faults import UPGRADE_HINT
from syncctl.db.waiting import USUAL

# In order, oldest first. A test compares them with the scripts in alembic/versions.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")
HEAD = REVISIONS[-1]


def open_database(url: str, timeout: float = USUAL) -> Engine:
    """Reach the database of a URL and check its tables; `timeout` is that of `connect`.

    A SQLite file is made and upgraded on the way. Postgres, which others may be using, never is.
    Raises SettingsError, DatabaseUnavailable, SchemaMismatch, DatabaseError.
    """
    engine = connect(url, timeout)
    if engine.dialect.name == "sqlite" and _wants_upgrade(engine):
        from syncctl.db.migrations import upgrade

        upgrade(engine)
    with reading(engine) as connection:
        check_schema(connection)
    return engine


def check_schema(connection: Connection) -> None:
    """Raise SchemaMismatch unless the tables are those of this syncctl, saying which others they are."""
    place = describe(connection.engine.url)
    revision = read_revision(connection)
    if revision == HEAD:
        return
    if revision is None:
        if inspect(connection).has_table("clients"):
            raise SchemaMismatch(
                f"the database {place} has a table clients that syncctl did not make",
                "`syncctl db upgrade` adopts those of the Go service: every client and every id stays",
            )
        raise SchemaMismatch(f"the database {place} is empty", "`syncctl db upgrade` makes the tables")
    if revision in REVISIONS:
        raise SchemaMismatch(f"the database {place} has revision {revision} and needs {HEAD}", UPGRADE_HINT)
    raise newer_than_this(place, revision)


def read_revision(connection: Connection) -> str | None:
    """Return the revision that Alembic has noted, None when there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def newer_than_this(place: str, revision: str) -> SchemaMismatch:
    """Say that a revision is unknown here, which only a newer syncctl can have made."""
    return SchemaMismatch(
        f"the database {place} has revision {revision}, and this syncctl knows them up to {HEAD}",
        "a newer syncctl has upgraded it: use that one",
    )


def _wants_upgrade(engine: Engine) -> bool:
    with reading(engine) as connection:
        revision = read_revision(connection)
        if revision is None:
            # A file with tables of something else is not ours to fill without a word.
            return not inspect(connection).get_table_names()
        return revision in REVISIONS[:-1]
