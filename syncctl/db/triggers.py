"""The triggers that write the change log: every change of a client, its algorithms and the fleet, whoever makes it.

Triggers, because psql, the Go service and TRUNCATE change rows too. In Postgres their function is SECURITY DEFINER, so
a user who may write clients needs no right on the log. What they look at follows from the tables' columns, so they are
made again after every migration.
"""

from collections.abc import Iterator

from sqlalchemy import Connection, Double, Table, text

from syncctl.core.changes import NO_CHANGE, TABLES
from syncctl.db.tables import metadata

PREFIX = "syncctl_changes_"
FUNCTION = "syncctl_note_change"

_NOTE = f"""
CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = %s, pg_temp
AS $$
DECLARE
  was jsonb;
  is_ jsonb;
  line jsonb;
  client bigint;
  called text;
BEGIN
  IF TG_OP IN ('UPDATE', 'DELETE') THEN was := to_jsonb(OLD) - '{{spawned_at,updated_at}}'::text[]; END IF;
  IF TG_OP IN ('INSERT', 'UPDATE') THEN is_ := to_jsonb(NEW) - '{{spawned_at,updated_at}}'::text[]; END IF;
  line := coalesce(is_, was);
  IF TG_TABLE_NAME = 'clients' THEN
    client := (line->>'id')::bigint;
    called := line->>'client_name';
  ELSIF TG_TABLE_NAME = 'algorithm_status' THEN
    client := (line->>'client_id')::bigint;
    -- A client that takes its algorithms along has gone by now; its name is in the log, if anywhere.
    called := coalesce(
      (SELECT client_name FROM clients WHERE id = client),
      (SELECT client_name FROM changes WHERE client_id = client AND client_name IS NOT NULL ORDER BY id DESC LIMIT 1));
  ELSIF TG_TABLE_NAME = 'suspensions' THEN
    client := (line->>'client_id')::bigint;
    called := line->>'client_name';
  END IF;
  IF TG_OP = 'UPDATE' THEN
    IF (was->'need_restart', is_->'need_restart') = ('true'::jsonb, 'false'::jsonb)
        AND (is_->>'restart_generation')::bigint = (was->>'restart_generation')::bigint + 1 THEN
      was := was - '{{need_restart,restart_generation}}'::text[];
    END IF;
    SELECT jsonb_object_agg(key, value), jsonb_object_agg(key, is_->key) INTO was, is_
      FROM jsonb_each(was) WHERE value IS DISTINCT FROM is_->key;
  END IF;
  LOOP
    INSERT INTO changes (at, table_name, op, row_id, client_id, client_name, before, after, actor, via, reason,
      db_user, app, address)
    VALUES (clock_timestamp(), TG_TABLE_NAME, lower(TG_OP), (line->>'id')::bigint, client, called, was, is_,
      nullif(current_setting('syncctl.actor', true), ''), nullif(current_setting('syncctl.via', true), ''),
      nullif(current_setting('syncctl.reason', true), ''),
      session_user, nullif(current_setting('application_name'), ''), host(inet_client_addr()))
      ON CONFLICT (id) DO NOTHING;
    EXIT WHEN FOUND;
    -- A restore has set the numbers back. That must keep nobody from stopping a process.
    PERFORM setval(numbers, greatest(nextval(numbers), (SELECT max(id) FROM changes)))
      FROM (SELECT pg_get_serial_sequence('changes', 'id')::regclass AS numbers) AS of_changes;
  END LOOP;
  RETURN NULL;
END $$
"""


def remove(connection: Connection) -> None:
    """Drop the triggers: while there are any, neither database lets a migration rebuild what they look at."""
    for name, table in _expected(connection).items():
        suffix = "" if connection.dialect.name == "sqlite" else f" ON {table.name}"
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}{suffix}")


def install(connection: Connection) -> None:
    """Make the triggers, instead of those that there are."""
    remove(connection)
    for statement in _statements(connection):
        connection.exec_driver_sql(statement)


def missing(connection: Connection) -> list[str]:
    """Return the names of the triggers that are not there, or are switched off."""
    if connection.dialect.name == "sqlite":
        found = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    else:
        # A restore with --disable-triggers that broke off leaves them disabled.
        found = text(
            "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
            " WHERE tgenabled IN ('O', 'A') AND pg_table_is_visible(tgrelid)"
        )
    there = set(connection.execute(found).scalars())
    return [name for name in _expected(connection) if name not in there]


