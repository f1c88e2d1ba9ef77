"""The change log: every change of a row is noted, whoever makes it, with who that was."""

import json
import math
import sqlite3
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Engine, Text, select, text, update

from syncctl.core.changes import Author, Change
from syncctl.core.documents import change_document
from syncctl.core.errors import ClientExists, ClientNotFound, InvalidInput, UsageError
from syncctl.core.fleet import FleetSettings
from syncctl.core.memory import Home
from syncctl.core.model import Algorithm, Client, ClientChanges, NewClient
from syncctl.db import triggers
from syncctl.db.engine import reading, writing, written_by
from syncctl.db.fleet import store_settings
from syncctl.db.history import forget_passes
from syncctl.db.home import store_home
from syncctl.db.migrations import locked, upgrade
from syncctl.db.snapshot import read_snapshot
from syncctl.db.spawned import record_spawned
from syncctl.db.tables import changes, deleted_clients
from syncctl.operations import clients
from syncctl.operations.algorithms import set_algorithms
from syncctl.operations.changes import list_changes, revert_changes, undelete_client

ANNA = Author("anna@desk7", "syncctl client update", "the exchange asked")
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def desk(engine: Engine) -> Engine:
    """The database, written to by Anna."""
    return written_by(engine, ANNA)


@pytest.fixture
def acme(desk: Engine) -> Client:
    return clients.add_client(desk, NewClient("acme", image="a:1", algorithms=frozenset({Algorithm.VWAP})))


def revert_change(engine: Engine, client: str, number: int | None, **options: bool) -> tuple[Change, Client, Client]:
    (done,) = revert_changes(engine, [client], number, **options)
    return done


def told(engine: Engine, **which: object) -> list[tuple[str, str]]:
    return [(change.who, change.what) for change in list_changes(engine, **which)]  # type: ignore[arg-type]


def raw(engine: Engine, *statements: str) -> None:
    """Run statements as psql, or the sqlite3 shell, would."""
    if engine.dialect.name == "sqlite":
        shell = sqlite3.connect(str(engine.url.database), isolation_level=None)
        shell.execute("PRAGMA foreign_keys = ON")
    else:
        shell = psycopg2.connect(str(engine.url).replace("+psycopg2", ""), application_name="psql")
        shell.autocommit = True
    for statement in statements:
        shell.cursor().execute(statement)
    shell.close()


def test_what_is_added_changed_and_deleted_is_noted_with_who_and_why(
    engine: Engine, desk: Engine, acme: Client
) -> None:
    clients.update_client(desk, "acme", ClientChanges(image="a:2"))
    set_algorithms(desk, "acme", {Algorithm.TWAP: True, Algorithm.VWAP: False})
    clients.restart_client(desk, "acme")
    clients.delete_client(desk, "acme")
    found = list(list_changes(engine))
    assert [change.what for change in reversed(found[2:])] + sorted(change.what for change in found[:2]) == [
        "added: version 1, image a:1, priority 1",
        "algorithms added: vwap",
        "version 1 -> 2, image a:1 -> a:2",
        "vwap off, twap on",
        "restart asked for",
        "algorithms deleted: twap",
        "deleted: version 2, image a:2, priority 1, restart asked for",
    ]
    assert {(change.actor, change.via, change.reason) for change in found} == {(ANNA.actor, ANNA.via, ANNA.reason)}
    assert {(change.client_id, change.client_name) for change in found} == {(acme.id, "acme")}
    assert all(abs(change.at - datetime.now(UTC)) < timedelta(minutes=1) for change in found)
    if engine.dialect.name == "postgresql":
        assert {(change.db_user, change.app) for change in found} == {("postgres", "syncctl")}


def test_what_differs_is_kept_and_nothing_else(engine: Engine, desk: Engine, acme: Client) -> None:
    clients.update_client(desk, "acme", ClientChanges(image="a:2", version=1))
    (change,) = list_changes(engine, limit=1)
    assert (change.before, change.after) == ({"image": "a:1"}, {"image": "a:2"})


