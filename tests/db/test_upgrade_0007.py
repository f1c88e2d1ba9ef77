"""What the upgrade to revision 0007 makes of what passes have left."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from alembic.command import upgrade as upgrade_to
from sqlalchemy import Engine, text

from syncctl.core.memory import BackOff, GuardKind
from syncctl.core.model import Algorithm, PodKey
from syncctl.core.shard import WHOLE, Shard
from syncctl.db.back_offs import read_back_offs
from syncctl.db.engine import connect, reading, writing
from syncctl.db.history import list_passes, list_steps
from syncctl.db.migrations import alembic_config, locked, upgrade
from syncctl.db.schema import REVISIONS
from syncctl.db.snapshot import read_snapshot

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


class History:
    """Passes as the revision before has recorded them, one a minute."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._passes = 0

    def passed(self, shard: str, *results: str, error: str | None = None, cause: str = "orphan") -> None:
        """Record a pass that came to these results with its orphans."""
        self._passes += 1
        with writing(self._engine) as connection:
            connection.execute(
                text(
                    "INSERT INTO passes (id, started_at, finished_at, host, who, version, outcome, exit_code, counts,"
                    " error, shard) VALUES (:id, :at, :at, 'host-3', 'cronjob', '1', 'said', 4, '{}', :error, :shard)"
                ),
                {"id": self._passes, "at": f"2026-03-02 14:{self._passes:02}:00", "error": error, "shard": shard},
            )
            for number, result in enumerate(results):
                connection.execute(
                    text(
                        "INSERT INTO pass_steps (pass_id, pod, uid, step, cause, result, reason)"
                        " VALUES (:id, :pod, 'uid', 'delete', :cause, :result, '')"
                    ),
                    {"id": self._passes, "pod": f"vwap-{number}", "cause": cause, "result": result},
                )

    def latched(self, *shards: Shard) -> list[str | None]:
        """Upgrade, and return since when orphans are refused in each of these shards."""
        upgrade(self._engine)
        found = [read_snapshot(self._engine, consume_restarts=False, shard=shard).latches for shard in shards]
        assert {latches[GuardKind.ORPHANS].by for latches in found if latches} <= {"cronjob@host-3"}
        return [f"{latches[GuardKind.ORPHANS].since:%H:%M}" if latches else None for latches in found]


@pytest.mark.parametrize(
    ("last", "still"),
    [
        pytest.param([], False, id="found none"),
        pytest.param(["deleted", "deferred", "failed"], False, id="deleted some"),
        pytest.param(["deferred"], True, id="put them off"),
        pytest.param(["deferred", "failed"], True, id="failed"),
        pytest.param(["refused"], True, id="refused them too"),
    ],
)
def test_c6_orphans_are_latched_that_the_history_says_are_refused(older: Engine, last: list[str], still: bool) -> None:
    history = History(older)
    history.passed("0/1", "refused", cause="switched-off")
    history.passed("0/1", "refused", "refused")
    history.passed("0/1", error="the cluster does not answer")
    history.passed("0/1", "refused")
    history.passed("0/1", *last)
    assert history.latched(WHOLE, Shard(3, 4)) == (["14:02"] * 2 if still else [None] * 2)


def test_c6_they_are_latched_bucket_by_bucket(older: Engine) -> None:
    history = History(older)
    history.passed("0/1", "refused")
    history.passed("0/1")
    history.passed("1/2", "refused")
    history.passed("1/4")
    history.passed("0/2")
    history.passed("7/8", "refused")
    assert history.latched(WHOLE, Shard(1, 4), Shard(3, 4), Shard(0, 2)) == ["14:03", None, "14:03", None]


def test_c6_without_a_history_nothing_is_latched(older: Engine) -> None:
    assert History(older).latched(WHOLE) == [None]


def test_c6_passes_from_before_are_shown_as_they_were(older: Engine) -> None:
    history = History(older)
    history.passed("0/1", "refused", "refused")
    history.passed("0/1", "refused", "deleted")
    upgrade(older)
    shown = [[(step.pod, step.result, step.since) for step in list_steps(older, number)] for number in (1, 2)]
    assert shown == [
        [("vwap-0", "refused", 1), ("vwap-1", "refused", 1)],
        [("vwap-0", "refused", 2), ("vwap-1", "deleted", 2)],
    ]
    assert [(each.problems, each.unhealthy) for each in list_passes(older, 2)] == [(0, 0), (0, 0)]
