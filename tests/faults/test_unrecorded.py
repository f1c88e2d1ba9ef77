"""A pass ends before it has recorded what it made: the next one does that, whatever has happened in between."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event

from syncctl.core.exits import ExitCode
from syncctl.core.shard import Shard
from syncctl.db.clients import list_clients
from syncctl.db.engine import reading
from syncctl.operations.planning import PassOptions
from syncctl.sandbox import PODS

from .world import NAMESPACE, Witness, World, add_rows, change_row, switch

NUMBER = 6


class Bug(Exception):
    """Something that nobody foresaw."""


@pytest.fixture
def unrecorded(world: World) -> World:
    """A fleet whose pods are all there, made by a pass that failed when it had made them."""
    add_rows(world.engine, dict.fromkeys(range(1, NUMBER + 1), "vwap"))
    fails(world)
    assert world.unrecorded() == {f"vwap-{number}" for number in range(1, NUMBER + 1)}
    return world


def fails(world: World, options: PassOptions = PassOptions()) -> None:  # noqa: B008 - frozen
    """Run a pass that does its work and then fails, and let the time until the next one pass."""

    def fail() -> None:
        raise Bug

    with pytest.raises(Bug):
        world.run(options, witness=Witness(on_report=fail))
    world.settle()


def spawned(world: World) -> dict[int, datetime | None]:
    with reading(world.engine) as connection:
        return {client.id: client.spawned_at for client in list_clients(connection)}


def made(world: World, name: str) -> datetime:
    content: Any = world.sandbox.store.get(PODS, NAMESPACE, name).content
    return datetime.fromisoformat(content["metadata"]["creationTimestamp"])


def test_the_next_pass_takes_the_moment_from_the_cluster_and_changes_nothing_else(unrecorded: World) -> None:
    ended = unrecorded.run()
    assert (ended.code, ended.writes, ended.results()) == (ExitCode.DONE, 0, {})
    assert spawned(unrecorded) == {number: made(unrecorded, f"vwap-{number}") for number in range(1, NUMBER + 1)}


def test_it_is_the_newest_pod_of_a_client_that_counts(unrecorded: World) -> None:
    assert unrecorded.run().code is ExitCode.DONE
    switch(unrecorded.engine, 1, twap=True)
    change_row(unrecorded.engine, 2, need_restart=True)
    unrecorded.may_go.add(unrecorded.uid("vwap-2"))
    fails(unrecorded)
    assert unrecorded.unrecorded() == {"twap-1", "vwap-2"}
    before = spawned(unrecorded)
    unrecorded.run()
    changed = {1: made(unrecorded, "twap-1"), 2: made(unrecorded, "vwap-2")}
    assert spawned(unrecorded) == before | changed
    assert made(unrecorded, "twap-1") > made(unrecorded, "vwap-1")


def test_what_this_pass_makes_comes_after_what_it_found(unrecorded: World) -> None:
    change_row(unrecorded.engine, 1, need_restart=True)
    unrecorded.may_go.add(unrecorded.uid("vwap-1"))
    found = made(unrecorded, "vwap-1")
    unrecorded.run()
    at = spawned(unrecorded)[1]
    assert at
    assert at > found
    assert unrecorded.unrecorded() == set()


def cannot_list(world: World) -> None:
    world.sandbox.faults.add(verb="list", status=403, times=None)
    assert world.run().code is ExitCode.ERROR
    world.sandbox.faults.clear()


def cannot_record(world: World) -> None:
    def away(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO passes"):
            raise world.engine.dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    event.listen(world.engine, "before_cursor_execute", away)
    ended = world.run()
    event.remove(world.engine, "before_cursor_execute", away)
    assert (ended.code, ended.writes) == (ExitCode.ERROR, 0)


def is_stale(world: World) -> None:
    assert world.run(PassOptions(expected_digest="of another plan")).code is ExitCode.STALE_PLAN


@pytest.mark.parametrize("next_one", [cannot_list, cannot_record, is_stale, fails])
def test_a_next_pass_that_fails_too_leaves_it_to_the_one_after(
    unrecorded: World, next_one: Callable[[World], None]
) -> None:
    next_one(unrecorded)
    unrecorded.settle()
    assert unrecorded.run().code is ExitCode.DONE
    assert unrecorded.unrecorded() == set()


def test_a_pod_that_is_not_wanted_any_more_was_made_all_the_same(unrecorded: World) -> None:
    switch(unrecorded.engine, 1, vwap=False)
    # Not a pod of its kind can come of this row.
    change_row(unrecorded.engine, 2, image="no image")
    unrecorded.may_go.add(unrecorded.uid("vwap-1"))
    moments = {number: made(unrecorded, f"vwap-{number}") for number in range(1, NUMBER + 1)}
    assert set(unrecorded.run().results()) == {"vwap-1"}
    assert spawned(unrecorded) == moments


def test_a_pod_of_the_go_service_was_made_by_no_pass(unrecorded: World) -> None:
    add_rows(unrecorded.engine, {7: "vwap"})
    unrecorded.sandbox.faults.add(verb="delete", status=403)
    unrecorded.may_go.add(unrecorded.stray("vmap-7"))
    ended = unrecorded.run(PassOptions(adopt=True))
    assert ended.code is ExitCode.INCOMPLETE
    assert spawned(unrecorded)[7] is None
    assert unrecorded.unrecorded() == set()


def test_a_shard_makes_up_for_its_own_clients(unrecorded: World) -> None:
    unrecorded.run(PassOptions(shard=Shard(0, 2)))
    assert unrecorded.unrecorded() == {"vwap-1", "vwap-3", "vwap-5"}
    unrecorded.run(PassOptions(shard=Shard(1, 2)))
    assert unrecorded.unrecorded() == set()


def test_a_pass_after_one_that_is_recorded_does_not_even_look(unrecorded: World) -> None:
    first, second, third = (statements_of(unrecorded.engine, unrecorded.run) for _ in range(3))
    assert len(second) == len(third)
    assert sum("spawned_at" in statement for statement in second) == 1
    assert len(first) > len(second)


def statements_of(engine: Engine, act: Callable[[], object]) -> list[str]:
    statements: list[str] = []

    def sent(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", sent)
    act()
    event.remove(engine, "before_cursor_execute", sent)
    return statements
