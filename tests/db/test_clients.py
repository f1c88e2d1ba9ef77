"""Clients and algorithms, written and read on both databases."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, delete, event, func, insert, select, text

from syncctl.core.errors import ClientExists, ClientNotFound, DatabaseError
from syncctl.core.model import Algorithm, Client, ClientChanges, NewClient
from syncctl.core.validation import LARGEST_ID
from syncctl.db import clients as db
from syncctl.db.engine import reading, writing
from syncctl.db.ids import FARTHEST, pass_ids_of_pods
from syncctl.db.spawned import catch_up_spawned, record_spawned
from syncctl.db.tables import adopted_algorithm_status, algorithm_status, clients, deleted_clients

NOW = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
ACME = NewClient(
    "acme",
    image="registry.example.com/desk/vwap:1.4.2",
    cpu="500m",
    memory="256Mi",
    priority=2.5,
    version=3,
    algorithms=frozenset({Algorithm.VWAP, Algorithm.HFT}),
)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with writing(engine) as connection:
        yield connection


@pytest.fixture
def acme(connection: Connection) -> Client:
    return db.insert_client(connection, ACME, NOW)


def test_a_new_client_is_what_was_asked_for(acme: Client) -> None:
    assert acme.algorithms is not None
    assert acme == Client(
        id=acme.id,
        name="acme",
        version=3,
        image="registry.example.com/desk/vwap:1.4.2",
        cpu="500m",
        memory="256Mi",
        priority=2.5,
        need_restart=False,
        restart_generation=0,
        spawned_at=None,
        created_at=NOW,
        updated_at=NOW,
        algorithms=acme.algorithms,
    )
    assert acme.algorithms.client_id == acme.id
    assert acme.algorithms.on == (Algorithm.VWAP, Algorithm.HFT)


def test_a_taken_name_is_refused_and_the_transaction_goes_on(connection: Connection, acme: Client) -> None:
    with pytest.raises(ClientExists, match='a client named "acme" exists already'):
        db.insert_client(connection, NewClient("acme"), LATER)
    other = db.insert_client(connection, NewClient("other"), LATER)
    assert [client.name for client in db.list_clients(connection)] == ["acme", "other"]
    with pytest.raises(ClientExists, match='a client named "acme" exists already'):
        db.update_client(connection, other.id, ClientChanges(name="acme"), LATER)
    assert db.get_client(connection, other.id) == other


def test_names_differ_by_case_and_by_accents(connection: Connection, acme: Client) -> None:
    for name in ("ACME", "acmé", "acme\u0301"):
        db.insert_client(connection, NewClient(name), NOW)
        assert db.find_client(connection, name).name == name


def test_update_changes_what_is_given_and_the_time(connection: Connection, acme: Client) -> None:
    changed = db.update_client(
        connection, acme.id, ClientChanges(name="acme2", priority=-1.0, need_restart=True), LATER
    )
    assert (changed.name, changed.priority, changed.need_restart) == ("acme2", -1.0, True)
    assert (changed.image, changed.cpu, changed.memory, changed.version) == (ACME.image, "500m", "256Mi", 3)
    assert (changed.created_at, changed.updated_at) == (NOW, LATER)
    assert changed.algorithms == acme.algorithms


def test_update_can_empty_a_text(connection: Connection, acme: Client) -> None:
    assert db.update_client(connection, acme.id, ClientChanges(image=""), LATER).image == ""


def test_an_empty_update_writes_nothing(connection: Connection, acme: Client) -> None:
    assert db.update_client(connection, acme.id, ClientChanges(), LATER) == acme


def test_a_client_may_be_renamed_to_its_own_name(connection: Connection, acme: Client) -> None:
    assert db.update_client(connection, acme.id, ClientChanges(name="acme"), LATER).name == "acme"


def test_delete_takes_the_algorithms_along_and_leaves_a_tombstone(connection: Connection, acme: Client) -> None:
    assert db.delete_client(connection, acme.id, LATER, "alice") == acme
    assert list(db.list_clients(connection)) == []
    assert connection.execute(select(func.count()).select_from(algorithm_status)).scalar_one() == 0
    assert acme.algorithms is not None
    tombstone = connection.execute(select(deleted_clients)).one()
    assert tuple(tombstone) == (acme.id, "acme", acme.algorithms.id, LATER, "alice")


def test_a_client_put_back_by_hand_can_be_deleted_again(connection: Connection, acme: Client) -> None:
    db.delete_client(connection, acme.id, NOW, "alice")
    connection.execute(insert(clients).values(id=acme.id, client_name="acme"))
    db.delete_client(connection, acme.id, LATER, "bob")
    assert connection.execute(select(deleted_clients.c.deleted_by)).scalars().all() == ["bob"]


def test_an_id_is_never_used_again(connection: Connection, acme: Client) -> None:
    last = db.insert_client(connection, NewClient("last"), NOW)
    db.delete_client(connection, last.id, NOW, "alice")
    again = db.insert_client(connection, NewClient("last"), NOW)
    assert again.id > last.id
    assert again.algorithms is not None
    assert last.algorithms is not None
    assert again.algorithms.id > last.algorithms.id


ON_NOBODY: dict[str, Callable[[Connection], object]] = {
    "update": lambda connection: db.update_client(connection, 4711, ClientChanges(name="x"), NOW),
    "empty update": lambda connection: db.update_client(connection, 4711, ClientChanges(), NOW),
    "delete": lambda connection: db.delete_client(connection, 4711, NOW, "alice"),
    "get": lambda connection: db.get_client(connection, 4711, lock=True),
    "set": lambda connection: db.set_algorithms(connection, 4711, {Algorithm.VWAP: True}, NOW),
    "restart": lambda connection: db.request_restart(connection, 4711, NOW),
}


@pytest.mark.parametrize("act", ON_NOBODY.values(), ids=list(ON_NOBODY))
def test_a_client_that_is_not_there_is_not_found(connection: Connection, act: Callable[[Connection], object]) -> None:
    with pytest.raises(ClientNotFound, match='no client "4711"'):
        act(connection)
    assert connection.execute(select(func.count()).select_from(deleted_clients)).scalar_one() == 0


def test_a_client_is_found_by_name_and_by_id(connection: Connection, acme: Client) -> None:
    assert db.find_client(connection, "acme") == db.find_client(connection, str(acme.id), lock=True) == acme
    assert db.find_client(connection, "acme", lock=True) == acme


def test_digits_are_an_id_first_and_then_a_name(connection: Connection, acme: Client) -> None:
    by_digits = db.insert_client(connection, NewClient(str(acme.id)), NOW)
    far = db.insert_client(connection, NewClient("987654321"), NOW)
    assert db.find_client(connection, by_digits.name) == acme
    assert db.find_client(connection, "987654321") == far


def test_a_number_that_we_do_not_print_is_a_name(connection: Connection, acme: Client) -> None:
    padded = db.insert_client(connection, NewClient(f"00{acme.id}"), NOW)
    assert db.find_client(connection, f"00{acme.id}") == padded
    with pytest.raises(ClientNotFound):
        db.find_client(connection, f"0{acme.id}")


@pytest.mark.parametrize(
    "reference",
    [
        "nobody",
        "",
        "9223372036854775807",
        "9223372036854775808",
        "9" * 30,
        "9" * 5000,
        "\u0661",
        "a\0b",
        "\udc80",
        "%",
        "-1",
    ],
    ids=ascii,
)
def test_what_nobody_is_called_is_not_found(connection: Connection, acme: Client, reference: str) -> None:
    with pytest.raises(ClientNotFound):
        db.find_client(connection, reference)


def test_clients_are_listed_by_id(connection: Connection) -> None:
    for name in ("zeta", "alpha", "mid"):
        db.insert_client(connection, NewClient(name), NOW)
    assert [client.name for client in db.list_clients(connection)] == ["zeta", "alpha", "mid"]


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_list_can_be_of_those_with_one_algorithm_on(connection: Connection, algorithm: Algorithm) -> None:
    for one in Algorithm:
        db.insert_client(connection, NewClient(f"only {one}", algorithms=frozenset({one})), NOW)
    db.insert_client(connection, NewClient("none"), NOW)
    assert [client.name for client in db.list_clients(connection, algorithm)] == [f"only {algorithm}"]


def test_a_long_list_comes_in_parts_and_is_whole(connection: Connection) -> None:
    names = [f"client {number}" for number in range(1201)]
    connection.execute(insert(clients), [{"client_name": name} for name in names])
    assert [client.name for client in db.list_clients(connection)] == names


def test_a_list_may_be_left_before_its_end(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(insert(clients), [{"client_name": f"client {number}"} for number in range(1201)])
    with reading(engine) as connection:
        assert next(db.list_clients(connection)).name == "client 0"


def test_only_the_algorithms_given_are_switched(connection: Connection, acme: Client) -> None:
    changed = db.set_algorithms(connection, acme.id, {Algorithm.VWAP: False, Algorithm.TWAP: True}, LATER)
    assert acme.algorithms is not None
    assert changed.algorithms is not None
    assert changed.algorithms.id == acme.algorithms.id
    assert changed.algorithms.on == (Algorithm.TWAP, Algorithm.HFT)
    assert changed.updated_at == LATER


def test_a_vanished_row_of_algorithms_is_seen_and_made_again(connection: Connection, acme: Client) -> None:
    connection.execute(delete(algorithm_status))
    assert db.get_client(connection, acme.id).algorithms is None
    changed = db.set_algorithms(connection, acme.id, {Algorithm.TWAP: True}, LATER)
    assert changed.algorithms is not None
    assert changed.algorithms.on == (Algorithm.TWAP,)


@pytest.mark.parametrize("vanished", [False, True])
def test_no_algorithms_given_switches_none(connection: Connection, acme: Client, vanished: bool) -> None:
    if vanished:
        connection.execute(delete(algorithm_status))
    changed = db.set_algorithms(connection, acme.id, {}, LATER)
    assert changed.algorithms is not None
    assert changed.algorithms.on == (() if vanished else (Algorithm.VWAP, Algorithm.HFT))


def test_a_restart_is_asked_for_and_moves_the_time(connection: Connection, acme: Client) -> None:
    asked = db.request_restart(connection, acme.id, LATER)
    assert (asked.need_restart, asked.restart_generation, asked.updated_at) == (True, 0, LATER)


def test_spawned_at_is_written_in_batches_and_leaves_updated_at(connection: Connection) -> None:
    connection.execute(
        insert(clients), [{"client_name": f"client {number}", "updated_at": NOW} for number in range(1201)]
    )
    ids = [client.id for client in db.list_clients(connection)]
    record_spawned(connection, [*ids[:-1], 999_999], LATER)
    *spawned, left = db.list_clients(connection)
    assert {client.spawned_at for client in spawned} == {LATER}
    assert left.spawned_at is None
    assert {client.updated_at for client in (*spawned, left)} == {NOW}


def test_spawned_at_of_nobody_is_nothing_to_write(connection: Connection) -> None:
    record_spawned(connection, [], NOW)
    catch_up_spawned(connection, {})


MADE = NOW.replace(microsecond=0)
"""When a pod was made, as the cluster tells it: to the second."""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(None, MADE, id="never"),
        pytest.param("0001-01-01 00:00:00", MADE, id="never, as the Go service writes it"),
        pytest.param(MADE - timedelta(days=1), MADE, id="an earlier pod"),
        pytest.param(MADE - timedelta(microseconds=1), MADE, id="a moment before"),
        pytest.param(MADE, MADE, id="just then"),
        pytest.param(NOW, NOW, id="by our clock, which tells more than seconds"),
        pytest.param(LATER, LATER, id="a later pod"),
    ],
)
def test_spawned_at_catches_up_and_never_moves_back(
    connection: Connection, acme: Client, before: datetime | str | None, after: datetime
) -> None:
    written = before if before is None or isinstance(before, str) else f"{before:%Y-%m-%d %H:%M:%S.%f}"
    zone = "" if written is None or connection.dialect.name == "sqlite" else "+00"
    connection.execute(text("UPDATE clients SET spawned_at = :at"), {"at": None if written is None else written + zone})
    catch_up_spawned(connection, {acme.id: MADE, 999_999: MADE})
    found = db.get_client(connection, acme.id)
    assert (found.spawned_at, found.updated_at) == (after, NOW)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_spawned_at_catches_up_from_a_never_that_only_postgres_knows(connection: Connection, acme: Client) -> None:
    connection.execute(text("UPDATE clients SET spawned_at = 'infinity'"))
    catch_up_spawned(connection, {acme.id: MADE})
    assert db.get_client(connection, acme.id).spawned_at == MADE


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_spawned_at_catches_up_from_a_text_that_is_no_time(connection: Connection, acme: Client) -> None:
    connection.execute(text("UPDATE clients SET spawned_at = 'yesterday'"))
    catch_up_spawned(connection, {acme.id: MADE})
    assert db.get_client(connection, acme.id).spawned_at == MADE


def test_a_fleet_catches_up_in_few_statements_and_one_that_is_not_behind_writes_nothing(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(insert(clients), [{"client_name": f"client {number}"} for number in range(1201)])
        ids = [client.id for client in db.list_clients(connection)]
    seconds = [MADE + timedelta(seconds=number % 2) for number in range(1201)]
    statements: list[str] = []

    def sent(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement.split()[0] + " FOR UPDATE" * statement.endswith("FOR UPDATE"))

    event.listen(engine, "before_cursor_execute", sent)
    for _ in range(2):
        with writing(engine) as connection:
            catch_up_spawned(connection, dict(zip(ids, seconds, strict=True)))
    event.remove(engine, "before_cursor_execute", sent)
    look = "SELECT FOR UPDATE" if engine.dialect.name == "postgresql" else "SELECT"
    asked = [statement for statement in statements if statement.startswith(("SELECT", "UPDATE"))]
    if engine.dialect.name == "postgresql":
        # Each transaction begins with its time limits.
        asked = asked[1:11] + asked[12:]
    # 1,201 clients are three batches, 600 of the one second and 601 of the other two each.
    assert asked == ["SELECT"] * 3 + [look] * 3 + ["UPDATE"] * 4 + ["SELECT"] * 3
    with reading(engine) as connection:
        assert [client.spawned_at for client in db.list_clients(connection)] == seconds


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_pass_that_records_late_what_it_made_is_not_overruled_by_one_that_catches_up(engine: Engine) -> None:
    with writing(engine) as connection:
        acme = db.insert_client(connection, ACME, NOW)

    looked: list[str] = []

    def record_first(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.endswith("FOR UPDATE") and not looked:
            looked.append(statement)
            with writing(engine) as other:
                record_spawned(other, [acme.id], LATER)

    event.listen(engine, "before_cursor_execute", record_first)
    with writing(engine) as connection:
        catch_up_spawned(connection, {acme.id: MADE})
    event.remove(engine, "before_cursor_execute", record_first)
    assert looked
    with reading(engine) as connection:
        assert db.get_client(connection, acme.id).spawned_at == LATER


def test_sql_written_for_the_go_service_makes_a_whole_client(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO clients (client_name) VALUES ('by hand')"))
        connection.execute(text("INSERT INTO algorithm_status (client_id) SELECT id FROM clients"))
    with reading(engine) as connection:
        client = db.find_client(connection, "by hand")
    assert (client.version, client.image, client.cpu, client.memory, client.priority) == (1, "", "", "", 1.0)
    assert (client.need_restart, client.restart_generation, client.spawned_at) == (False, 0, None)
    assert abs(datetime.now(UTC) - client.created_at) < timedelta(minutes=1)
    assert client.created_at == client.updated_at
    assert client.algorithms is not None
    assert client.algorithms.on == ()


def test_ids_inserted_by_hand_are_passed_by(connection: Connection, acme: Client) -> None:
    assert acme.algorithms is not None
    for step in range(1, 4):
        connection.execute(insert(clients).values(id=acme.id + step, client_name=f"by hand {step}"))
        connection.execute(insert(algorithm_status).values(id=acme.algorithms.id + step, client_id=acme.id + step))
    following = db.insert_client(connection, NewClient("next"), NOW)
    assert following.id == acme.id + 4
    assert following.algorithms is not None
    assert following.algorithms.id > acme.algorithms.id + 3


def _start_again(connection: Connection, sequence_at: int) -> None:
    """Let sequences be as after a restore of the rows only."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("DELETE FROM sqlite_sequence"))
        return
    for table in ("clients", "algorithm_status"):
        connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {sequence_at}, true)"))


