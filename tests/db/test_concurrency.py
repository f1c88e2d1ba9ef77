"""Two at once, over real connections: nothing is lost, nothing happens twice, nobody waits for ever."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, select

from syncctl.core.errors import ClientExists, ClientNotFound, DatabaseBusy, SyncctlError
from syncctl.core.memory import Home
from syncctl.core.model import Algorithm, Client, ClientChanges, NewClient
from syncctl.db import clients as db
from syncctl.db.engine import connect, reading, writing
from syncctl.db.home import store_home
from syncctl.db.migrations import Upgrade, upgrade
from syncctl.db.schema import HEAD, open_database
from syncctl.db.snapshot import read_snapshot
from syncctl.db.tables import algorithm_status, fleet
from syncctl.operations import clients

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
ROUNDS = range(10)


@pytest.fixture
def engines(migrated_url: str) -> Iterator[tuple[Engine, Engine]]:
    pair = connect(migrated_url), connect(migrated_url)
    yield pair
    for engine in pair:
        engine.dispose()


def together(*acts: Callable[[], Any]) -> list[Any]:
    """Start all at one moment, and return what each returned or which of our errors it raised."""
    start = Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return act()
        except SyncctlError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(run, acts))


def in_writing(engine: Engine, act: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Return the act in a transaction of its own."""

    def run() -> Any:
        with writing(engine) as connection:
            return act(connection, *arguments)

    return run


def _add(engine: Engine, name: str) -> Client:
    with writing(engine) as connection:
        return db.insert_client(connection, NewClient(name), NOW)


@pytest.mark.parametrize("vanished", [False, True], ids=["row there", "row vanished"])
def test_two_who_switch_different_algorithms_both_get_their_way(engines: tuple[Engine, Engine], vanished: bool) -> None:
    for number in ROUNDS:
        acme = _add(engines[0], f"acme {number}")
        if vanished:
            with writing(engines[0]) as connection:
                connection.execute(delete(algorithm_status))
        together(
            *(
                in_writing(engine, db.set_algorithms, acme.id, flag, NOW)
                for engine, flag in zip(engines, ({Algorithm.VWAP: True}, {Algorithm.HFT: True}), strict=True)
            )
        )
        with reading(engines[0]) as connection:
            algorithms = db.get_client(connection, acme.id).algorithms
        assert algorithms is not None
        assert algorithms.on == (Algorithm.VWAP, Algorithm.HFT)


def test_of_two_who_add_one_name_one_is_told_that_it_exists(engines: tuple[Engine, Engine]) -> None:
    for number in ROUNDS:
        new = NewClient(f"acme {number}")
        results = together(*(in_writing(engine, db.insert_client, new, NOW) for engine in engines))
        assert {type(result) for result in results} == {Client, ClientExists}
    with reading(engines[0]) as connection:
        assert len(list(db.list_clients(connection))) == len(ROUNDS)


def test_two_who_read_a_version_and_raise_it_raise_it_twice(engines: tuple[Engine, Engine]) -> None:
    acme = _add(engines[0], "acme")

    def raise_version(connection: Connection) -> Client:
        before = db.find_client(connection, "acme", lock=True)
        return db.update_client(connection, acme.id, ClientChanges(version=before.version + 1), NOW)

    for _ in ROUNDS:
        together(*(in_writing(engine, raise_version) for engine in engines))
    with reading(engines[0]) as connection:
        assert db.get_client(connection, acme.id).version == 1 + 2 * len(ROUNDS)


def test_of_two_who_delete_a_client_one_finds_it_gone(engines: tuple[Engine, Engine]) -> None:
    for number in ROUNDS:
        acme = _add(engines[0], f"acme {number}")
        results = together(*(in_writing(engine, db.delete_client, acme.id, NOW, "alice") for engine in engines))
        assert {type(result) for result in results} == {Client, ClientNotFound}


def test_a_restart_is_consumed_once_by_two_passes(engines: tuple[Engine, Engine]) -> None:
    acme = _add(engines[0], "acme")
    for number in ROUNDS:
        with writing(engines[0]) as connection:
            db.request_restart(connection, acme.id, NOW)
        snapshots = together(
            *(lambda engine=engine: read_snapshot(engine, consume_restarts=True) for engine in engines)
        )
        assert [snapshot.clients[0].restart_generation for snapshot in snapshots] == [number + 1, number + 1]
    with reading(engines[0]) as connection:
        assert db.get_client(connection, acme.id).restart_generation == len(ROUNDS)


def test_a_pass_that_lost_the_race_to_another_writer_tries_again(engines: tuple[Engine, Engine]) -> None:
    for number in ROUNDS:
        acme = _add(engines[0], f"acme {number}")
        with writing(engines[0]) as connection:
            db.request_restart(connection, acme.id, NOW)
        changes = ClientChanges(version=7)
        snapshot, changed = together(
            lambda: read_snapshot(engines[0], consume_restarts=True),
            in_writing(engines[1], db.update_client, acme.id, changes, NOW),
        )
        assert snapshot.clients[-1].restart_generation == 1
        assert changed.version == 7


def test_of_two_places_that_would_be_a_fleets_home_at_once_one_is(engines: tuple[Engine, Engine]) -> None:
    homes = [Home(uid, f"namespace {uid} of https://10.0.0.1:6443") for uid in ("trading", "staging")]
    results = together(
        *(in_writing(engine, store_home, home, None) for engine, home in zip(engines, homes, strict=True))
    )
    (refused,) = [result for result in results if isinstance(result, DatabaseBusy)]
    assert read_snapshot(engines[0], consume_restarts=False).home == homes[1 - results.index(refused)]


def test_of_two_who_upgrade_one_waits_and_finds_it_done(database_url: str) -> None:
    engines = connect(database_url), connect(database_url)
    results: list[Upgrade] = together(*(lambda engine=engine: upgrade(engine) for engine in engines))
    assert {result.before for result in results} == {None, HEAD}
    with reading(engines[0]) as connection:
        assert len(connection.execute(select(fleet.c.uuid)).all()) == 1
    for engine in engines:
        engine.dispose()


def test_two_who_use_a_sqlite_file_for_the_first_time_both_can(sqlite_url: str) -> None:
    for engine in together(*(lambda: open_database(sqlite_url),) * 4):
        with reading(engine) as connection:
            assert list(db.list_clients(connection)) == []


def test_two_who_change_the_same_clients_in_another_order_both_get_their_way(engine: Engine) -> None:
    names = [f"client {number}" for number in range(6)]
    for name in names:
        clients.add_client(engine, NewClient(name))
    rounds = 20

    def restart(order: list[str]) -> None:
        for _ in range(rounds):
            clients.restart_clients(engine, order)

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(restart, names), threads.submit(restart, names[::-1])]:
            done.result()
    assert all(client.need_restart for client in clients.list_clients(engine))
