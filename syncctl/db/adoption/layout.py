"""What the columns of the Go service's tables become, and what they are now."""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

TABLES = ("clients", "algorithm_status")

INTEGERS = ("smallint", "integer", "bigint")
TEXTS = ("character varying", "text")
NUMBERS = (*INTEGERS, "real", "double precision", "numeric")
TIMES = ("timestamp without time zone", "timestamp with time zone")
FLAGS = ("boolean",)


@dataclass(frozen=True, slots=True)
class Target:
    """What a column becomes: `type` from one of `sources`, `fill` where it is NULL, which is the later default too.

    A column without fill must be there; one without NOT NULL is filled with nothing.
    """

    table: str
    name: str
    type: str
    sources: tuple[str, ...]
    fill: str | None = None
    not_null: bool = True

    @property
    def length(self) -> int | None:
        """How many characters the column takes; None when it does not count them."""
        digits = re.search(r"\d+", self.type)
        return int(digits[0]) if digits else None


TARGETS = (
    Target("clients", "id", "bigint", INTEGERS),
    Target("clients", "client_name", "character varying(100)", TEXTS),
    Target("clients", "version", "integer", ("smallint", "integer"), "1"),
    Target("clients", "image", "character varying(255)", TEXTS, "''"),
    Target("clients", "cpu", "character varying(50)", TEXTS, "''"),
    Target("clients", "memory", "character varying(50)", TEXTS, "''"),
    Target("clients", "priority", "double precision", NUMBERS, "1.0"),
    Target("clients", "need_restart", "boolean", FLAGS, "false"),
    Target("clients", "spawned_at", "timestamp with time zone", TIMES, not_null=False),
    Target("clients", "created_at", "timestamp with time zone", TIMES, "CURRENT_TIMESTAMP"),
    Target("clients", "updated_at", "timestamp with time zone", TIMES, "CURRENT_TIMESTAMP"),
    Target("clients", "restart_generation", "integer", ("integer",), "0"),
    Target("algorithm_status", "id", "bigint", INTEGERS),
    Target("algorithm_status", "client_id", "bigint", INTEGERS),
    Target("algorithm_status", "vwap", "boolean", FLAGS, "false"),
    Target("algorithm_status", "twap", "boolean", FLAGS, "false"),
    Target("algorithm_status", "hft", "boolean", FLAGS, "false"),
)


def column_types(connection: Connection, table: str) -> dict[str, str]:
    """Return the type of each column, as Postgres spells it."""
    rows = connection.execute(
        text(
            "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
            " WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped"
        ),
        {"table": table},
    )
    return {row.attname: row.type for row in rows}


def constraints(connection: Connection, table: str, kind: str, column: str) -> list[str]:
    """Return the names of the constraints of one kind (p, u, f) on just this column."""
    rows = connection.execute(
        text(
            "SELECT conname FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attname = :column"
            " WHERE conrelid = to_regclass(:table) AND contype = :kind AND conkey = ARRAY[attnum] ORDER BY conname"
        ),
        {"table": table, "kind": kind, "column": column},
    )
    return list(rows.scalars())


def rows(connection: Connection, query: str) -> list[Row[Any]]:
    """Read all rows of a query."""
    return list(connection.execute(text(query)))
