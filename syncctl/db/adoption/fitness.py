"""Find everything that speaks against an adoption before anything is changed."""

# ruff: noqa: S608 - the SQL is put together from constants only

import re

from sqlalchemy import Connection, text

from syncctl.db.adoption.layout import TABLES, TARGETS, Target, column_types, rows


def problems_of_tables(connection: Connection) -> list[str]:
    """Say what is not as the Go service makes it and cannot be converted either."""
    problems = []
    for table in TABLES:
        kind = connection.execute(
            text("SELECT relkind FROM pg_class WHERE oid = to_regclass(:table)"), {"table": table}
        ).scalar()
        if kind is None:
            problems.append(f"there is no table {table}")
        elif kind != "r":
            problems.append(f"{table} is not a plain table")
        else:
            types = column_types(connection, table)
            for target in TARGETS:
                if target.table == table:
                    problems += _problems_of_column(target, types.get(target.name))
    # Rows of algorithm_status may have to go, and must not take foreign rows along.
    problems += [
        f"rows of {row.referrer} would go or change with rows of algorithm_status"
        for row in rows(
            connection,
            "SELECT conrelid::regclass AS referrer FROM pg_constraint WHERE contype = 'f'"
            " AND confrelid = to_regclass('algorithm_status') AND confdeltype IN ('c', 'n', 'd') ORDER BY 1",
        )
    ]
    return problems


def _problems_of_column(target: Target, found: str | None) -> list[str]:
    if found is None:
        needed = target.fill is None and target.not_null
        return [f"{target.table} has no column {target.name}"] if needed else []
    if re.sub(r"\(.*?\)", "", found) not in target.sources:
        return [f"{target.table}.{target.name} is {found} and cannot become {target.type}"]
    return []


def problems_of_rows(connection: Connection) -> list[str]:
    """Say which rows cannot be kept as they are. Needs tables without problems."""
    problems = [
        f'the name "{row.client_name}" is that of clients {row.ids}'
        for row in rows(
            connection,
            "SELECT client_name, string_agg(id::text, ', ' ORDER BY id) AS ids FROM clients"
            " WHERE client_name IS NOT NULL GROUP BY client_name HAVING count(*) > 1 ORDER BY min(id)",
        )
    ]
    problems += [
        f"client {row.id} has no name"
        for row in rows(connection, "SELECT id FROM clients WHERE client_name IS NULL ORDER BY id")
    ]
    for table in TABLES:
        problems += [
            f"{table} has {row.times} rows with the id {'NULL' if row.id is None else row.id}"
            for row in rows(
                connection,
                f"SELECT id, count(*) AS times FROM {table} GROUP BY id HAVING count(*) > 1 OR id IS NULL ORDER BY id",
            )
        ]
    for target in TARGETS:
        problems += _problems_of_length(connection, target)
    return problems


def _problems_of_length(connection: Connection, target: Target) -> list[str]:
    if target.length is None or target.name not in column_types(connection, target.table):
        return []
    return [
        f"{target.name} of client {row.id} has {row.length} characters, at most {target.length} are kept"
        for row in rows(
            connection,
            f"SELECT id, length({target.name}) AS length FROM {target.table}"
            f" WHERE length({target.name}) > {target.length} ORDER BY id",
        )
    ]
