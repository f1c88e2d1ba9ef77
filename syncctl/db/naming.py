"""Names for the shell's completion, by the drivers alone: a person who presses Tab does not wait for SQLAlchemy."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

_MOST = 50
_CLIENTS = "SELECT client_name FROM clients WHERE client_name LIKE {} ESCAPE '!' ORDER BY client_name LIMIT 50"
_PODS = "SELECT id, {} FROM algorithm_status ORDER BY id"


def client_names(url: str, start: str) -> list[str]:
    """Return the first names that begin so; raises whatever goes wrong."""
    pattern = start.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"
    return [str(row[0]) for row in _rows(url, _CLIENTS, pattern)]


def pod_names(url: str, algorithms: list[str], start: str) -> list[str]:
    """Return the first names of pods that the rows ask for and that begin so; raises whatever goes wrong."""
    rows = _rows(url, _PODS.format(", ".join(algorithms)))
    names = (f"{each}-{row[0]}" for row in rows for each, on in zip(algorithms, row[1:], strict=True) if on)
    return [name for name in names if name.startswith(start)][:_MOST]


def _rows(url: str, query: str, *values: str) -> list[tuple[object, ...]]:
    if url.startswith("sqlite"):
        # Only if it is there: to look is not to make one.
        path = Path(unquote(url.partition(":///")[2])).absolute()
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.2)) as connection:
            return connection.execute(query.format("?") if values else query, values).fetchall()
    import psycopg2

    plain = "postgresql" + url[url.index("://") :]
    options = "-c statement_timeout=200 -c default_transaction_read_only=on"
    with closing(psycopg2.connect(plain, connect_timeout=1, options=options)) as connection:
        cursor = connection.cursor()
        cursor.execute(query.format("%s") if values else query, values)
        return list(cursor.fetchall())