@pytest.mark.parametrize("sequence_at", [1, 2, 3, 4], ids="behind the rows by {}".format)
def test_ids_of_deleted_clients_do_not_come_again_when_sequences_are_behind(
    connection: Connection, acme: Client, sequence_at: int
) -> None:
    others = [db.insert_client(connection, NewClient(f"client {number}"), NOW) for number in range(4)]
    for each in others[-2:]:
        db.delete_client(connection, each.id, NOW, "alice")
    _start_again(connection, sequence_at)
    new = db.insert_client(connection, NewClient("new"), NOW)
    assert new.id > others[-1].id
    assert new.algorithms is not None
    assert others[-1].algorithms is not None
    assert new.algorithms.id > others[-1].algorithms.id
    assert [each.name for each in db.list_clients(connection)] == ["acme", "client 0", "client 1", "new"]


def test_ids_that_adopting_took_out_do_not_come_again_either(connection: Connection, acme: Client) -> None:
    assert acme.algorithms is not None
    taken = acme.algorithms.id + 1
    connection.execute(insert(adopted_algorithm_status).values(id=taken, reason="twice", original={}, adopted_at=NOW))
    new = db.insert_client(connection, NewClient("new"), NOW)
    assert new.algorithms is not None
    assert new.algorithms.id > taken


