"""Open what the settings name: the database, the cluster."""

from typing import TYPE_CHECKING

from syncctl.db.engine import Engine, reading, waits_of
from syncctl.db.engine import connect as connect_database
from syncctl.db.schema import check_schema, open_database
from syncctl.settings import Settings, database_of

if TYPE_CHECKING:
    from syncctl.kube.api import ApiCluster

__all__ = ["Engine", "check_engine", "open_cluster", "open_engine", "reach_engine", "waits_of"]


def open_engine(settings: Settings) -> Engine:
    """Return the database, its schema checked; a SQLite file is made and migrated on first use."""
    return open_database(database_of(settings), settings.database_timeout)


def reach_engine(settings: Settings) -> Engine:
    """Return the database unchecked, for a server that starts before it. Nothing is sent yet."""
    return connect_database(database_of(settings), settings.database_timeout)


def check_engine(engine: Engine) -> None:
    """Return when the database answers and its tables are those of this syncctl.

    Raises:
        DatabaseUnavailable, SchemaMismatch
    """
    with reading(engine) as connection:
        check_schema(connection)


def open_cluster(settings: Settings) -> "ApiCluster":
    """Return the cluster. Nothing is sent yet.

    Raises:
        NoCluster: nothing names one.
    """
    # Commands that only need the database do not wait for the HTTP stack.
    from syncctl.kube.api import ApiCluster
    from syncctl.kube.config import connect

    connection = connect(settings.kubeconfig, settings.context, settings.namespace, settings.concurrency)
    return ApiCluster(
        connection,
        page_size=settings.page_size,
        request_timeout=settings.request_timeout,
        request_rate=settings.request_rate,
    )
