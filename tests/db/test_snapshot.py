"""A snapshot of the fleet is whole, or it is an error."""

import math
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine, delete, insert, select, text

from syncctl.core.errors import DatabaseError, DatabaseUnavailable, StalePlan
from syncctl.core.model import Algorithm, Client, ClientChanges, NewClient
from syncctl.core.shard import Shard
from syncctl.core.snapshot import Snapshot
from syncctl.db import clients as db
from syncctl.db.engine import connect, reading, writing
from syncctl.db.rows import BATCH
from syncctl.db.snapshot import read_snapshot
from syncctl.db.tables import algorithm_status, clients, deleted_clients, fleet

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
A_MOMENT = timedelta(seconds=20)
"""How far the test's clock and the database's may be apart."""


def _add(engine: Engine, *names: str) -> list[Client]:
    with writing(engine) as connection:
        return [
            db.insert_client(connection, NewClient(name, algorithms=frozenset({Algorithm.TWAP})), NOW) for name in names
        ]


def _execute(engine: Engine, statements: Iterable[str]) -> None:
    with writing(engine) as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_an_empty_fleet_is_a_snapshot_with_a_uuid(engine: Engine) -> None:
    snapshot = read_snapshot(engine, consume_restarts=True)
    assert len(snapshot.fleet) == 36
    assert (snapshot.clients, snapshot.deleted) == ((), {})


def test_b4_it_has_the_databases_time_of_the_moment_when_it_was_read(engine: Engine) -> None:
    # A row that somebody has locked keeps it waiting; the time is that of the reading, not of the transaction's start.
    for consume in (False, True):
        before = datetime.now(UTC)
        snapshot = read_snapshot(engine, consume_restarts=consume)
        assert snapshot.now.tzinfo is UTC
        assert before - A_MOMENT <= snapshot.now <= datetime.now(UTC) + A_MOMENT
        assert read_snapshot(engine, consume_restarts=consume).now >= snapshot.now


@pytest.mark.parametrize("backend", ["postgres"])
def test_b4_a_snapshot_that_had_to_wait_for_a_lock_is_not_as_old_as_its_transaction(engine: Engine) -> None:
    _add(engine, "acme")
    _execute(engine, ["UPDATE clients SET need_restart = true"])
    with ThreadPoolExecutor(1) as pool:
        with writing(engine) as connection:
            connection.execute(text("SELECT id FROM clients FOR UPDATE"))
            waiting = pool.submit(read_snapshot, engine, consume_restarts=True)
            _until_somebody_waits(engine)
            let_go = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        assert waiting.result().now > let_go


def _until_somebody_waits(engine: Engine) -> None:
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    for _ in range(200):
        with reading(engine) as connection:
            if connection.execute(query).scalar_one():
                return
        time.sleep(0.05)
    raise AssertionError("nobody waits for the lock")


def test_the_uuid_stays(engine: Engine) -> None:
    first = read_snapshot(engine, consume_restarts=True)
    _add(engine, "acme")
    assert read_snapshot(engine, consume_restarts=False).fleet == first.fleet


def test_a_snapshot_has_all_clients_by_id_and_all_tombstones(engine: Engine) -> None:
    acme, gone, zeta = _add(engine, "zeta", "gone", "acme")
    with writing(engine) as connection:
        db.delete_client(connection, gone.id, NOW, "alice")
    snapshot = read_snapshot(engine, consume_restarts=False)
    assert snapshot.clients == (acme, zeta)
    assert snapshot.deleted.keys() == {gone.id}


