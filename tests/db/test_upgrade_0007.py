"""What the upgrade to revision 0007 makes of what passes have left."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from alembic.command import upgrade as upgrade_to
from sqlalchemy import Engine, text

from syncctl.core.model import Algorithm, BackOff, PodKey
from syncctl.db.back_offs import read_back_offs
from syncctl.db.engine import connect, reading, writing
from syncctl.db.migrations import alembic_config, locked, upgrade
from syncctl.db.schema import REVISIONS

BEFORE = REVISIONS[REVISIONS.index("0007") - 1]
A_MOMENT = timedelta(seconds=20)


@pytest.fixture
def older(database_url: str) -> Iterator[Engine]:
    """A database of the revision before."""
    engine = connect(database_url)
    with locked(engine) as connection:
        config = alembic_config()
        config.attributes.update(connection=connection, say=lambda _step: None)
        upgrade_to(config, BEFORE)
    yield engine
    engine.dispose()


def write(engine: Engine, *statements: str) -> None:
    with writing(engine) as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_b4_passes_to_wait_become_five_minutes_each_from_now(older: Engine) -> None:
    write(older, "INSERT INTO back_offs VALUES (7, 'vwap', 3, 4), (7, 'hft', 1, 0), (8, 'twap', 9, 64)")
    before = datetime.now(UTC)
    upgrade(older)
    with reading(older) as connection:
        found = read_back_offs(connection)
    waits = {
        PodKey(7, Algorithm.VWAP): (3, 20),
        PodKey(7, Algorithm.HFT): (1, 0),
        PodKey(8, Algorithm.TWAP): (9, 320),
    }
    assert found.keys() == waits.keys()
    for key, (failures, minutes) in waits.items():
        assert found[key] == BackOff(failures, found[key].until, "", "")
        assert abs(found[key].until - before - timedelta(minutes=minutes)) < A_MOMENT
