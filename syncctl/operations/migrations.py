"""Upgrade the database's schema, or say which it has."""

from collections.abc import Callable

from syncctl.db.engine import writing
from syncctl.db.go_service import forget_go_service
from syncctl.db.migrations import Upgrade, current, upgrade
from syncctl.db.schema import HEAD
from syncctl.operations.connect import check_engine, open_engine, reach_engine
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
    """Return when the tables are those of this syncctl.

    Raises:
        SchemaMismatch: they are older, newer, or not there.
    """
    check_engine(reach_engine(settings))


def end_go_service(settings: Settings) -> bool:
    """Let passes look no longer for pods that a Go service goes on making; False when none does so already."""
    with writing(open_engine(settings)) as connection:
        return forget_go_service(connection)