def test_a_large_fleet_is_whole(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(insert(clients), [{"client_name": f"client {number}"} for number in range(3000)])
    snapshot = read_snapshot(engine, consume_restarts=True)
    assert len({client.id for client in snapshot.clients}) == 3000


def test_a_client_put_back_by_hand_is_alive_in_spite_of_its_tombstone(engine: Engine) -> None:
    (acme,) = _add(engine, "acme")
    with writing(engine) as connection:
        db.delete_client(connection, acme.id, NOW, "alice")
        connection.execute(insert(clients).values(id=acme.id, client_name="acme"))
    snapshot = read_snapshot(engine, consume_restarts=False)
    assert [client.id for client in snapshot.clients] == [acme.id]
    assert snapshot.deleted == {}


def test_a_tombstone_of_a_client_that_lives_again_goes_with_the_restarts(engine: Engine) -> None:
    acme, gone = _add(engine, "acme", "gone")
    with writing(engine) as connection:
        for each in (acme, gone):
            db.delete_client(connection, each.id, NOW, "alice")
        connection.execute(insert(clients).values(id=acme.id, client_name="acme"))

    def tombstones() -> list[int]:
        with reading(engine) as connection:
            return list(connection.execute(select(deleted_clients.c.client_id)).scalars())

    read_snapshot(engine, consume_restarts=False)
    read_snapshot(engine, consume_restarts=True, shard=Shard((acme.id + 1) % 2, 2))
    assert sorted(tombstones()) == [acme.id, gone.id]
    assert read_snapshot(engine, consume_restarts=True).deleted.keys() == {gone.id}
    assert tombstones() == [gone.id]


def test_a_snapshot_that_is_not_accepted_leaves_the_tombstones(engine: Engine) -> None:
    (acme,) = _add(engine, "acme")
    with writing(engine) as connection:
        db.delete_client(connection, acme.id, NOW, "alice")
        connection.execute(insert(clients).values(id=acme.id, client_name="acme"))

    def refuse(_snapshot: Snapshot) -> None:
        raise StalePlan("other rows", "again")

    with pytest.raises(StalePlan):
        read_snapshot(engine, consume_restarts=True, accept=refuse)
    with reading(engine) as connection:
        assert connection.execute(select(deleted_clients.c.client_id)).scalar_one() == acme.id


def test_tombstones_of_a_whole_fleet_that_lives_again_go_in_batches(engine: Engine) -> None:
    numbers = range(1, 2 * BATCH + 2)
    with writing(engine) as connection:
        connection.execute(insert(clients), [{"id": each, "client_name": f"client {each}"} for each in numbers])
        tombstone = {"client_name": "", "deleted_at": NOW, "deleted_by": "alice"}
        connection.execute(insert(deleted_clients), [{"client_id": each, **tombstone} for each in numbers])
    read_snapshot(engine, consume_restarts=True)
    with reading(engine) as connection:
        assert connection.execute(select(deleted_clients)).all() == []


def test_a_client_without_a_row_of_algorithms_says_so(engine: Engine) -> None:
    _add(engine, "acme")
    with writing(engine) as connection:
        connection.execute(delete(algorithm_status))
    (client,) = read_snapshot(engine, consume_restarts=True).clients
    assert client.algorithms is None


def test_a_restart_is_consumed_into_the_generation(engine: Engine) -> None:
    acme, other = _add(engine, "acme", "other")
    with writing(engine) as connection:
        acme = db.request_restart(connection, acme.id, NOW)
    expected = (replace(acme, need_restart=False, restart_generation=1), other)
    assert read_snapshot(engine, consume_restarts=True).clients == expected
    with reading(engine) as connection:
        assert tuple(db.list_clients(connection)) == expected
    assert read_snapshot(engine, consume_restarts=True).clients == expected


def test_a_plan_sees_the_restart_as_the_pass_would_and_writes_nothing(engine: Engine) -> None:
    (acme,) = _add(engine, "acme")
    with writing(engine) as connection:
        asked = db.request_restart(connection, acme.id, NOW)
    planned = read_snapshot(engine, consume_restarts=False)
    with reading(engine) as connection:
        assert db.get_client(connection, acme.id) == asked
    done = read_snapshot(engine, consume_restarts=True)
    assert replace(planned, now=done.now) == done


def test_a_restart_asked_for_again_counts_again(engine: Engine) -> None:
    (acme,) = _add(engine, "acme")
    for generation in (1, 2, 3):
        with writing(engine) as connection:
            db.request_restart(connection, acme.id, NOW)
            db.update_client(connection, acme.id, ClientChanges(need_restart=True), NOW)
        (client,) = read_snapshot(engine, consume_restarts=True).clients
        assert client.restart_generation == generation


def test_a_snapshot_that_fails_consumes_no_restart(engine: Engine) -> None:
    (acme,) = _add(engine, "acme")
    with writing(engine) as connection:
        db.request_restart(connection, acme.id, NOW)
        connection.execute(delete(fleet))
    with pytest.raises(DatabaseError):
        read_snapshot(engine, consume_restarts=True)
    with reading(engine) as connection:
        client = db.get_client(connection, acme.id)
    assert (client.need_restart, client.restart_generation) == (True, 0)


@pytest.mark.parametrize("consume", [False, True])
def test_a_database_without_its_fleet_is_an_error(engine: Engine, consume: bool) -> None:
    with writing(engine) as connection:
        connection.execute(delete(fleet))
    with pytest.raises(DatabaseError, match="the table fleet has 0 rows instead of one"):
        read_snapshot(engine, consume_restarts=consume)


def test_a_second_fleet_is_refused_by_the_table(engine: Engine) -> None:
    with pytest.raises(DatabaseError), writing(engine) as connection:
        connection.execute(insert(fleet).values(id=2, uuid="another", created_at=NOW))


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_second_fleet_is_an_error_when_the_rule_was_dropped(engine: Engine) -> None:
    _execute(
        engine,
        [
            "ALTER TABLE fleet DROP CONSTRAINT ck_fleet_one_row",
            "INSERT INTO fleet (id, uuid, created_at) VALUES (2, 'another', now())",
        ],
    )
    with pytest.raises(DatabaseError, match="the table fleet has 2 rows instead of one"):
        read_snapshot(engine, consume_restarts=True)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_client_twice_in_the_answer_is_an_error(engine: Engine) -> None:
    (acme,) = _add(engine, "acme")
    _execute(
        engine,
        [
            "ALTER TABLE algorithm_status DROP CONSTRAINT uq_algorithm_status_client_id",
            "INSERT INTO algorithm_status (client_id) SELECT id FROM clients",
        ],
    )
    with pytest.raises(DatabaseError, match=f"the database holds client {acme.id} more than once"):
        read_snapshot(engine, consume_restarts=True)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_fewer_rows_than_counted_are_an_error(engine: Engine) -> None:
    # A view that hides a client from the first query and not from the second: an answer that came short.
    _add(engine, "acme", "other")
    _execute(
        engine,
        [
            "ALTER TABLE clients RENAME TO all_clients",
            "CREATE SEQUENCE reads",
            "CREATE VIEW clients AS SELECT * FROM all_clients WHERE client_name = 'acme'"
            " UNION ALL SELECT * FROM all_clients WHERE client_name <> 'acme' AND nextval('reads') > 1",
            "CREATE RULE quiet AS ON UPDATE TO clients DO INSTEAD NOTHING",
        ],
    )
    with pytest.raises(DatabaseError, match="answered with 1 clients and then counted 2"):
        read_snapshot(engine, consume_restarts=True)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_standby_is_refused(engine: Engine, migrated_url: str) -> None:
    # What Postgres itself would answer on a standby, found before its own answer.
    _execute(
        engine,
        [
            "CREATE FUNCTION public.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
            "DO $$BEGIN EXECUTE format("
            "'ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END$$",
        ],
    )
    fresh = connect(migrated_url)
    with pytest.raises(DatabaseError, match="the database is a standby") as caught:
        read_snapshot(fresh, consume_restarts=False)
    fresh.dispose()
    assert caught.value.hint == "let database_url name the primary server"


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_rows_written_by_hand_do_not_end_a_pass(engine: Engine) -> None:
    columns = (
        "client_name",
        "version",
        "image",
        "cpu",
        "memory",
        "priority",
        "need_restart",
        "created_at",
        "updated_at",
    )
    _execute(
        engine,
        [
            *(f"ALTER TABLE clients ALTER COLUMN {column} DROP NOT NULL" for column in columns),
            "INSERT INTO clients (client_name, priority) VALUES ('nan', 'NaN'), ('huge', 'Infinity')",
            f"INSERT INTO clients ({', '.join(columns)}) VALUES ({', '.join('NULL' for _ in columns)})",
        ],
    )
    nan, huge, nulls = read_snapshot(engine, consume_restarts=True).clients
    assert math.isnan(nan.priority)
    assert huge.priority == math.inf
    assert (nulls.name, nulls.version, nulls.image, nulls.cpu, nulls.memory) == ("", -1, "", "", "")
    assert math.isnan(nulls.priority)
    assert (nulls.need_restart, nulls.spawned_at) == (False, None)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_connection_killed_between_two_queries_is_an_error(engine: Engine) -> None:
    _add(engine, "acme")
    _execute(
        engine,
        [
            "ALTER TABLE deleted_clients RENAME TO tombstones",
            "CREATE VIEW deleted_clients AS SELECT * FROM tombstones WHERE pg_terminate_backend(pg_backend_pid())",
            "INSERT INTO tombstones (client_id, client_name, deleted_at, deleted_by) VALUES (7, 'x', now(), 'bob')",
        ],
    )
    for consume in (False, True):
        with pytest.raises(DatabaseUnavailable):
            read_snapshot(engine, consume_restarts=consume)


def test_tombstones_are_not_clients(engine: Engine) -> None:
    (acme,) = _add(engine, "acme")
    with writing(engine) as connection:
        db.delete_client(connection, acme.id, NOW, "alice")
    with reading(engine) as connection:
        assert connection.execute(select(deleted_clients.c.client_id)).scalars().all() == [acme.id]
    assert read_snapshot(engine, consume_restarts=True).clients == ()
