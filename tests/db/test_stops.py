"""Clients that are stopped past the limit: all at once or none, and the permission lasts until it is carried out."""

import pytest
from sqlalchemy import Engine

from syncctl.core.errors import ClientNotFound, InvalidInput
from syncctl.core.heed import Wish
from syncctl.core.model import Algorithm, ClientChanges, NewClient, PodKey
from syncctl.db.engine import reading, writing
from syncctl.db.said import read_said
from syncctl.db.snapshot import read_snapshot
from syncctl.db.stops import forget_stops
from syncctl.operations import clients
from syncctl.operations.author import Author, written_by
from syncctl.operations.changes import list_changes, revert_changes

BOTH = frozenset({Algorithm.VWAP, Algorithm.HFT})


@pytest.fixture
def desk(engine: Engine) -> Engine:
    desk = written_by(engine, Author("anna@desk7", "syncctl client stop", "the feed is wrong"))
    for name, algorithms in (("acme", BOTH), ("globex", BOTH), ("idle", frozenset[Algorithm]())):
        clients.add_client(desk, NewClient(name, algorithms=algorithms))
    return desk


def running(engine: Engine) -> dict[str, tuple[Algorithm, ...]]:
    return {each.name: each.algorithms.on if each.algorithms else () for each in clients.list_clients(engine)}


def allowed(engine: Engine) -> set[int]:
    return set(read_snapshot(engine, consume_restarts=False).allowed_stops)


@pytest.mark.parametrize("whom", [["acme", "globex", "idle"], None])
def test_all_of_them_are_switched_off_and_those_that_ran_are_named(desk: Engine, whom: list[str] | None) -> None:
    found = clients.stop_clients(desk, whom)
    assert [client.name for client in found] == ["acme", "globex"]
    assert set(running(desk).values()) == {()}
    assert allowed(desk) == {1, 2, 3}
    assert [(each.client_name, each.what, each.reason) for each in list_changes(desk, limit=2)] == [
        ("globex", "vwap off, hft off", "the feed is wrong"),
        ("acme", "vwap off, hft off", "the feed is wrong"),
    ]


def test_where_one_is_not_known_none_is_stopped(desk: Engine) -> None:
    with pytest.raises(ClientNotFound):
        clients.stop_clients(desk, ["acme", "nobody"])
    assert running(desk)["acme"] == (Algorithm.VWAP, Algorithm.HFT)
    assert allowed(desk) == set()


def test_what_is_allowed_is_seen_by_a_pass_that_is_at_work(desk: Engine) -> None:
    key, other = PodKey(1, Algorithm.VWAP), PodKey(2, Algorithm.VWAP)
    clients.stop_clients(desk, ["acme"])
    with reading(desk) as connection:
        said = read_said(connection, [key, other])
    assert (said[key].wish, said[key].may_pass) == (Wish.OFF, True)
    assert (said[other].wish, said[other].may_pass) == (Wish.WANTED, False)
    clients.delete_client(desk, "acme")
    with reading(desk) as connection:
        assert read_said(connection, [key])[key].may_pass


def test_what_was_allowed_once_more_since_is_not_forgotten(desk: Engine) -> None:
    clients.stop_clients(desk, ["acme", "globex"])
    known = read_snapshot(desk, consume_restarts=False).allowed_stops
    clients.stop_clients(desk, ["acme"])
    with writing(desk) as connection:
        forget_stops(connection, known)
    assert allowed(desk) == {1}


def test_a_stop_of_several_is_taken_back_by_one_command(desk: Engine) -> None:
    before = running(desk)
    clients.stop_clients(desk, None)
    stopped = [change.id for change in list_changes(desk, limit=2)]
    revert_changes(desk, ["acme", "globex"], None)
    assert running(desk) == before
    first, second = list_changes(desk, limit=2)
    assert first.reason == second.reason == f"reverts changes {stopped[1]} to {stopped[0]}: the feed is wrong"


def test_what_was_not_done_at_once_is_not_taken_back_at_once(desk: Engine) -> None:
    clients.stop_clients(desk, ["acme", "globex"])
    other = written_by(desk, Author("bob@desk8", "syncctl client update"))
    clients.update_client(other, "globex", ClientChanges(image="desk/vwap:2"))
    with pytest.raises(InvalidInput) as refused:
        revert_changes(desk, ["acme", "globex"], None)
    assert "the last change of globex is another: version 1 -> 2, image none -> desk/vwap:2, by bob@desk8" in str(
        refused.value.message
    )
    assert set(running(desk).values()) == {()}
