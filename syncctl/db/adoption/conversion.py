"""Give the tables the columns, defaults, constraints and sequences of revision 0001."""

# ruff: noqa: S608 - the SQL is put together from constants only

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, text

from syncctl.db.adoption.layout import TABLES, TARGETS, Target, column_types, constraints


def restart_sequences(connection: Connection) -> None:
    """Let each table's sequence count in 64 bits, and on from the highest id that was ever in the table."""
    for table in TABLES:
        sequence = _sequence(connection, table)
        connection.execute(text(f"ALTER SEQUENCE {sequence} AS bigint"))
        # Rows written by hand with an id leave the sequence behind, and an id that names a pod must not come again.
        connection.execute(
            text(
                f"SELECT setval(:sequence, highest) FROM (SELECT max(id) AS highest FROM {table}) AS ids,"
                f" {sequence} AS counter WHERE highest >= counter.last_value"
            ),
            {"sequence": sequence},
        )


def convert_columns(connection: Connection, now: datetime, say: Callable[[str], None]) -> None:
    """Widen types, add what is missing, take the year 1 as never and fill what is NULL."""
    for target in TARGETS:
        found = column_types(connection, target.table).get(target.name)
        column = f"{target.table}.{target.name}"
        if found is None:
            connection.execute(text(f"ALTER TABLE {target.table} ADD COLUMN {target.name} {target.type}"))
        elif found != target.type:
            using = f"{target.name} AT TIME ZONE 'UTC'" if "without time zone" in found else target.name
            _alter(connection, target, f"TYPE {target.type} USING {using}")
        if target.type.startswith("timestamp"):
            never = _update(connection, target, "NULL", f"{target.name} < '0002-01-01'")
            _say_count(say, never, f"{column}: {never} of the year 1 taken as never")
        if target.fill is not None:
            _alter(connection, target, f"SET DEFAULT {target.fill}")
            if target.table == "clients":
                fill = ":now" if target.type.startswith("timestamp") else target.fill
                filled = _update(connection, target, fill, f"{target.name} IS NULL", now)
                if found is not None:
                    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC" if fill == ":now" else target.fill
                    _say_count(say, filled, f"{column}: {filled} empty, now {shown}")
        if target.table == "clients" and target.not_null:
            _alter(connection, target, "SET NOT NULL")


def convert_constraints(connection: Connection) -> None:
    """Give every constraint the name and the meaning that it has in a database made by syncctl."""
    for target in TARGETS:
        if target.table == "algorithm_status":
            _alter(connection, target, "SET NOT NULL")
    # First, for a foreign key hangs on the primary key by name.
    for name in constraints(connection, "algorithm_status", "f", "client_id"):
        connection.execute(text(f"ALTER TABLE algorithm_status DROP CONSTRAINT {_quoted(connection, name)}"))
    for table in TABLES:
        _constrain(connection, table, "p", "id", f"pk_{table}", "PRIMARY KEY")
    _constrain(connection, "clients", "u", "client_name", "uq_clients_client_name", "UNIQUE")
    _constrain(connection, "algorithm_status", "u", "client_id", "uq_algorithm_status_client_id", "UNIQUE")
    connection.execute(
        text(
            "ALTER TABLE algorithm_status ADD CONSTRAINT fk_algorithm_status_client_id_clients"
            " FOREIGN KEY (client_id) REFERENCES clients (id) ON DELETE CASCADE"
        )
    )
    connection.execute(
        text("ALTER TABLE clients ADD CONSTRAINT ck_clients_restart_generation CHECK (restart_generation >= 0)")
    )


def _constrain(connection: Connection, table: str, kind: str, column: str, name: str, definition: str) -> None:
    found = constraints(connection, table, kind, column)
    if not found:
        connection.execute(text(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition} ({column})"))
    elif name not in found:
        old = _quoted(connection, found[0])
        connection.execute(text(f"ALTER TABLE {table} RENAME CONSTRAINT {old} TO {name}"))


def _sequence(connection: Connection, table: str) -> str:
    found: str | None = connection.execute(
        text("SELECT pg_get_serial_sequence(:table, 'id')"), {"table": table}
    ).scalar()
    if found is not None:
        return found
    # Somebody took the column's sequence away; it gets one of its own again.
    name = f"{table}_id_of_syncctl_seq"
    connection.execute(text(f"CREATE SEQUENCE {name} OWNED BY {table}.id"))
    connection.execute(text(f"ALTER TABLE {table} ALTER COLUMN id SET DEFAULT nextval('{name}')"))
    return name


def _alter(connection: Connection, target: Target, action: str) -> None:
    connection.execute(text(f"ALTER TABLE {target.table} ALTER COLUMN {target.name} {action}"))


def _update(connection: Connection, target: Target, value: str, where: str, now: datetime | None = None) -> int:
    statement = f"UPDATE {target.table} SET {target.name} = {value} WHERE {where}"
    parameters = {"now": now} if ":now" in value else {}
    return connection.execute(text(statement), parameters).rowcount


def _say_count(say: Callable[[str], None], count: int, sentence: str) -> None:
    if count:
        say(sentence)


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)
