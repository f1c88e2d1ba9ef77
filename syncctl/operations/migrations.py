"""Upgrade the database's schema, or say which it has."""

from collections.abc import Callable

from syncctl.core.errors import SchemaMismatch
from syncctl.db.engine import reading, writing
from syncctl.db.go_service import forget_go_service
from syncctl.db.migrations import Upgrade, current, upgrade
from syncctl.db.schema import HEAD
from syncctl.db.triggers import missing
from syncctl.operations.connect import Engine, check_engine, reach_engine
from syncctl.settings import Settings

__all__ = ["HEAD", "Upgrade", "check_database", "database_revision", "end_go_service", "upgrade_database"]


def upgrade_database(settings: Settings, on_step: Callable[[str], None]) -> Upgrade:
    """Bring the tables to the newest revision, all of it or nothing; a database of the Go service is adopted.

    Raises:
        DatabaseError: the database cannot be reached or adopted.
    """
    return upgrade(reach_engine(settings), on_step)


def database_revision(settings: Settings) -> str | None:
    """Return the revision of the tables; None when there are none of ours."""
    return current(reach_engine(settings))


def check_database(settings: Settings) -> None:
    """Return when the tables are those of this syncctl, with the change log's triggers.

    Raises:
        SchemaMismatch: they are older, newer, or not there; or some triggers are not.
    """
    engine = reach_engine(settings)
    check_engine(engine)
    with reading(engine) as connection:
        if lost := missing(connection):
            raise SchemaMismatch(
                f"changes of rows are not noted: {len(lost)} triggers are not there or switched off: {', '.join(lost)}",
                "`syncctl db upgrade` makes them again",
            )


def end_go_service(engine: Engine) -> bool:
    """Let passes look no longer for pods that a Go service goes on making; False when none does so already."""
    with writing(engine) as connection:
        return forget_go_service(connection)
