"""Upgrades: what they make is what the code says, they are all or nothing, and they need no checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import upgrade as upgrade_to
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, Table, inspect, select, text

import syncctl
from syncctl.core.errors import DatabaseError, SchemaMismatch
from syncctl.core.fleet import FleetSettings
from syncctl.db.engine import connect, reading, writing
from syncctl.db.migrations import alembic_config, current, head, locked, upgrade
from syncctl.db.schema import HEAD, REVISIONS, check_schema
from syncctl.db.snapshot import read_snapshot
from syncctl.db.tables import fleet, metadata

ROOT = Path(__file__).parents[2]


def test_the_migrations_make_the_tables_of_the_code(engine: Engine) -> None:
    with reading(engine) as connection:
        options = {"compare_server_default": True, "version_table": "syncctl_version"}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_the_migrations_write_the_same_sql_as_the_code(engine: Engine, database_url: str) -> None:
    # What the comparison above does not look at: checks, names of constraints, AUTOINCREMENT.
    made_by_code = connect(database_url)
    with writing(made_by_code) as connection:
        metadata.create_all(connection)
    assert _constraints(made_by_code) == _constraints(engine)
    made_by_code.dispose()


def _constraints(engine: Engine) -> set[tuple[str, ...]]:
    queries = {
        "sqlite": "SELECT sql FROM sqlite_master"
        " WHERE sql IS NOT NULL AND type <> 'trigger' AND name NOT IN ('syncctl_version', 'sqlite_sequence')",
        "postgresql": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND conrelid <> coalesce(to_regclass('syncctl_version'), 0)",
    }
    with reading(engine) as connection:
        rows = {tuple(row) for row in connection.execute(text(queries[engine.dialect.name]))}
    if engine.dialect.name == "postgresql":
        return rows
    # SQLite keeps the statement itself, in which constraints may come in any order.
    parts = ("".join(sql.split()).removesuffix(")").split(",CONSTRAINT") for (sql,) in rows)
    return {tuple(sorted(statement)) for statement in parts}


def test_an_upgrade_says_what_it_does_and_from_where_to_where(database_url: str) -> None:
    engine = connect(database_url)
    heard: list[str] = []
    assert current(engine) is None
    done = upgrade(engine, heard.append)
    assert (done.before, done.after, done.changed) == (None, HEAD, True)
    assert heard == list(done.steps)
    assert heard[0] == "revision 0001: Make the tables, or adopt those of the Go service"
    assert len(heard) == len(REVISIONS)
    assert current(engine) == head() == HEAD
    engine.dispose()


def test_an_upgrade_of_what_is_up_to_date_does_nothing(engine: Engine) -> None:
    with reading(engine) as connection:
        before = connection.execute(select(fleet)).one()
    done = upgrade(engine)
    assert (done.before, done.after, done.changed, done.steps) == (HEAD, HEAD, False, ())
    with reading(engine) as connection:
        assert connection.execute(select(fleet)).one() == before


def test_every_database_is_a_fleet_of_its_own(postgres_url: str, sqlite_url: str) -> None:
    uuids = set()
    for url in (postgres_url, sqlite_url):
        engine = connect(url)
        upgrade(engine)
        with reading(engine) as connection:
            uuids.add(connection.execute(select(fleet.c.uuid)).scalar_one())
        engine.dispose()
    assert len(uuids) == 2


def test_a_database_of_an_earlier_revision_keeps_all_that_it_holds(database_url: str) -> None:
    engine = connect(database_url)
    _make(engine, "0005")
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO clients (client_name) VALUES ('acme')"))
        connection.execute(text("INSERT INTO begun_replacements VALUES (1, 'vwap', '2026-03-02 14:30:00', true)"))
        connection.execute(text("UPDATE lease SET holder = 'host-a, process 1', token = 7"))
    # What becomes of those that it makes or changes has tests of its own.
    there = {
        name: {column["name"] for column in columns}
        for (_, name), columns in inspect(engine).get_multi_columns().items()
    }
    tables = [table for table in metadata.sorted_tables if there.get(table.name) == set(table.columns.keys())]
    before = _rows(engine, tables)
    with reading(engine) as connection:
        named = tuple(connection.execute(text("SELECT * FROM fleet")).one())
        held = tuple(connection.execute(text("SELECT * FROM lease")).one())
    done = upgrade(engine)
    assert (done.before, done.after) == ("0005", HEAD)
    assert _rows(engine, tables) == before
    with reading(engine) as connection:
        row = tuple(connection.execute(text("SELECT * FROM fleet")).one())
        assert row[: len(named) + 1] == (*named, False)
        # Whoever holds it goes by the token, for a pass of the older syncctl may be at work.
        assert tuple(connection.execute(text("SELECT * FROM lease")).one()) == (*held, None)
    engine.dispose()


@pytest.mark.parametrize(
    ("row", "adopted"),
    [
        ("INSERT INTO clients (client_name, created_at) VALUES ('acme', '2020-02-29 12:00:00')", True),
        (
            "INSERT INTO adopted_algorithm_status (id, client_id, reason, original, adopted_at)"
            " VALUES (9, 1, 'merged into 1', '{}', '2026-03-02 14:30:00')",
            True,
        ),
        ("INSERT INTO clients (client_name) VALUES ('acme')", False),
    ],
    ids=["a client older than the fleet", "a row that was taken out", "a fleet of our own"],
)
def test_a4_a_fleet_that_was_adopted_before_is_known_by_its_rows(database_url: str, row: str, adopted: bool) -> None:
    engine = connect(database_url)
    _make(engine, "0005")
    with writing(engine) as connection:
        connection.execute(text(row))
    upgrade(engine)
    assert read_snapshot(engine, consume_restarts=False).go_service is adopted
    engine.dispose()


@pytest.mark.parametrize(
    ("rows", "unset"),
    [
        ([], False),
        (["INSERT INTO clients (client_name) VALUES ('acme')"], False),
        (["UPDATE fleet SET home = 'a1', home_name = 'namespace trading'"], True),
        (["INSERT INTO clients (client_name, spawned_at) VALUES ('acme', '2026-03-02 14:30:00')"], True),
        (
            [
                "INSERT INTO clients (client_name, spawned_at) VALUES ('acme', '2026-03-02 14:30:00')",
                "UPDATE fleet SET go_service = true",
            ],
            False,
        ),
        (
            [
                "INSERT INTO passes (started_at, finished_at, host, who, version, outcome, exit_code, counts)"
                " VALUES ('2026-03-02 14:30:00', '2026-03-02 14:30:01', 'a', 'b', '0.1.0', '1 pod', 0, '{}')",
            ],
            True,
        ),
    ],
    ids=["new", "clients and no pass", "a home", "pods", "the Go service's pods", "a pass"],
)
def test_a8_a_fleet_that_has_been_at_work_has_its_settings_unset(
    database_url: str, rows: list[str], unset: bool
) -> None:
    engine = connect(database_url)
    _make(engine, "0008")
    with writing(engine) as connection:
        for row in rows:
            connection.execute(text(row))
    upgrade(engine)
    assert read_snapshot(engine, consume_restarts=False).settings == (None if unset else FleetSettings())
    engine.dispose()


def _make(engine: Engine, revision: str) -> None:
    with locked(engine) as connection:
        config = alembic_config()
        config.attributes.update(connection=connection, say=lambda _step: None)
        upgrade_to(config, revision)


def _rows(engine: Engine, tables: list[Table]) -> dict[str, list[object]]:
    with reading(engine) as connection:
        return {table.name: list(connection.execute(select(table))) for table in tables}


def test_a_newer_database_is_not_touched(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("UPDATE syncctl_version SET version_num = 'abcd'"))
    with pytest.raises(SchemaMismatch, match="revision abcd"):
        upgrade(engine)
    assert current(engine) == "abcd"


def test_an_upgrade_that_fails_in_the_middle_leaves_nothing(database_url: str) -> None:
    engine = connect(database_url)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE passes (x INTEGER)"))
    with pytest.raises(DatabaseError, match="passes"):
        upgrade(engine)
    assert inspect(engine).get_table_names() == ["passes"]
    engine.dispose()


def test_a_file_with_clients_of_something_else_is_not_adopted(sqlite_url: str) -> None:
    engine = connect(sqlite_url)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE clients (x INTEGER)"))
    with pytest.raises(DatabaseError, match="syncctl did not make"):
        upgrade(engine)
    assert inspect(engine).get_table_names() == ["clients"]
    engine.dispose()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_connection_after_an_upgrade_minds_foreign_keys_again(engine: Engine) -> None:
    upgrade(engine)
    with reading(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_the_scripts_are_found_inside_the_package_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "100% site" / "syncctl"
    shutil.copytree(ROOT / "alembic", package / "migrations")
    monkeypatch.setattr(syncctl, "__file__", str(package / "__init__.py"))
    assert alembic_config().get_main_option("script_location") == str(package / "migrations")
    engine = connect(f"sqlite:///{tmp_path / 'syncctl.db'}")
    assert upgrade(engine).after == HEAD


def test_an_installation_without_scripts_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncctl, "__file__", str(tmp_path / "site" / "syncctl" / "__init__.py"))
    with pytest.raises(DatabaseError, match="the migrations are missing"):
        alembic_config()


def test_developers_can_use_alembic_itself(database_url: str) -> None:
    for command in (["upgrade", "head"], ["check"], ["current"]):
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *command],
            cwd=ROOT,
            env={**os.environ, "SYNCCTL_DATABASE_URL": database_url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert f"{HEAD} (head)" in done.stdout


# C8: the revision in a table of our own -------------------------------------------------------------------------------


def theirs(connection: Connection, *revisions: str) -> None:
    """Let another program note its revisions where Alembic does so usually."""
    connection.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)"))
    for revision in revisions:
        connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})


def noted(engine: Engine) -> dict[str, list[str]]:
    tables = [name for name in inspect(engine).get_table_names() if name.endswith("_version")]
    with reading(engine) as connection:
        return {name: sorted(connection.execute(text(f"SELECT version_num FROM {name}")).scalars()) for name in tables}


def as_before(engine: Engine, revision: str) -> None:
    """Have the tables of an old revision, noted in the shared table."""
    _make(engine, revision)
    with writing(engine) as connection:
        connection.execute(text("DROP TABLE syncctl_version"))
        theirs(connection, revision)


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("mixed", [[], ["ffff"]])
def test_c8_another_programs_revision_is_not_ours_whatever_it_is(
    database_url: str, revision: str, mixed: list[str]
) -> None:
    engine = connect(database_url)
    with writing(engine) as connection:
        theirs(connection, revision, *mixed)
    assert current(engine) is None
    with pytest.raises(SchemaMismatch, match="is empty"), reading(engine) as connection:
        check_schema(connection)
    assert upgrade(engine).before is None
    assert noted(engine) == {"alembic_version": sorted([revision, *mixed]), "syncctl_version": [HEAD]}
    with reading(engine) as connection:
        check_schema(connection)
    assert not upgrade(engine).changed


@pytest.mark.parametrize("revision", REVISIONS[: REVISIONS.index("0011")])
@pytest.mark.parametrize("others", [[], ["ffff"], ["0011"]])
def test_c8_what_was_noted_in_the_shared_table_is_taken_over(
    database_url: str, revision: str, others: list[str]
) -> None:
    engine = connect(database_url)
    as_before(engine, revision)
    with writing(engine) as connection:
        theirs(connection, *others)
    with (
        pytest.raises(SchemaMismatch, match=f"has revision {revision} and needs {HEAD}"),
        reading(engine) as connection,
    ):
        check_schema(connection)
    upgraded = upgrade(engine)
    assert (upgraded.before, upgraded.after) == (revision, HEAD)
    assert noted(engine) == {"syncctl_version": [HEAD], **({"alembic_version": others} if others else {})}
    assert not upgrade(engine).changed


def test_c8_an_upgrade_that_fails_has_taken_over_nothing(database_url: str) -> None:
    engine = connect(database_url)
    as_before(engine, "0003")
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE guard_latches (x INTEGER)"))
    with pytest.raises(DatabaseError, match="guard_latches"):
        upgrade(engine)
    assert noted(engine) == {"alembic_version": ["0003"]}


def test_c8_two_revisions_of_ours_are_an_error_and_no_traceback(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO syncctl_version VALUES ('0007')"))
    for act in (current, upgrade):
        with pytest.raises(SchemaMismatch, match=f"has 2 revisions in syncctl_version: 0007, {HEAD}"):
            act(engine)
