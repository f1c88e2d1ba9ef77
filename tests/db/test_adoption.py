"""A database that the Go service made, with what it and people's hands leave in it, becomes ours and loses nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec import structs
from sqlalchemy import Engine, create_engine, text

from syncctl.core.errors import DatabaseError
from syncctl.core.model import Algorithm, NewClient
from syncctl.db import clients as db
from syncctl.db.engine import connect, reading, writing
from syncctl.db.go_service import forget_go_service
from syncctl.db.migrations import Upgrade, current, upgrade
from syncctl.db.snapshot import read_snapshot
from syncctl.db.tables import metadata

TABLES_AS_THE_GO_SERVICE_MAKES_THEM = """
    CREATE TABLE clients (
        id           serial       PRIMARY KEY,
        client_name  varchar(100) NOT NULL UNIQUE,
        version      int,
        image        varchar(255),
        cpu          varchar(50),
        memory       varchar(50),
        priority     float,
        need_restart boolean      DEFAULT false,
        spawned_at   timestamp,
        created_at   timestamp    DEFAULT current_timestamp,
        updated_at   timestamp    DEFAULT current_timestamp
    );
    CREATE TABLE algorithm_status (
        id        serial  PRIMARY KEY,
        client_id int     REFERENCES clients (id),
        vwap      boolean DEFAULT false,
        twap      boolean DEFAULT false,
        hft       boolean DEFAULT false
    );
"""

A_CLIENT_AS_THE_GO_SERVICE_WRITES_IT = """
    INSERT INTO clients
        (client_name, version, image, cpu, memory, priority, need_restart, spawned_at, created_at, updated_at)
    VALUES ('acme', 3, 'registry.example.com/vwap:1.4.2', '500m', '256Mi', 2.5, false,
            '0001-01-01 00:00:00', '2024-05-01 12:00:00.123456', '2024-05-02 13:00:00');
    INSERT INTO algorithm_status (client_id, vwap, twap, hft) VALUES (1, default, default, default);
    UPDATE algorithm_status SET vwap = true, twap = false, hft = true WHERE client_id = 1;
