"""A source that cannot be read whole deletes nothing; one that is whole and suspicious is refused by the guard."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from syncctl.core.errors import SchemaMismatch
from syncctl.core.exits import ExitCode
from syncctl.core.report import Result
from syncctl.db.engine import writing
from syncctl.db.schema import HEAD, open_database

from .world import World, add_rows, change_row

CLIENTS = range(1, 16)


@pytest.fixture
def running(engine: Engine, tmp_path: Path) -> Iterator[World]:
    """A fleet of fifteen pods that are as they should be; none of them may go. One asks for a restart."""
    with World(engine, tmp_path) as world:
        add_rows(engine, dict.fromkeys(CLIENTS, "vwap"))
        assert world.run().code is ExitCode.DONE
        world.settle()
        change_row(engine, 1, need_restart=True)
        yield world
        assert world.violations == []
        assert len(world.pods()) == len(CLIENTS)


def execute(engine: Engine, *statements: str) -> None:
    with writing(engine) as connection:
        for statement in statements:
            connection.execute(text(statement))


def nothing_written(world: World, message: str) -> None:
    """Run a pass that must end with an error before it writes anything."""
    ended = world.run()
    assert (ended.code, ended.writes) == (ExitCode.ERROR, 0)
    assert ended.error
    assert message in ended.error.message
    with world.engine.connect() as connection:
        if message != "has not the tables":
            assert connection.execute(text("SELECT need_restart FROM clients WHERE id = 1")).scalar_one() in (True, 1)


@pytest.mark.parametrize(
    "table",
    [
        "clients",
        "algorithm_status",
        "deleted_clients",
        "fleet",
        "lease",
        "back_offs",
        "begun_replacements",
        "guard_latches",
        "guard_allowances",
    ],
)
def test_a_table_that_is_missing_stops_the_pass(running: World, table: str) -> None:
    execute(running.engine, f"ALTER TABLE {table} RENAME TO elsewhere")
    nothing_written(running, "has not the tables")


@pytest.mark.parametrize("column", ["clients.restart_generation", "algorithm_status.hft", "lease.token"])
def test_a_column_that_is_missing_stops_the_pass(running: World, column: str) -> None:
    table, name = column.split(".")
    execute(running.engine, f"ALTER TABLE {table} RENAME COLUMN {name} TO elsewhere")
    nothing_written(running, "has not the tables")


@pytest.mark.parametrize("revision", ["0001", "9999"])
@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_schema_of_another_version_is_not_even_opened(running: World, migrated_url: str, revision: str) -> None:
    execute(running.engine, f"UPDATE syncctl_version SET version_num = '{revision}'")
    with pytest.raises(SchemaMismatch, match=f"has revision {revision}") as refused:
        open_database(migrated_url)
    assert HEAD in refused.value.message


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_standby_is_refused_by_the_whole_pass(running: World) -> None:
    # What a standby itself would answer, found before Postgres' own answer.
    execute(
        running.engine,
        "CREATE SCHEMA fake",
        "CREATE FUNCTION fake.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        f"ALTER DATABASE {running.engine.url.database} SET search_path = fake, public, pg_catalog",
    )
    running.engine.dispose()
    nothing_written(running, "the database is a standby: what it shows may be old")


@pytest.mark.parametrize("rows", ["", "two"])
def test_a_fleet_without_its_one_uuid_stops_the_pass(running: World, rows: str) -> None:
    if rows:
        execute(
            running.engine,
            "ALTER TABLE fleet RENAME TO old_fleet",
            "CREATE TABLE fleet AS SELECT * FROM old_fleet UNION ALL SELECT * FROM old_fleet",
        )
    else:
        execute(running.engine, "DELETE FROM fleet")
    nothing_written(running, "the table fleet has ")


def test_an_answer_that_is_short_of_rows_stops_the_pass(running: World) -> None:
    # As a driver or a pooler would that loses rows on the way: the answer is cut to ten.
    def short(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> tuple[str, Any]:
        reads_clients = "JOIN algorithm_status" in statement
        return (f"{statement} LIMIT 10" if reads_clients else statement), parameters

    event.listen(running.engine, "before_cursor_execute", short, retval=True)
    nothing_written(running, "the database answered with 10 clients and then counted 15")


def test_a_connection_that_breaks_between_rows_stops_the_pass(running: World) -> None:
    def breaks(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if "JOIN algorithm_status" in statement:
            raise running.engine.dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    event.listen(running.engine, "after_cursor_execute", breaks)
    nothing_written(running, "server closed the connection unexpectedly")


@pytest.mark.parametrize("table", ["clients", "algorithm_status"])
def test_a_table_that_was_emptied_by_mistake_is_refused_by_the_guard(running: World, table: str) -> None:
    execute(running.engine, f"CREATE TABLE kept AS SELECT * FROM {table}", f"DELETE FROM {table}")
    for _ in range(2):
        ended = running.run()
        assert (ended.code, ended.writes) == (ExitCode.REFUSED, 0)
        assert set(ended.results().values()) == {Result.REFUSED}
        assert len(ended.results()) == len(CLIENTS)
        assert ended.report
        assert "15 of 15 live pods (100%)" in ended.report.refusals[0].message
        running.settle()


def test_a_database_that_is_not_the_one_owns_nothing(running: World) -> None:
    execute(
        running.engine,
        "UPDATE fleet SET uuid = '8d5b6f2e-5c0a-4d5e-9a55-6f1c3a1f7b11'",
        "DELETE FROM algorithm_status",
        "DELETE FROM clients",
    )
    ended = running.run()
    assert (ended.code, ended.writes, ended.results()) == (ExitCode.DONE, 0, {})


def test_a_restored_copy_with_another_uuid_conflicts_by_name_and_harms_nothing(running: World) -> None:
    execute(running.engine, "UPDATE fleet SET uuid = '8d5b6f2e-5c0a-4d5e-9a55-6f1c3a1f7b11'")
    ended = running.run()
    assert (ended.code, ended.writes) == (ExitCode.INCOMPLETE, 0)
    assert set(ended.results().values()) == {Result.CONFLICT}
