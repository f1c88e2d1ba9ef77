"""Back-offs come back as they were stored, key by key."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select

from syncctl.core.memory import BackOff
from syncctl.core.model import Algorithm, PodKey
from syncctl.db.back_offs import read_back_offs, store_back_offs
from syncctl.db.engine import reading, writing
from syncctl.db.rows import BATCH
from syncctl.db.snapshot import read_snapshot
from syncctl.db.tables import back_offs

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
VWAP_OF_7, HFT_OF_7, VWAP_OF_8 = PodKey(7, Algorithm.VWAP), PodKey(7, Algorithm.HFT), PodKey(8, Algorithm.VWAP)


def a_back_off(failures: int, minutes: float = 5, made_of: str = "0123456789abcdef") -> BackOff:
    return BackOff(failures, NOW + timedelta(minutes=minutes), made_of, f"uid of {failures}")


def store(engine: Engine, changed: dict[PodKey, BackOff | None]) -> None:
    with writing(engine) as connection:
        store_back_offs(connection, changed)


def stored(engine: Engine) -> dict[PodKey, BackOff]:
    with reading(engine) as connection:
        return read_back_offs(connection)


def test_there_are_none_at_first(engine: Engine) -> None:
    assert stored(engine) == {}


def test_they_come_back_as_they_were_in_the_snapshot_too(engine: Engine) -> None:
    given = {VWAP_OF_7: a_back_off(3, 4.321), HFT_OF_7: a_back_off(1, 0, "")}
    store(engine, dict(given))
    assert stored(engine) == given
    assert read_snapshot(engine, consume_restarts=False).back_offs == given


def test_only_what_has_changed_is_touched(engine: Engine) -> None:
    store(engine, {VWAP_OF_7: a_back_off(1, 1), HFT_OF_7: a_back_off(2, 2), VWAP_OF_8: a_back_off(3, 4)})
    store(engine, {VWAP_OF_7: a_back_off(1, 0), HFT_OF_7: None})
    assert stored(engine) == {VWAP_OF_7: a_back_off(1, 0), VWAP_OF_8: a_back_off(3, 4)}


def test_nothing_to_store_is_nothing_to_do(engine: Engine) -> None:
    store(engine, {VWAP_OF_7: a_back_off(1, 1)})
    store(engine, {})
    store(engine, {VWAP_OF_8: None})
    assert stored(engine) == {VWAP_OF_7: a_back_off(1, 1)}


def test_a_transaction_that_fails_changes_none(engine: Engine) -> None:
    store(engine, {VWAP_OF_7: a_back_off(1, 1)})

    def fail() -> None:
        with writing(engine) as connection:
            store_back_offs(connection, {VWAP_OF_7: None, VWAP_OF_8: a_back_off(1, 1)})
            raise RuntimeError("the body's own")

    with pytest.raises(RuntimeError, match="the body's own"):
        fail()
    assert stored(engine) == {VWAP_OF_7: a_back_off(1, 1)}


@pytest.mark.parametrize("number", [BATCH, BATCH + 1])
def test_a_fleet_that_all_ends_at_once_is_stored_in_batches(engine: Engine, number: int) -> None:
    all_of_them: dict[PodKey, BackOff | None] = {
        PodKey(client_id, Algorithm.VWAP): a_back_off(1, 1) for client_id in range(1, number + 1)
    }
    store(engine, all_of_them)
    store(engine, all_of_them)
    assert len(stored(engine)) == number
    store(engine, dict.fromkeys(all_of_them))
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(back_offs)).scalar_one() == 0


keys = st.builds(PodKey, st.integers(1, 3), st.sampled_from(Algorithm))
values = st.none() | st.builds(a_back_off, st.integers(1, 100_000), st.floats(-1e6, 1e6), st.sampled_from(["", "a1b2"]))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(keys, values), max_size=4))
def test_they_are_like_a_dictionary(engine: Engine, changes: list[dict[PodKey, BackOff | None]]) -> None:
    store(engine, dict.fromkeys(stored(engine)))
    model: dict[PodKey, BackOff | None] = {}
    for changed in changes:
        store(engine, changed)
        model |= changed
    assert stored(engine) == {key: value for key, value in model.items() if value}
