"""Doors of the database: what a transaction is on each, and what its failures become."""

import stat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import OperationalError

from syncctl.core.errors import DatabaseError, DatabaseUnavailable, SchemaMismatch
from syncctl.db import clients as db
from syncctl.db.address import read_address
from syncctl.db.engine import connect, reading, writing
from syncctl.db.faults import translate
from syncctl.db.tables import clients


def test_what_is_written_is_there_for_the_next_who_reads(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(insert(clients).values(client_name="acme"))
    with reading(engine) as connection:
        assert connection.execute(select(clients.c.client_name)).scalars().all() == ["acme"]


def test_a_body_that_raises_changes_nothing(engine: Engine) -> None:
    def fail() -> None:
        with writing(engine) as connection:
            connection.execute(insert(clients).values(client_name="acme"))
            raise RuntimeError("the body's own")

    with pytest.raises(RuntimeError, match="the body's own"):
        fail()
    with reading(engine) as connection:
        assert connection.execute(select(clients.c.id)).all() == []


def test_who_reads_sees_one_moment(engine: Engine) -> None:
    with reading(engine) as connection:
        assert connection.execute(select(clients.c.id)).all() == []
        with writing(engine) as other:
            other.execute(insert(clients).values(client_name="acme"))
        assert connection.execute(select(clients.c.id)).all() == []


def test_who_reads_cannot_write(engine: Engine) -> None:
    with pytest.raises(DatabaseError, match=r"read-?only"), reading(engine) as connection:
        connection.execute(insert(clients).values(client_name="acme"))
    with writing(engine) as connection:
        connection.execute(insert(clients).values(client_name="acme"))


@pytest.mark.parametrize("query", ["SELECT * FROM absent", "SELECT absent FROM clients"])
def test_a_missing_table_or_column_is_a_schema_mismatch(engine: Engine, query: str) -> None:
    with pytest.raises(SchemaMismatch, match="absent") as caught, reading(engine) as connection:
        connection.execute(text(query))
    assert caught.value.hint is not None
    assert "`syncctl db upgrade`" in caught.value.hint


def test_other_failures_are_database_errors_of_one_line(engine: Engine) -> None:
    with pytest.raises(DatabaseError, match="refused: ") as caught, reading(engine) as connection:
        connection.execute(text("SELEKT 1"))
    assert "\n" not in caught.value.message
    assert type(caught.value) is DatabaseError


def test_a_violated_constraint_that_nobody_knows_is_a_database_error(engine: Engine) -> None:
    with pytest.raises(DatabaseError, match="refused: "), writing(engine) as connection:
        connection.execute(text("INSERT INTO clients (client_name, restart_generation) VALUES ('acme', -1)"))


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "share" / "syncctl.db"
    path.parent.mkdir()
    engine = connect(f"sqlite:///{path}")
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (x)"))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"syncctl.db": 0o600, "syncctl.db-wal": 0o600, "syncctl.db-shm": 0o600}


def test_a_mistyped_path_makes_no_folders(tmp_path: Path) -> None:
    path = tmp_path / "dta" / "syncctl" / "syncctl.db"
    with pytest.raises(DatabaseUnavailable, match=f"there is no folder {path.parent}$") as caught:
        connect(f"sqlite:///{path}")
    assert caught.value.hint == "make the folder, or correct database_url (SYNCCTL_DATABASE_URL)"
    assert list(tmp_path.iterdir()) == []


def test_the_mode_of_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "syncctl.db"
    path.touch(0o640)
    path.chmod(0o640)
    connect(f"sqlite:///{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_sqlite_minds_foreign_keys_and_writes_ahead(engine: Engine) -> None:
    with reading(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        # Short, for it hears no signal; connections of ours try again.
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 100


def test_a_folder_that_cannot_be_is_an_unavailable_database(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnavailable, match=r"cannot open the database .*/file/x/syncctl.db"):
        connect(f"sqlite:///{tmp_path}/file/x/syncctl.db")
    with pytest.raises(DatabaseUnavailable, match="Is a directory"):
        connect(f"sqlite:///{tmp_path}")


def test_a_file_of_something_else_is_a_database_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database\n" * 100)
    with (
        pytest.raises(DatabaseError, match=r"notes.txt refused: file is not a database"),
        reading(connect(f"sqlite:///{tmp_path / 'notes.txt'}")),
    ):
        pass


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_postgres_knows_who_is_connected_and_keeps_its_clock_out(engine: Engine) -> None:
    with writing(engine) as connection:
        assert connection.execute(text("SHOW application_name")).scalar() == "syncctl"
        assert connection.execute(text("SHOW lock_timeout")).scalar() == "8s"
        assert connection.execute(text("SHOW transaction_isolation")).scalar() == "read committed"
    with reading(engine) as connection:
        assert connection.execute(text("SHOW transaction_isolation")).scalar() == "repeatable read"
        assert connection.execute(text("SHOW transaction_read_only")).scalar() == "on"


def test_a_server_that_nobody_answers_at_is_named(sqlite_url: str) -> None:
    with (
        pytest.raises(DatabaseUnavailable, match=r"^cannot reach the database at 127.0.0.1:1/desk: ") as caught,
        reading(connect("postgres://alice@127.0.0.1:1/desk")),
    ):
        pass
    assert "SYNCCTL_DATABASE_URL" in str(caught.value.hint)


def test_a_database_that_is_not_there_is_unavailable(postgres_url: str) -> None:
    with (
        pytest.raises(DatabaseUnavailable, match="does not exist") as caught,
        reading(connect(postgres_url.replace("/test_", "/no_test_"))),
    ):
        pass
    assert str(caught.value.hint).startswith("the server answers: are user, password and database name ")


def test_a_server_that_takes_nobody_just_now_is_not_asked_for_another_password(postgres_url: str) -> None:
    address = read_address(postgres_url)
    for words, told in {
        "FATAL:  the database system is starting up": "is it running",
        "FATAL:  sorry, too many clients already": "is it running",
        'FATAL:  password authentication failed for user "desk"': "the server answers",
    }.items():
        error = OperationalError("", {}, RuntimeError(f'connection to server at "db", port 5432 failed: {words}'))
        assert str(translate(error, address).hint).startswith(told)


def _kill_all_but(connection: Any) -> None:
    connection.execute(
        text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_connection_killed_while_a_list_is_read_is_an_error_and_no_short_list(
    engine: Engine, migrated_url: str
) -> None:
    with writing(engine) as connection:
        connection.execute(insert(clients), [{"client_name": f"client {number}"} for number in range(1201)])
    killer = connect(migrated_url)
    read = []

    def read_all() -> None:
        with reading(engine) as connection:
            for client in db.list_clients(connection):
                read.append(client)
                if len(read) == 1:
                    with writing(killer) as other:
                        _kill_all_but(other)

    with pytest.raises(DatabaseUnavailable, match=r"^cannot reach the database at "):
        read_all()
    assert 0 < len(read) < 1201
    killer.dispose()
    with reading(engine) as connection:
        assert len(list(db.list_clients(connection))) == 1201


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_server_that_restarted_between_two_commands_is_not_noticed(engine: Engine, migrated_url: str) -> None:
    with reading(engine) as connection:
        assert list(db.list_clients(connection)) == []
    killer = connect(migrated_url)
    with writing(killer) as other:
        _kill_all_but(other)
    killer.dispose()
    with reading(engine) as connection:
        assert list(db.list_clients(connection)) == []


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_lock_that_somebody_holds_for_ever_is_an_error(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(insert(clients).values(client_name="acme"))

    def wait() -> None:
        with writing(engine) as holder, writing(engine) as waiter:
            holder.execute(text("LOCK TABLE clients"))
            waiter.execute(text("SET LOCAL lock_timeout = '1ms'"))
            waiter.execute(text("UPDATE clients SET version = 2"))

    with pytest.raises(DatabaseError, match=r"another transaction .* was in the way: canceling") as caught:
        wait()
    assert str(caught.value.hint).startswith("nothing was changed; ")