def _expected(connection: Connection) -> dict[str, Table]:
    """Return the triggers that there should be, each with its table."""
    kinds = ("insert", "update", "delete", *(["truncate"] if connection.dialect.name == "postgresql" else []))
    return {f"{PREFIX}{name}_{kind}": metadata.tables[name] for name in TABLES for kind in kinds}


def _statements(connection: Connection) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        for name in TABLES:
            yield from _sqlite_triggers(metadata.tables[name])
        return
    schema = connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    yield (_NOTE % schema).replace("%", "%%")
    call = f"EXECUTE FUNCTION {FUNCTION}()"
    for name in TABLES:
        differs = _differs(metadata.tables[name], "IS DISTINCT FROM")
        yield f"CREATE TRIGGER {PREFIX}{name}_insert AFTER INSERT ON {name} FOR EACH ROW {call}"
        # Judged without a call: a pass moves spawned_at of thousands of rows.
        yield f"CREATE TRIGGER {PREFIX}{name}_update AFTER UPDATE ON {name} FOR EACH ROW WHEN ({differs}) {call}"
        yield f"CREATE TRIGGER {PREFIX}{name}_delete AFTER DELETE ON {name} FOR EACH ROW {call}"
        yield f"CREATE TRIGGER {PREFIX}{name}_truncate AFTER TRUNCATE ON {name} FOR EACH STATEMENT {call}"


def _columns(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.name not in NO_CHANGE]


def _differs(table: Table, unequal: str) -> str:
    return " OR ".join(_column_differs(name, unequal) for name in _columns(table))


def _column_differs(name: str, unequal: str) -> str:
    """Return the condition for a change of a column; a restart that a pass takes up is none."""
    differs = f"OLD.{name} {unequal} NEW.{name}"
    if name in ("need_restart", "restart_generation"):
        taken_up = "OLD.need_restart AND NOT NEW.need_restart AND NEW.restart_generation = OLD.restart_generation + 1"
        return f"({differs} AND NOT ({taken_up}))"
    return differs


def _sqlite_triggers(table: Table) -> Iterator[str]:
    differs = _differs(table, "IS NOT")
    for kind, row, before, after, when in (
        ("insert", "NEW", "NULL", _sqlite_whole(table, "NEW"), ""),
        ("update", "NEW", _sqlite_part(table, "OLD"), _sqlite_part(table, "NEW"), f" WHEN {differs}"),
        ("delete", "OLD", _sqlite_whole(table, "OLD"), "NULL", ""),
    ):
        client, called = "NULL", "NULL"
        if table.name == "clients":
            client, called = f"{row}.id", f"{row}.client_name"
        elif table.name == "algorithm_status":
            client = f"{row}.client_id"
            now = f"(SELECT client_name FROM clients WHERE id = {client})"
            known = f"SELECT client_name FROM changes WHERE client_id = {client} AND client_name IS NOT NULL"
            # A client that takes its algorithms along has gone by now; its name is in the log, if anywhere.
            called = f"coalesce({now}, ({known} ORDER BY id DESC LIMIT 1))"
        elif table.name == "suspensions":
            client, called = f"{row}.client_id", f"{row}.client_name"
        yield (
            f"CREATE TRIGGER {PREFIX}{table.name}_{kind} AFTER {kind.upper()} ON {table.name}{when} BEGIN"
            f" INSERT INTO changes (at, table_name, op, row_id, client_id, client_name, before, after)"
            f" VALUES (strftime('%Y-%m-%d %H:%M:%f', 'now'), '{table.name}', '{kind}', {row}.id, {client}, {called},"
            f" {before}, {after}); END"
        )


def _sqlite_whole(table: Table, row: str) -> str:
    pairs = ", ".join(f"'{name}', {_sqlite_value(table, name, row)}" for name in _columns(table))
    return f"json_object({pairs})"


def _sqlite_value(table: Table, name: str, row: str) -> str:
    """Return a column's value for JSON, which has no infinity: SQLite would write one all the same, as a bare word."""
    value = f"{row}.{name}"
    if isinstance(table.c[name].type, Double):
        return f"iif(abs({value}) > 1.7976931348623157e308, CAST({value} AS TEXT), {value})"
    return value


def _sqlite_part(table: Table, row: str) -> str:
    """Return the object of what differs."""
    each = " UNION ALL ".join(
        f"SELECT '{name}' AS name, {_sqlite_value(table, name, row)} AS value WHERE {_column_differs(name, 'IS NOT')}"
        for name in _columns(table)
    )
    return f"(SELECT json_group_object(name, value) FROM ({each}))"
