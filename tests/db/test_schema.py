"""A database of another kind or age is named for what it is, and only SQLite is upgraded without a word."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from syncctl.core.errors import DatabaseUnavailable, SchemaMismatch
from syncctl.db import schema
from syncctl.db.engine import connect, reading, writing
from syncctl.db.migrations import alembic_config
from syncctl.db.schema import HEAD, REVISIONS, check_schema, open_database


def _check(engine: Engine) -> None:
    with reading(engine) as connection:
        check_schema(connection)


def test_the_revisions_in_the_code_are_those_of_the_scripts() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == REVISIONS
    assert scripts.get_heads() == [HEAD]


def test_a_database_of_this_version_passes(engine: Engine) -> None:
    _check(engine)


def test_an_empty_database_is_named_so(database_url: str) -> None:
    engine = connect(database_url)
    with pytest.raises(SchemaMismatch, match="is empty") as caught:
        _check(engine)
    assert caught.value.hint == "`syncctl db upgrade` makes the tables"
    engine.dispose()


def test_a_database_of_the_go_service_is_named_so(database_url: str) -> None:
    engine = connect(database_url)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE clients (id INTEGER)"))
    with pytest.raises(SchemaMismatch, match="syncctl did not make") as caught:
        _check(engine)
    assert "`syncctl db upgrade` adopts" in str(caught.value.hint)
    engine.dispose()


def test_an_older_database_is_named_so(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "REVISIONS", (*REVISIONS, "9999"))
    monkeypatch.setattr(schema, "HEAD", "9999")
    with pytest.raises(SchemaMismatch, match=f"has revision {HEAD} and needs 9999") as caught:
        _check(engine)
    assert "`syncctl db upgrade`" in str(caught.value.hint)


def test_a_newer_database_is_named_so(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("UPDATE syncctl_version SET version_num = 'abcd'"))
    with pytest.raises(SchemaMismatch, match=f"has revision abcd, and this syncctl knows them up to {HEAD}") as caught:
        _check(engine)
    assert caught.value.hint == "a newer syncctl has upgraded it: use that one"


def test_a_sqlite_file_is_made_and_filled_on_first_use(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'syncctl.db'}"
    for _ in range(2):
        _check(open_database(url))


def test_a_file_with_tables_of_something_else_is_left_alone(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'notes.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (x)"))
    with pytest.raises(SchemaMismatch):
        open_database(f"sqlite:///{tmp_path / 'notes.db'}")
    assert inspect(engine).get_table_names() == ["notes"]
    engine.dispose()


def test_postgres_is_never_filled_without_a_word(postgres_url: str) -> None:
    with pytest.raises(SchemaMismatch, match="is empty"):
        open_database(postgres_url)
    engine = connect(postgres_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_migrated_database_opens(migrated_url: str) -> None:
    engine = open_database(migrated_url)
    _check(engine)
    engine.dispose()


def test_an_unreachable_database_is_unavailable_and_not_empty() -> None:
    with pytest.raises(DatabaseUnavailable):
        open_database("postgres://alice@127.0.0.1:1/desk")


def test_a_database_that_is_up_to_date_needs_no_alembic(migrated_url: str) -> None:
    code = (
        "import sys; from syncctl.db.schema import open_database; open_database(sys.argv[1]).dispose();"
        " sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, migrated_url], check=True)
