"""The fleet's home is stored once, and moved only by who knows where it was."""

import pytest
from sqlalchemy import Engine

from syncctl.core.errors import DatabaseBusy
from syncctl.core.memory import Home
from syncctl.core.shard import Shard
from syncctl.db.engine import writing
from syncctl.db.home import store_home
from syncctl.db.snapshot import read_snapshot

TRADING = Home("6a1f0c4e-0b1d-4d53-8f0e-3c6d1a5e2f90", "namespace trading of https://10.0.0.1:6443")
STAGING = Home("b7a1f9c4-0d7e-4b53-8f0e-3c6d1a5e2f90", "namespace staging of https://10.0.0.1:6443")


def store(engine: Engine, home: Home, instead_of: Home | None = None) -> None:
    with writing(engine) as connection:
        store_home(connection, home, instead_of)


def stored(engine: Engine) -> Home | None:
    return read_snapshot(engine, consume_restarts=False).home


def test_a_new_fleet_has_none(engine: Engine) -> None:
    assert stored(engine) is None
    assert read_snapshot(engine, consume_restarts=True).home is None


def test_it_comes_back_as_it_was_stored_whoever_reads_it(engine: Engine) -> None:
    store(engine, TRADING)
    assert stored(engine) == TRADING
    assert read_snapshot(engine, consume_restarts=True, shard=Shard(1, 4)).home == TRADING


def test_it_moves_when_it_is_where_the_pass_thought(engine: Engine) -> None:
    store(engine, TRADING)
    store(engine, STAGING, instead_of=TRADING)
    assert stored(engine) == STAGING


def test_two_shards_that_find_none_may_store_the_same(engine: Engine) -> None:
    store(engine, TRADING)
    store(engine, TRADING)
    assert stored(engine) == TRADING


@pytest.mark.parametrize("thought", [None, STAGING])
def test_nobody_stores_another_one_over_what_it_has_not_read(engine: Engine, thought: Home | None) -> None:
    elsewhere = Home("c1", "namespace elsewhere of https://10.0.0.1:6443")
    store(engine, TRADING)
    with pytest.raises(DatabaseBusy, match=r"namespace trading of .*, and here is namespace elsewhere of "):
        store(engine, elsewhere, instead_of=thought)
    assert stored(engine) == TRADING
