"""Whatever core lets through comes back from both databases as it went in."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, insert

from syncctl.core.errors import ClientNotFound
from syncctl.core.model import Algorithm, ClientChanges, NewClient
from syncctl.core.validation import LARGEST_ID, LARGEST_VERSION, LONGEST_IMAGE, LONGEST_NAME, name_problems
from syncctl.db import clients as db
from syncctl.db.engine import reading, writing
from syncctl.db.snapshot import read_snapshot
from syncctl.db.spawned import record_spawned
from syncctl.db.tables import clients, deleted_clients

# One database serves all examples: each empties it first.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)

names = st.text(min_size=1, max_size=LONGEST_NAME).filter(lambda name: not name_problems(name))
# Core knows nothing of these two but their length here; the database must not care what they say.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
new_clients = st.builds(
    NewClient,
    name=names,
    image=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=LONGEST_IMAGE),
    cpu=texts,
    memory=texts,
    priority=st.floats(allow_nan=False, allow_infinity=False),
    version=st.integers(0, LARGEST_VERSION),
    algorithms=st.frozensets(st.sampled_from(Algorithm)),
)
times = st.datetimes(datetime(2, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - zone follows


@shared
@given(new=new_clients, now=times)
def test_a_client_comes_back_as_it_went_in(engine: Engine, new: NewClient, now: datetime) -> None:
    with writing(engine) as connection:
        connection.execute(delete(clients))
        added = db.insert_client(connection, new, now)
    assert (added.name, added.image, added.cpu, added.memory) == (new.name, new.image, new.cpu, new.memory)
    assert (added.priority, added.version) == (new.priority, new.version)
    assert (added.created_at, added.updated_at) == (now, now)
    assert added.algorithms is not None
    assert frozenset(added.algorithms.on) == new.algorithms
    with reading(engine) as connection:
        assert list(db.list_clients(connection)) == [added]
        if not new.name.isascii() or not new.name.isdigit():
            assert db.find_client(connection, new.name) == added
    assert read_snapshot(engine, consume_restarts=True).clients == (added,)


@shared
@given(new=new_clients, other=new_clients, now=times)
def test_an_update_to_everything_makes_another_client(
    engine: Engine, new: NewClient, other: NewClient, now: datetime
) -> None:
    changes = ClientChanges(other.name, other.image, other.cpu, other.memory, other.priority, other.version)
    with writing(engine) as connection:
        connection.execute(delete(clients))
        before = db.insert_client(connection, new, now)
        after = db.update_client(connection, before.id, changes, now)
        flags = {algorithm: algorithm in other.algorithms for algorithm in Algorithm}
        after = db.set_algorithms(connection, before.id, flags, now)
    assert (after.id, after.name, after.image, after.cpu, after.memory, after.priority, after.version) == (
        before.id,
        other.name,
        other.image,
        other.cpu,
        other.memory,
        other.priority,
        other.version,
    )
    assert after.algorithms is not None
    assert frozenset(after.algorithms.on) == other.algorithms


@shared
@given(client_id=st.integers(1, LARGEST_ID))
def test_every_id_of_64_bits_is_found_and_deleted_and_remembered(engine: Engine, client_id: int) -> None:
    with writing(engine) as connection:
        connection.execute(delete(clients))
        connection.execute(delete(deleted_clients))
        connection.execute(insert(clients).values(id=client_id, client_name="acme"))
        assert db.find_client(connection, str(client_id)).id == client_id
        record_spawned(connection, [client_id], datetime(2024, 5, 1, tzinfo=UTC))
        db.delete_client(connection, client_id, datetime(2024, 5, 1, tzinfo=UTC), "alice")
    assert read_snapshot(engine, consume_restarts=True).deleted.keys() == {client_id}


@shared
@given(reference=st.text())
def test_no_reference_is_more_than_not_found(engine: Engine, reference: str) -> None:
    with pytest.raises(ClientNotFound) as caught, reading(engine) as connection:
        db.find_client(connection, reference)
    # A message that cannot be printed would be the next error.
    assert caught.value.message.encode()