def test_what_a_pass_moves_by_itself_is_no_change(engine: Engine, desk: Engine, acme: Client) -> None:
    clients.restart_client(desk, "acme")
    before = told(engine)
    assert read_snapshot(engine, consume_restarts=True).clients[0].restart_generation == 1
    with writing(engine) as connection:
        record_spawned(connection, [acme.id], NOW)
    assert told(engine) == before


def test_a_generation_that_somebody_else_raises_is_a_change(engine: Engine, acme: Client) -> None:
    raw(engine, "UPDATE clients SET restart_generation = 1")
    assert told(engine, limit=1)[0][1] == "restart_generation 0 -> 1"


def test_a_write_that_changes_nothing_is_none(engine: Engine, desk: Engine, acme: Client) -> None:
    before = told(engine)
    clients.update_client(desk, "acme", ClientChanges(image="a:1", version=1))
    set_algorithms(desk, "acme", {Algorithm.VWAP: True})
    assert told(engine) == before


def test_what_others_write_is_noted_as_the_database_knows_them(engine: Engine, desk: Engine, acme: Client) -> None:
    # Before and after a transaction of ours, on SQLite too, where it signs what came since it began.
    raw(engine, "UPDATE clients SET cpu = '1'")
    clients.update_client(desk, "acme", ClientChanges(memory="1Gi"))
    raw(engine, "UPDATE clients SET cpu = '2'", "DELETE FROM clients")
    them = "database user postgres from psql" if engine.dialect.name == "postgresql" else "somebody past syncctl"
    assert [who for who, _ in told(engine)][:5] == [them, them, them, "anna@desk7", them]
    assert told(engine)[2] == (them, "cpu 1 -> 2")
    assert list_changes(engine, client="acme", limit=1).__next__().op == "delete"


@pytest.mark.parametrize("backend", ["postgres"])
def test_a_truncate_is_noted(engine: Engine, acme: Client) -> None:
    raw(engine, "TRUNCATE clients CASCADE")
    who = "database user postgres from psql"
    assert sorted(told(engine, limit=2)) == [(who, "TRUNCATE algorithm_status"), (who, "TRUNCATE clients")]


@pytest.mark.parametrize("backend", ["postgres"])
def test_who_has_no_right_on_the_log_writes_all_the_same_and_is_noted(engine: Engine, acme: Client) -> None:
    with writing(engine) as connection:
        connection.execute(text("DROP ROLE IF EXISTS desk_rw"))
        connection.execute(text("CREATE ROLE desk_rw LOGIN"))
        connection.execute(text("GRANT SELECT, UPDATE ON clients TO desk_rw"))
    try:
        theirs = psycopg2.connect(str(engine.url.set(username="desk_rw")).replace("+psycopg2", ""))
        theirs.cursor().execute("UPDATE clients SET image = 'a:9'")
        # A table of theirs by the same name is not what the trigger writes to.
        theirs.cursor().execute("SET search_path = pg_temp, public")
        theirs.cursor().execute("CREATE TEMP TABLE changes (id int)")
        theirs.cursor().execute("UPDATE clients SET image = 'a:10'")
        theirs.commit()
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            theirs.cursor().execute("SELECT * FROM public.changes")
        theirs.close()
        assert told(engine, limit=2) == [
            ("database user desk_rw", "image a:9 -> a:10"),
            ("database user desk_rw", "image a:1 -> a:9"),
        ]
    finally:
        with writing(engine) as connection:
            connection.execute(text("DROP OWNED BY desk_rw"))
            connection.execute(text("DROP ROLE desk_rw"))


def test_the_fleets_settings_and_its_home_are_noted(engine: Engine, desk: Engine) -> None:
    with writing(desk) as connection:
        store_settings(connection, FleetSettings(default_image="a:1"))
        store_home(connection, Home("uid-1", "trading"), instead_of=None)
    assert told(engine, table="fleet") == [
        ("anna@desk7", "home none -> uid-1, home_name none -> trading"),
        ("anna@desk7", "default_image none -> a:1"),
    ]