"""


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = connect(postgres_url)
    _run(engine, TABLES_AS_THE_GO_SERVICE_MAKES_THEM)
    yield engine
    engine.dispose()


def _run(engine: Engine, statements: str) -> None:
    with writing(engine) as connection:
        connection.exec_driver_sql(statements)


def _rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def _differences(engine: Engine) -> list[Any]:
    with reading(engine) as connection:
        options = {"compare_server_default": True, "version_table": "syncctl_version"}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))


def _shape(engine: Engine) -> set[tuple[Any, ...]]:
    """Everything that Postgres knows of our tables but the order of columns."""
    return {
        *_rows(
            engine,
            "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public'",
        ),
        *_rows(
            engine,
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace",
        ),
        *_rows(engine, "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"),
        *_rows(engine, "SELECT sequencename, data_type::text, max_value FROM pg_sequences"),
    }


@pytest.fixture
def fresh_shape(postgres: Any) -> Iterator[set[tuple[Any, ...]]]:
    name = postgres.create()
    fresh = connect(postgres.url(name))
    upgrade(fresh)
    yield _shape(fresh)
    fresh.dispose()
    postgres.drop(name)


def test_a_client_of_the_go_service_is_a_client_of_ours(engine: Engine) -> None:
    _run(engine, A_CLIENT_AS_THE_GO_SERVICE_WRITES_IT)
    done = upgrade(engine)
    with reading(engine) as connection:
        (client,) = db.list_clients(connection)
    assert (client.id, client.name, client.version) == (1, "acme", 3)
    assert (client.image, client.cpu, client.memory) == ("registry.example.com/vwap:1.4.2", "500m", "256Mi")
    assert (client.priority, client.need_restart, client.restart_generation) == (2.5, False, 0)
    assert client.spawned_at is None
    assert client.created_at == datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert client.updated_at == datetime(2024, 5, 2, 13, tzinfo=UTC)
    assert client.algorithms is not None
    assert client.algorithms.id == 1
    assert client.algorithms.on == (Algorithm.VWAP, Algorithm.HFT)
    assert done.steps[:3] == (
        "adopting the database of the Go service, clients in it: 1",
        "clients.spawned_at: 1 of the year 1 taken as never",
        "revision 0001: Make the tables, or adopt those of the Go service",
    )


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_an_adopted_database_is_a_fresh_one(engine: Engine, fresh_shape: set[tuple[Any, ...]], filled: bool) -> None:
    if filled:
        _run(engine, A_CLIENT_AS_THE_GO_SERVICE_WRITES_IT)
        _run(engine, MESS)
    upgrade(engine)
    assert _differences(engine) == []
    assert _shape(engine) == fresh_shape


def test_an_adopted_database_is_worked_with_like_any_other(engine: Engine) -> None:
    _run(engine, A_CLIENT_AS_THE_GO_SERVICE_WRITES_IT)
    upgrade(engine)
    now = datetime.now(UTC)
    with writing(engine) as connection:
        added = db.insert_client(connection, NewClient("new"), now)
        assert added.id == 2
        assert added.algorithms is not None
        assert added.algorithms.id == 2
        db.delete_client(connection, 1, now, "alice")
    snapshot = read_snapshot(engine, consume_restarts=True)
    assert ([client.id for client in snapshot.clients], set(snapshot.deleted)) == ([2], {1})


def test_a4_the_go_service_of_an_adopted_database_is_known_until_a_person_says_that_it_is_gone(engine: Engine) -> None:
    _run(engine, A_CLIENT_AS_THE_GO_SERVICE_WRITES_IT)
    upgrade(engine)
    assert read_snapshot(engine, consume_restarts=False).go_service
    with writing(engine) as connection:
        assert forget_go_service(connection)
    assert not read_snapshot(engine, consume_restarts=False).go_service
    with writing(engine) as connection:
        assert not forget_go_service(connection)


def test_a4_the_go_service_of_an_empty_adopted_database_is_known_too(engine: Engine) -> None:
    upgrade(engine)
    assert read_snapshot(engine, consume_restarts=False).go_service


def test_a_second_upgrade_adopts_nothing(engine: Engine) -> None:
    _run(engine, A_CLIENT_AS_THE_GO_SERVICE_WRITES_IT)
    upgrade(engine)
    before = read_snapshot(engine, consume_restarts=False)
    assert not upgrade(engine).changed
    after = read_snapshot(engine, consume_restarts=False)
    assert structs.replace(after, now=before.now) == before


# What the Go service leaves: its DELETE fails half way, it never checks what it updates, and people help with psql.
MESS = """
    INSERT INTO clients (id, client_name) VALUES (10, 'bare'), (11, 'doubled'), (12, 'off'), (900, 'last');
    UPDATE clients SET created_at = NULL, updated_at = '0001-01-01 00:00:00', need_restart = NULL WHERE id = 10;
    UPDATE clients SET spawned_at = '0001-12-31 19:03:58 BC', created_at = '2020-02-29 23:59:59.999' WHERE id = 11;
    UPDATE clients SET priority = 'NaN', spawned_at = '2024-05-01 12:00:00', need_restart = true WHERE id = 12;
    INSERT INTO algorithm_status (id, client_id, vwap, twap, hft) VALUES
        (20, 11, false, NULL, false), (21, 11, true, false, false), (22, 11, false, false, true),
        (23, 12, NULL, NULL, NULL), (24, NULL, true, true, true);
    ALTER TABLE algorithm_status DROP CONSTRAINT algorithm_status_client_id_fkey;
    INSERT INTO algorithm_status (id, client_id, vwap, twap, hft) VALUES (700, 4711, true, NULL, false);