def test_ids_that_pods_carry_are_passed_by_and_never_back(connection: Connection, acme: Client) -> None:
    assert pass_ids_of_pods(connection, [acme.id + 7, acme.id + 3], [acme.id + 9])
    assert pass_ids_of_pods(connection, [acme.id + 1], [])
    new = db.insert_client(connection, NewClient("new"), NOW)
    assert new.algorithms is not None
    assert acme.algorithms is not None
    assert (new.id, new.algorithms.id) == (acme.id + 8, acme.id + 10)


def test_a_number_that_no_restore_has_lost_uses_up_no_ids(connection: Connection, acme: Client) -> None:
    far = [acme.id + FARTHEST + 1, LARGEST_ID, 10**19 - 1]
    assert pass_ids_of_pods(connection, far, far)
    assert pass_ids_of_pods(connection, [*far, acme.id + 1], [])
    assert db.insert_client(connection, NewClient("new"), NOW).id == acme.id + 2


def test_in_a_table_that_never_had_a_row_ids_are_passed_by_too(connection: Connection) -> None:
    assert pass_ids_of_pods(connection, [5], [6])
    new = db.insert_client(connection, NewClient("new"), NOW)
    assert new.algorithms is not None
    assert (new.id, new.algorithms.id) == (6, 7)


@pytest.mark.parametrize("backend", ["postgres"])
def test_who_may_not_change_a_sequence_is_told_and_goes_on(connection: Connection, acme: Client) -> None:
    connection.execute(text("CREATE ROLE reader"))
    connection.execute(text("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO reader"))
    connection.execute(text("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO reader"))
    connection.execute(text("SET LOCAL ROLE reader"))
    assert not pass_ids_of_pods(connection, [acme.id + 7], [])
    record_spawned(connection, [acme.id], NOW)
    connection.execute(text("RESET ROLE"))
    connection.rollback()


@pytest.mark.parametrize(
    "change",
    [
        "version = 'two'",
        "priority = 'high'",
        "need_restart = 2",
        "image = '" + 256 * "x" + "'",
        "restart_generation = -1",
        "cpu = NULL",
    ],
)
def test_the_database_refuses_values_of_another_kind(engine: Engine, change: str) -> None:
    with writing(engine) as connection:
        acme = db.insert_client(connection, ACME, NOW)
    with pytest.raises(DatabaseError), writing(engine) as connection:
        connection.execute(text(f"UPDATE clients SET {change}"))
    with reading(engine) as connection:
        assert db.get_client(connection, acme.id) == acme