def test_changes_are_found_by_client_author_table_and_time(engine: Engine, desk: Engine, acme: Client) -> None:
    bob = written_by(engine, Author("bob", "POST /api/client"))
    globex = clients.add_client(bob, NewClient("globex"))
    raw(engine, f"UPDATE clients SET cpu = '1' WHERE id = {globex.id}")
    assert {change.client_name for change in list_changes(engine, client="globex")} == {"globex"}
    assert {change.client_name for change in list_changes(engine, by="anna")} == {"acme"}
    assert {change.client_name for change in list_changes(engine, by="bob")} == {"globex"}
    assert len(list(list_changes(engine, table="algorithm_status"))) == 2
    assert list(list_changes(engine, within=timedelta(0))) == []
    assert len(list(list_changes(engine, within=timedelta(minutes=1)))) == 5
    clients.delete_client(desk, "globex")
    assert (
        len(list(list_changes(engine, client="globex"))) == len(list(list_changes(engine, client=str(globex.id)))) == 5
    )
    with pytest.raises(ClientNotFound):
        list(list_changes(engine, client="initech"))


def test_a_rolled_back_change_is_none(engine: Engine, desk: Engine, acme: Client) -> None:
    before = told(engine)
    with pytest.raises(InvalidInput):
        clients.update_client(desk, "acme", ClientChanges(image="no image"))
    assert told(engine) == before


def test_a_fleet_may_demand_a_reason_of_the_command_line(engine: Engine, acme: Client) -> None:
    with writing(engine) as connection:
        store_settings(connection, FleetSettings(require_reason=True))
    without = Author("anna", "syncctl client restart", needs_reason=True)
    with pytest.raises(UsageError, match="takes no change without a reason") as caught:
        clients.restart_client(written_by(engine, without), "acme")
    assert "--reason" in str(caught.value.hint)
    assert not clients.get_client(engine, "acme").need_restart
    clients.restart_client(written_by(engine, Author("bob", "POST /api/client/1/restart")), "acme")
    assert clients.get_client(engine, "acme").need_restart


def test_old_changes_are_forgotten_and_others_kept(engine: Engine, desk: Engine, acme: Client) -> None:
    newer, older = list_changes(engine)
    with writing(engine) as connection:
        for change, days in ((older, 401), (newer, 399)):
            then = datetime.now(UTC) - timedelta(days=days)
            connection.execute(update(changes).where(changes.c.id == change.id).values(at=then))
    forget_passes(engine, 30, 400)
    assert [change.id for change in list_changes(engine)] == [newer.id]


def test_numbers_that_a_restore_has_set_back_keep_nobody_from_writing(
    engine: Engine, desk: Engine, acme: Client
) -> None:
    before = told(engine)
    if engine.dialect.name == "postgresql":
        raw(engine, "SELECT setval(pg_get_serial_sequence('changes', 'id'), 1)")
    else:
        raw(engine, "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'changes'")
    set_algorithms(desk, "acme", {Algorithm.VWAP: False})
    clients.restart_client(desk, "acme")
    assert told(engine) == [("anna@desk7", "restart asked for"), ("anna@desk7", "vwap off"), *before]


def test_what_json_has_no_word_for_is_kept_and_comes_back(engine: Engine, desk: Engine, acme: Client) -> None:
    infinity = "9e999" if engine.dialect.name == "sqlite" else "'infinity'"
    raw(engine, f"UPDATE clients SET priority = {infinity}", "UPDATE clients SET priority = 2")
    last, first = list_changes(engine, limit=2)
    assert (first.before, str(first.after and first.after["priority"])[:3]) == ({"priority": 1}, "Inf")
    json.dumps(change_document(first), allow_nan=False)
    with pytest.raises(InvalidInput, match="priority"):
        revert_change(desk, "acme", last.id)
    raw(engine, f"UPDATE clients SET priority = {infinity}", "DELETE FROM clients")
    assert undelete_client(desk, "acme").priority == math.inf


# The triggers