"""


@pytest.fixture
def adopted(engine: Engine) -> Upgrade:
    _run(engine, MESS)
    return upgrade(engine)


def test_what_is_empty_gets_the_value_that_it_means(engine: Engine, adopted: Upgrade) -> None:
    with reading(engine) as connection:
        bare = db.find_client(connection, "bare")
    assert (bare.id, bare.version, bare.image, bare.cpu, bare.memory) == (10, 1, "", "", "")
    assert (bare.priority, bare.need_restart, bare.spawned_at) == (1.0, False, None)
    assert bare.created_at == bare.updated_at
    assert abs(datetime.now(UTC) - bare.created_at) < timedelta(minutes=1)


def test_times_without_a_zone_are_utc_and_the_year_1_is_never(engine: Engine, adopted: Upgrade) -> None:
    with reading(engine) as connection:
        doubled, off = db.get_client(connection, 11), db.get_client(connection, 12)
    assert doubled.spawned_at is None
    assert doubled.created_at == datetime(2020, 2, 29, 23, 59, 59, 999000, tzinfo=UTC)
    assert off.spawned_at == datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert off.need_restart


def test_times_are_utc_whatever_the_zone_of_the_server(engine: Engine, postgres_url: str) -> None:
    _run(engine, A_CLIENT_AS_THE_GO_SERVICE_WRITES_IT)
    _run(
        engine,
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %%I SET timezone = ''Asia/Tokyo''', current_database()); END$$",
    )
    elsewhere = connect(postgres_url)
    upgrade(elsewhere)
    with reading(elsewhere) as connection:
        client = db.get_client(connection, 1)
    elsewhere.dispose()
    assert client.created_at == datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert client.spawned_at is None


def test_doubled_rows_merge_into_the_first_and_what_runs_goes_on(engine: Engine, adopted: Upgrade) -> None:
    with reading(engine) as connection:
        algorithms = db.get_client(connection, 11).algorithms
    assert algorithms is not None
    assert (algorithms.id, algorithms.on) == (20, (Algorithm.VWAP, Algorithm.HFT))


def test_missing_rows_are_added_all_off_with_new_ids(engine: Engine, adopted: Upgrade) -> None:
    with reading(engine) as connection:
        statuses = [client.algorithms for client in db.list_clients(connection)]
    assert [(status.id, status.on) for status in statuses if status and status.id > 700] == [
        (701, ()),
        (702, ()),
    ]
    assert all(statuses)


def test_what_is_removed_is_kept_whole_beside(engine: Engine, adopted: Upgrade) -> None:
    assert _rows(engine, "SELECT id, client_id, reason, original FROM adopted_algorithm_status ORDER BY id") == [
        (
            id_,
            client_id,
            reason,
            {"id": id_, "client_id": client_id, "vwap": flags[0], "twap": flags[1], "hft": flags[2]},
        )
        for id_, client_id, reason, flags in (
            (21, 11, "merged into 20", (True, False, False)),
            (22, 11, "merged into 20", (False, False, True)),
            (24, None, "without a client", (True, True, True)),
            (700, 4711, "without a client", (True, None, False)),
        )
    ]


def test_ids_inserted_by_hand_and_ids_removed_never_come_again(engine: Engine, adopted: Upgrade) -> None:
    with writing(engine) as connection:
        added = db.insert_client(connection, NewClient("new"), datetime.now(UTC))
    assert added.algorithms is not None
    assert (added.id, added.algorithms.id) == (901, 703)


def test_an_id_beyond_32_bits_fits(engine: Engine, adopted: Upgrade) -> None:
    _run(engine, f"INSERT INTO clients (id, client_name) VALUES ({2**40}, 'far')")
    _run(engine, f"INSERT INTO algorithm_status (id, client_id) VALUES ({2**40}, {2**40})")
    with reading(engine) as connection:
        assert db.find_client(connection, "far").algorithms is not None


def test_a2_a_snapshot_knows_whose_the_rows_were_that_were_taken_out(engine: Engine, adopted: Upgrade) -> None:
    snapshot = read_snapshot(engine, consume_restarts=False)
    assert snapshot.adopted == {21: 11, 22: 11, 24: None, 700: 4711}


def test_a2_a_client_that_was_there_only_by_such_a_row_gives_its_id_to_nobody(engine: Engine, adopted: Upgrade) -> None:
    with writing(engine) as connection:
        connection.execute(text("SELECT setval(pg_get_serial_sequence('clients', 'id'), 4710)"))
        assert db.insert_client(connection, NewClient("new"), datetime.now(UTC)).id > 4711


def test_the_report_counts_what_was_done(adopted: Upgrade) -> None:
    report = adopted.steps[: adopted.steps.index("revision 0001: Make the tables, or adopt those of the Go service")]
    # Two lines, of created_at and updated_at, have the time of the adoption in them.
    assert len([step for step in report if "_at: 1 empty, now 20" in step]) == 2
    assert [step for step in report if "_at: 1 empty, now 20" not in step] == [
        "adopting the database of the Go service, clients in it: 4",
        "clients.version: 4 empty, now 1",
        "clients.image: 4 empty, now ''",
        "clients.cpu: 4 empty, now ''",
        "clients.memory: 4 empty, now ''",
        "clients.priority: 3 empty, now 1.0",
        "clients.need_restart: 1 empty, now false",
        "clients.spawned_at: 1 of the year 1 taken as never",
        "clients.updated_at: 1 of the year 1 taken as never",
        "algorithm_status: 2 without a client moved to adopted_algorithm_status",
        "algorithm_status: 2 doubled merged into the first of their client, all that was on stays on",
        "algorithm_status: 2 missing added, all off",
    ]


def test_foreign_tables_and_columns_are_left_alone(engine: Engine) -> None:
    _run(engine, A_CLIENT_AS_THE_GO_SERVICE_WRITES_IT)
    _run(
        engine,
        """
        ALTER TABLE clients ADD COLUMN desk text DEFAULT 'fx';
        ALTER TABLE algorithm_status ADD COLUMN note text;
        INSERT INTO algorithm_status (client_id, note) VALUES (1, 'second');
        CREATE TABLE invoices (client_id int REFERENCES clients (id), amount numeric);
        INSERT INTO invoices VALUES (1, 12.50);
        """,
    )
    upgrade(engine)
    assert _rows(engine, "SELECT desk FROM clients") == [("fx",)]
    assert len(_rows(engine, "SELECT * FROM invoices JOIN clients ON client_id = clients.id")) == 1
    assert _rows(engine, "SELECT original ->> 'note' FROM adopted_algorithm_status") == [("second",)]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE algorithm_status DROP CONSTRAINT algorithm_status_client_id_fkey",
        'ALTER TABLE algorithm_status RENAME CONSTRAINT algorithm_status_client_id_fkey TO "an odd name"',
        "ALTER TABLE algorithm_status ADD FOREIGN KEY (client_id) REFERENCES clients ON DELETE SET NULL",
        "ALTER TABLE algorithm_status ADD UNIQUE (client_id)",
        "ALTER TABLE clients DROP CONSTRAINT clients_client_name_key",
        "ALTER TABLE clients RENAME CONSTRAINT clients_pkey TO pk_clients",
        "ALTER TABLE algorithm_status DROP CONSTRAINT algorithm_status_pkey",
        "ALTER TABLE clients ALTER COLUMN client_name TYPE text, ALTER COLUMN image TYPE text",
        "ALTER TABLE clients ALTER COLUMN priority TYPE real, ALTER COLUMN version TYPE smallint",
        "ALTER TABLE clients ALTER COLUMN created_at TYPE timestamptz, ALTER COLUMN spawned_at TYPE timestamp(3)",
        "ALTER TABLE clients ALTER COLUMN id TYPE bigint",
        "ALTER TABLE clients DROP COLUMN priority",
        "ALTER TABLE clients DROP COLUMN spawned_at",
        "ALTER TABLE algorithm_status DROP COLUMN hft",
    ],
)
def test_a_table_that_somebody_changed_becomes_the_same(
    engine: Engine, fresh_shape: set[tuple[Any, ...]], change: str
) -> None:
    _run(engine, A_CLIENT_AS_THE_GO_SERVICE_WRITES_IT)
    _run(engine, change)
    upgrade(engine)
    assert _shape(engine) == fresh_shape
    assert len(read_snapshot(engine, consume_restarts=True).clients) == 1


def test_a_column_without_its_sequence_gets_one_again(engine: Engine) -> None:
    _run(engine, A_CLIENT_AS_THE_GO_SERVICE_WRITES_IT)
    _run(engine, "DROP SEQUENCE clients_id_seq CASCADE; ALTER SEQUENCE algorithm_status_id_seq OWNED BY NONE")
    upgrade(engine)
    assert _differences(engine) == []
    with writing(engine) as connection:
        added = db.insert_client(connection, NewClient("new"), datetime.now(UTC))
    assert added.algorithms is not None
    assert (added.id, added.algorithms.id) == (2, 2)


REFUSALS = {
    "names twice": (
        """
        ALTER TABLE clients DROP CONSTRAINT clients_client_name_key;
        INSERT INTO clients (client_name) VALUES ('acme'), ('beta'), ('acme'), ('beta'), ('acme'), ('gamma')
        """,
        ['the name "acme" is that of clients 1, 3, 5', 'the name "beta" is that of clients 2, 4'],
    ),
    "no name and a long one": (
        """
        ALTER TABLE clients ALTER client_name DROP NOT NULL, ALTER client_name TYPE text, ALTER image TYPE text;
        INSERT INTO clients (client_name, image) VALUES (NULL, ''), (repeat('x', 101), repeat('y', 256))
        """,
        [
            "client 1 has no name",
            "client_name of client 2 has 101 characters, at most 100 are kept",
            "image of client 2 has 256 characters, at most 255 are kept",
        ],
    ),
    "ids twice": (
        """
        ALTER TABLE algorithm_status DROP CONSTRAINT algorithm_status_pkey, ALTER id DROP NOT NULL;
        INSERT INTO algorithm_status (id) VALUES (7), (7), (NULL)
        """,
        ["algorithm_status has 2 rows with the id 7", "algorithm_status has 1 rows with the id NULL"],
    ),
    "types of something else": (
        "ALTER TABLE clients ALTER created_at TYPE text, ALTER need_restart DROP DEFAULT, ALTER need_restart TYPE text",
        [
            "clients.need_restart is text and cannot become boolean",
            "clients.created_at is text and cannot become timestamp with time zone",
        ],
    ),
    "a table of something else": (
        "ALTER TABLE clients DROP COLUMN client_name",
        ["clients has no column client_name"],
    ),
    "only half of it": ("DROP TABLE clients CASCADE", ["there is no table clients"]),
    "foreign rows that hang on ours": (
        "CREATE TABLE notes (status int REFERENCES algorithm_status ON DELETE CASCADE)",
        ["rows of notes would go or change with rows of algorithm_status"],
    ),
    "a view": (
        "ALTER TABLE clients RENAME TO people; CREATE VIEW clients AS SELECT * FROM people",
        ["clients is not a plain table"],
    ),
}


@pytest.mark.parametrize(("change", "problems"), REFUSALS.values(), ids=list(REFUSALS))
def test_what_cannot_be_adopted_is_named_completely_and_left_as_it_is(
    engine: Engine, change: str, problems: list[str]
) -> None:
    _run(engine, change)
    before = _shape(engine)
    with pytest.raises(DatabaseError) as caught:
        upgrade(engine)
    told = caught.value.message.removeprefix("the tables here cannot be adopted, and nothing was changed: ")
    assert told.split("; ") == problems
    assert _shape(engine) == before
    assert current(engine) is None


def test_a_view_that_needs_the_old_type_is_named(engine: Engine) -> None:
    _run(engine, "CREATE VIEW report AS SELECT id, client_name FROM clients")
    with pytest.raises(DatabaseError, match="view report"):
        upgrade(engine)
    assert current(engine) is None


def test_the_go_service_can_still_write_to_an_adopted_database(engine: Engine, postgres_url: str) -> None:
    upgrade(engine)
    go = create_engine(postgres_url)
    with go.begin() as connection:
        connection.exec_driver_sql(A_CLIENT_AS_THE_GO_SERVICE_WRITES_IT)
    go.dispose()
    (client,) = read_snapshot(engine, consume_restarts=True).clients
    assert (client.name, client.spawned_at) == ("acme", None)
    assert client.algorithms is not None
    assert client.algorithms.on == (Algorithm.VWAP, Algorithm.HFT)
