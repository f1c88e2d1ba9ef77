"""Replacements that were begun come back as they were stored, key by key, and only those of the own shard."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from syncctl.core.memory import Begun
from syncctl.core.model import Algorithm, PodKey
from syncctl.core.shard import WHOLE, Shard
from syncctl.db.begun import forget_begun, read_begun, store_begun
from syncctl.db.engine import reading, writing
from syncctl.db.rows import BATCH
from syncctl.db.snapshot import read_snapshot

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 14, 35, 0, 123456, tzinfo=UTC)
VWAP_OF_7, HFT_OF_7, VWAP_OF_8 = PodKey(7, Algorithm.VWAP), PodKey(7, Algorithm.HFT), PodKey(8, Algorithm.VWAP)


def store(engine: Engine, begun: dict[PodKey, Begun]) -> None:
    with writing(engine) as connection:
        store_begun(connection, begun)


def forget(engine: Engine, *keys: PodKey) -> None:
    with writing(engine) as connection:
        forget_begun(connection, keys)


def stored(engine: Engine) -> dict[PodKey, Begun]:
    with reading(engine) as connection:
        return read_begun(connection)


def test_there_are_none_at_first(engine: Engine) -> None:
    assert stored(engine) == {}
    assert read_snapshot(engine, consume_restarts=True).begun == {}


@pytest.mark.parametrize("consume", [False, True])
def test_they_come_back_as_they_were_in_the_snapshot_too(engine: Engine, consume: bool) -> None:
    given = {VWAP_OF_7: Begun(NOW, stopped=True), HFT_OF_7: Begun(LATER, stopped=False)}
    store(engine, given)
    assert stored(engine) == given
    assert read_snapshot(engine, consume_restarts=consume).begun == given


def test_one_that_begins_again_begins_then(engine: Engine) -> None:
    store(engine, {VWAP_OF_7: Begun(NOW, stopped=False), VWAP_OF_8: Begun(NOW, stopped=True)})
    store(engine, {VWAP_OF_7: Begun(LATER, stopped=True)})
    assert stored(engine) == {VWAP_OF_7: Begun(LATER, stopped=True), VWAP_OF_8: Begun(NOW, stopped=True)}


def test_only_what_is_named_is_forgotten(engine: Engine) -> None:
    begun = Begun(NOW, stopped=True)
    store(engine, dict.fromkeys((VWAP_OF_7, HFT_OF_7, VWAP_OF_8), begun))
    forget(engine)
    forget(engine, PodKey(9, Algorithm.VWAP))
    assert stored(engine).keys() == {VWAP_OF_7, HFT_OF_7, VWAP_OF_8}
    forget(engine, VWAP_OF_7, VWAP_OF_8)
    assert stored(engine) == {HFT_OF_7: begun}


@pytest.mark.parametrize("number", [BATCH, BATCH + 1])
def test_a_fleet_that_is_all_replaced_is_stored_and_forgotten_in_batches(engine: Engine, number: int) -> None:
    all_of_them = {PodKey(each, Algorithm.VWAP): Begun(NOW, stopped=True) for each in range(1, number + 1)}
    store(engine, all_of_them)
    store(engine, all_of_them)
    assert len(stored(engine)) == number
    forget(engine, *all_of_them)
    assert stored(engine) == {}


@pytest.mark.parametrize("shard", [WHOLE, Shard(0, 3), Shard(1, 3), Shard(2, 3), Shard(255, 256)], ids=str)
def test_a_shard_reads_only_its_own(engine: Engine, shard: Shard) -> None:
    numbers = (1, 2, 3, 255, 256, 257, 511, 1 << 40)
    store(engine, {PodKey(each, Algorithm.HFT): Begun(NOW, stopped=True) for each in numbers})
    read = read_snapshot(engine, consume_restarts=False, shard=shard).begun
    assert {key.client_id for key in read} == {each for each in numbers if each % 256 in shard.buckets}


keys = st.builds(PodKey, st.integers(1, 3), st.sampled_from(Algorithm))
values = st.builds(Begun, st.sampled_from([NOW, LATER]), st.booleans())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(keys, values) | st.sets(keys), max_size=4))
def test_they_are_like_a_dictionary(engine: Engine, changes: list[dict[PodKey, Begun] | set[PodKey]]) -> None:
    forget(engine, *stored(engine))
    model: dict[PodKey, Begun] = {}
    for change in changes:
        if isinstance(change, dict):
            store(engine, change)
            model |= change
        else:
            forget(engine, *change)
            model = {key: value for key, value in model.items() if key not in change}
    assert stored(engine) == model
