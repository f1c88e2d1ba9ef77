"""Know which revision of the tables a database has. Alembic is imported only where a database is upgraded."""

from sqlalchemy import Connection, Engine, TableClause, column, inspect, select, table

from syncctl.core.errors import SchemaMismatch
from syncctl.db.address import describe
from syncctl.db.engine import connect, reading
from syncctl.db.faults import UPGRADE_HINT
from syncctl.db.waiting import USUAL

# In order, oldest first. A test compares them with the scripts in alembic/versions.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012", "0013")
HEAD = REVISIONS[-1]
OWN_VERSION = table("syncctl_version", column("version_num"))
"""Where Alembic notes the revision of our tables; other programs in the same database have their own."""
SHARED_VERSION = table("alembic_version", column("version_num"))
"""Where it was noted up to 0010, and where other programs may note theirs."""
_MARKS = {
    "0001": ("fleet", "uuid"),
    "0002": ("lease", "token"),
    "0003": ("passes", "shard"),
    "0004": ("begun_replacements", "client_id"),
    "0005": ("fleet", "home"),
    "0006": ("lease", "nonce"),
    "0007": ("guard_latches", "bucket"),
    "0008": ("fleet", "go_service"),
    "0009": ("fleet", "fleet_name"),
    "0010": ("begun_replacements", "cause"),
}
"""By which column a database shows that it has a revision; of those that were noted in the shared table."""


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
    """Return the revision of our tables, None when there are none.

    Raises:
        SchemaMismatch: more than one is noted.
    """
    if not inspect(connection).has_table(OWN_VERSION.name):
        return _shared_revision(connection)
    revisions = _noted(connection, OWN_VERSION)
    if len(revisions) > 1:
        raise SchemaMismatch(
            f"the database {describe(connection.engine.url)} has {len(revisions)} revisions in {OWN_VERSION.name}:"
            f" {', '.join(revisions)}",
            "leave the row of the newest that its tables are of; a restore over a database that is in use does this",
        )
    return revisions[0] if revisions else None


def _shared_revision(connection: Connection) -> str | None:
    """Return what the shared table says of us, where that is surely ours: the tables show the same."""
    inspector = inspect(connection)
    if not inspector.has_table(SHARED_VERSION.name):
        return None
    shown = None
    for revision, (name, mark) in _MARKS.items():
        if not inspector.has_table(name) or mark not in {each["name"] for each in inspector.get_columns(name)}:
            break
        shown = revision
    return shown if shown in _noted(connection, SHARED_VERSION) else None


def _noted(connection: Connection, versions: TableClause) -> list[str]:
    return sorted(connection.execute(select(versions.c.version_num)).scalars())


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
