"""What the rows say of some keys at this moment."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, event, text

from syncctl.core.heed import Said, Wish
from syncctl.core.model import Algorithm, NewClient, PodKey
from syncctl.db.engine import reading, writing
from syncctl.db.said import read_said
from syncctl.operations import clients

VWAP, TWAP = Algorithm.VWAP, Algorithm.TWAP


@pytest.fixture
def acme(engine: Engine) -> int:
    return clients.add_client(engine, NewClient("acme", algorithms=frozenset({VWAP}))).id


def said(engine: Engine, *keys: PodKey) -> dict[PodKey, Said]:
    with reading(engine) as connection:
        return read_said(connection, keys)


def wish(engine: Engine, client_id: int, algorithm: Algorithm = VWAP) -> Wish:
    key = PodKey(client_id, algorithm)
    return said(engine, key)[key].wish


def sql(engine: Engine, statement: str) -> None:
    with writing(engine) as connection:
        connection.execute(text(statement))


def test_it_is_the_flag_that_counts(engine: Engine, acme: int) -> None:
    assert (wish(engine, acme), wish(engine, acme, TWAP)) == (Wish.WANTED, Wish.OFF)


def test_a_tombstone_tells_a_deleted_client_from_one_that_has_vanished(engine: Engine, acme: int) -> None:
    clients.delete_client(engine, acme)
    assert wish(engine, acme) is Wish.DELETED
    sql(engine, f"INSERT INTO clients (id, client_name) VALUES ({acme}, 'back by hand')")
    # Its algorithms' row has not come back, and nobody has said a word of that.
    assert wish(engine, acme) is Wish.VANISHED
    sql(engine, "DELETE FROM deleted_clients")
    sql(engine, "DELETE FROM clients")
    assert wish(engine, acme) is Wish.VANISHED


def test_suspensions_are_read_where_there_are_any(engine: Engine, acme: int) -> None:
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    key = PodKey(acme, VWAP)
    assert said(engine, key)[key].suspension is None
    assert len([statement for statement in asked if "FROM" in statement]) == 1
    sql(engine, f"INSERT INTO suspensions (client_id, reason, started_by) VALUES ({acme}, 'asked', 'anna')")
    found = said(engine, key)[key].suspension
    assert found is not None
    assert found.reason == "asked"
    ended = datetime(2026, 1, 1, tzinfo=UTC).isoformat(sep=" ")
    sql(engine, f"UPDATE suspensions SET ended_at = '{ended}'")
    assert said(engine, key)[key].suspension is None


def test_many_keys_are_asked_about_at_once_and_none_is_left_out(engine: Engine, acme: int) -> None:
    keys = [PodKey(number, algorithm) for number in range(acme, acme + 150) for algorithm in Algorithm]
    found = said(engine, *keys)
    assert found.keys() == set(keys)
    assert sum(each.wish is Wish.WANTED for each in found.values()) == 1
    assert said(engine) == {}