def lost(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return triggers.missing(connection)


def test_every_table_has_its_triggers(engine: Engine) -> None:
    kinds = ["insert", "update", "delete"] + ["truncate"] * (engine.dialect.name == "postgresql")
    expected = [
        f"syncctl_changes_{table}_{kind}"
        for table in ("clients", "algorithm_status", "fleet", "suspensions")
        for kind in kinds
    ]
    with reading(engine) as connection:
        assert list(triggers._expected(connection)) == expected
    assert lost(engine) == []


def test_lost_triggers_are_seen_and_made_again_by_an_upgrade(engine: Engine, desk: Engine, acme: Client) -> None:
    suffix = " ON clients" if engine.dialect.name == "postgresql" else ""
    raw(engine, f"DROP TRIGGER syncctl_changes_clients_update{suffix}")
    assert lost(engine) == ["syncctl_changes_clients_update"]
    done = upgrade(engine)
    assert done.changed
    assert "syncctl_changes_clients_update" in done.steps[0]
    assert lost(engine) == []
    clients.update_client(desk, "acme", ClientChanges(image="a:2"))
    assert told(engine, limit=1) == [("anna@desk7", "version 1 -> 2, image a:1 -> a:2")]


@pytest.mark.parametrize("backend", ["postgres"])
@pytest.mark.parametrize("how", ["DISABLE TRIGGER ALL", "ENABLE REPLICA TRIGGER syncctl_changes_clients_delete"])
def test_triggers_that_are_switched_off_are_seen(engine: Engine, how: str) -> None:
    raw(engine, f"ALTER TABLE clients {how}")
    assert "syncctl_changes_clients_delete" in lost(engine)
    upgrade(engine)
    assert lost(engine) == []


def test_a_migration_rebuilds_tables_and_the_triggers_are_made_again(engine: Engine) -> None:
    with locked(engine) as connection:
        triggers.remove(connection)
        operations = Operations(MigrationContext.configure(connection))
        # SQLite's batch mode copies the table, drops it and renames the copy.
        sqlite = engine.dialect.name == "sqlite"
        with operations.batch_alter_table("clients", recreate="always" if sqlite else "never") as batch:
            batch.alter_column("image", type_=Text())
    upgrade(engine)
    assert lost(engine) == []
    raw(engine, "INSERT INTO clients (client_name, image) VALUES ('acme', 'a:1')")
    assert told(engine)[0][1] == "added: version 1, image a:1, priority 1"


def test_a_migration_of_ours_takes_the_triggers_away_first(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from syncctl.db import migrations

    seen: list[list[str]] = []

    def look(config: Config, _revision: str) -> None:
        seen.append(triggers.missing(config.attributes["connection"]))

    raw(engine, "UPDATE syncctl_version SET version_num = '0011'")
    monkeypatch.setattr(migrations.command, "upgrade", look)
    upgrade(engine)
    with reading(engine) as connection:
        assert seen == [list(triggers._expected(connection))]
    assert lost(engine) == []


# Taking a change back


@pytest.fixture
def changed(desk: Engine, acme: Client) -> Change:
    """The change of acme's image."""
    clients.update_client(desk, "acme", ClientChanges(image="a:2"))
    (change,) = list_changes(desk, limit=1)
    return change


def test_the_last_change_is_taken_back_as_a_new_one(desk: Engine, acme: Client, changed: Change) -> None:
    undone, before, after = revert_change(desk, "acme", None)
    assert (undone, before.image, after.image, after.version) == (changed, "a:2", "a:1", 1)
    (change,) = list_changes(desk, limit=1)
    assert (change.what, change.reason) == (
        "version 2 -> 1, image a:2 -> a:1",
        f"reverts change {changed.id}: the exchange asked",
    )
    # And that one in its turn.
    assert revert_change(desk, "acme", None)[2].image == "a:2"


def test_a_change_of_algorithms_and_an_earlier_one_are_taken_back(desk: Engine, acme: Client, changed: Change) -> None:
    set_algorithms(desk, "acme", {Algorithm.VWAP: False})
    assert revert_change(desk, "acme", changed.id)[2].image == "a:1"
    assert revert_change(desk, "acme", changed.id + 1)[2].algorithms.on == (Algorithm.VWAP,)  # type: ignore[union-attr]


def test_what_has_been_touched_since_is_left_unless_a_person_says_so(
    desk: Engine, acme: Client, changed: Change
) -> None:
    clients.update_client(desk, "acme", ClientChanges(image="a:3"))
    with pytest.raises(InvalidInput, match=rf"change {changed.id + 1} by anna@desk7 has touched image, version since"):
        revert_change(desk, "acme", changed.id)
    assert clients.get_client(desk, "acme").image == "a:3"
    assert revert_change(desk, "acme", changed.id, past_later=True)[2].image == "a:1"


def test_a_dry_run_changes_nothing(desk: Engine, acme: Client, changed: Change) -> None:
    assert revert_change(desk, "acme", None, dry_run=True)[2].image == "a:1"
    assert clients.get_client(desk, "acme").image == "a:2"
    assert next(list_changes(desk, limit=1)) == changed


def test_what_is_taken_back_already_stays_and_nothing_is_noted(desk: Engine, acme: Client, changed: Change) -> None:
    clients.update_client(desk, "acme", ClientChanges(image="a:1", version=1))
    _, before, after = revert_change(desk, "acme", changed.id, past_later=True)
    assert (before.image, after.image) == ("a:1", "a:1")
    assert len(list(list_changes(desk))) == 4


def test_what_would_be_no_client_is_refused(engine: Engine, desk: Engine, acme: Client) -> None:
    raw(engine, "UPDATE clients SET image = 'no image'", "UPDATE clients SET image = 'a:2'")
    with pytest.raises(InvalidInput, match="image"):
        revert_change(desk, "acme", None)
    assert clients.get_client(desk, "acme").image == "a:2"


@pytest.mark.parametrize(
    ("after_the_first", "message"),
    [
        (0, "added it"),
        (2, 'is none of client "acme"'),
        (99, "is not in the change log"),
        (2**63, "is not in the change log"),
    ],
)
def test_what_cannot_be_taken_back_says_why(desk: Engine, acme: Client, after_the_first: int, message: str) -> None:
    clients.add_client(desk, NewClient("globex"))
    first = min(change.id for change in list_changes(desk))
    with pytest.raises(InvalidInput, match=f"change {first + after_the_first}: {message}"):
        revert_change(desk, "acme", first + after_the_first)


# Bringing a client back


@pytest.mark.parametrize("how", ["by syncctl", "DELETE FROM clients"])
def test_a_deleted_client_comes_back_as_it_was_with_its_ids(
    engine: Engine, desk: Engine, acme: Client, how: str
) -> None:
    clients.restart_client(desk, "acme")
    was = read_snapshot(engine, consume_restarts=True).clients[0]
    if how == "by syncctl":
        clients.delete_client(desk, "acme")
    else:
        raw(engine, how)
    back = undelete_client(desk, "acme")
    assert (back.id, back.algorithms, back.restart_generation) == (acme.id, acme.algorithms, 1)
    assert (back.image, back.created_at, back.version) == (was.image, was.created_at, was.version)
    assert len(read_snapshot(engine, consume_restarts=False).clients) == 1
    with reading(engine) as connection:
        assert connection.execute(select(deleted_clients)).all() == []
    # Ids that are given later are new ones.
    assert clients.add_client(desk, NewClient("globex")).id > acme.id


def test_a_client_whose_name_or_id_is_taken_is_not_brought_back(engine: Engine, desk: Engine, acme: Client) -> None:
    clients.delete_client(desk, "acme")
    other = clients.add_client(desk, NewClient("acme"))
    with pytest.raises(ClientExists):
        undelete_client(desk, str(acme.id))
    clients.update_client(desk, other.id, ClientChanges(name="other"))
    raw(engine, f"UPDATE algorithm_status SET id = {acme.algorithms.id} WHERE client_id = {other.id}")  # type: ignore[union-attr]
    with pytest.raises(InvalidInput, match=f"the number of its pods, 1, is that of client {other.id}"):
        undelete_client(desk, "acme")
    assert [client.name for client in clients.list_clients(engine)] == ["other"]


def test_a_client_that_was_never_there_is_not_brought_back(desk: Engine, acme: Client) -> None:
    for reference in ("initech", "7", "acme"):
        with pytest.raises(ClientNotFound):
            undelete_client(desk, reference)
