"""Turn the two tables that the Go service made into those of revision 0001: nothing lost, every id kept.

Called by the first migration only, in its transaction, and frozen with it: later changes belong to later migrations.

Times without a zone are taken as UTC. The Go service wrote the wall clock of its host, which in its container is UTC,
and left the rest to CURRENT_TIMESTAMP, which in the postgres image is UTC too; nothing in the database tells otherwise.
"""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, text

from syncctl.core.errors import DatabaseError
from syncctl.db.adoption.conversion import convert_columns, convert_constraints, restart_sequences
from syncctl.db.adoption.fitness import problems_of_rows, problems_of_tables
from syncctl.db.adoption.statuses import one_status_a_client


def adopt(connection: Connection, now: datetime, say: Callable[[str], None]) -> None:
    """Convert `clients` and `algorithm_status` in place, telling `say` of everything that changed a row.

    Foreign tables and columns are left alone. Raises DatabaseError, with every problem named, for tables that are not
    those of the Go service or hold what cannot be kept.
    """
    if connection.dialect.name != "postgresql":
        raise DatabaseError(
            "this file has a table clients or algorithm_status that syncctl did not make",
            "let database_url name another file; only a Postgres database of the Go service can be adopted",
        )
    _refuse(problems_of_tables(connection))
    # A Go service that is still running waits from here on, instead of writing into the middle of this.
    connection.execute(text("LOCK TABLE clients, algorithm_status IN ACCESS EXCLUSIVE MODE"))
    _refuse(problems_of_rows(connection))
    clients = connection.execute(text("SELECT count(*) FROM clients")).scalar_one()
    say(f"adopting the database of the Go service, clients in it: {clients}")
    restart_sequences(connection)
    convert_columns(connection, now, say)
    one_status_a_client(connection, now, say)
    convert_constraints(connection)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise DatabaseError(
            f"the tables here cannot be adopted, and nothing was changed: {'; '.join(problems)}",
            "put that right by hand and run `syncctl db upgrade` again",
        )
