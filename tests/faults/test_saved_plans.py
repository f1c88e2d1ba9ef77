"""A saved plan is carried out to the letter or not at all."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from syncctl.core.errors import InvalidInput
from syncctl.core.exits import ExitCode
from syncctl.core.facts import Policy
from syncctl.core.report import Result
from syncctl.db.engine import reading, writing
from syncctl.db.tables import (
    algorithm_status,
    back_offs,
    begun_replacements,
    clients,
    deleted_clients,
    fleet,
    guard_allowances,
    guard_latches,
)
from syncctl.operations.clients import delete_client
from syncctl.operations.planning import PassOptions
from syncctl.operations.saved import read_plan, save_plan
from syncctl.sandbox import PODS, DeleteOptions

from .processes import run
from .world import NAMESPACE, TO_DO, World, add_rows, change_row, switch, vanish


def saved(world: World, options: PassOptions | None = None) -> PassOptions:
    """Plan, save, and return what the file says."""
    options = options or PassOptions()
    file = world.folder / "plan.json"
    save_plan(file, world.plan(options), options)
    return read_plan(file)


def rows(world: World) -> list[Any]:
    """Return all that a pass could write to the rows."""
    with reading(world.engine) as connection:
        tables = (clients, algorithm_status, deleted_clients, back_offs, begun_replacements, fleet)
        guarded = (guard_latches, guard_allowances)
        return [list(connection.execute(select(table))) for table in tables + guarded]


def delete_pod(world: World, name: str) -> None:
    """Delete a pod behind syncctl's back."""
    world.may_go.add(world.uid(name))
    world.sandbox.store.delete(PODS, NAMESPACE, name, DeleteOptions())


def patch_pod(world: World, name: str, patch: dict[str, Any]) -> None:
    """Patch a pod behind syncctl's back."""
    world.sandbox.store.patch(PODS, NAMESPACE, name, json.dumps(patch).encode())


def test_it_does_exactly_that_plan(harmed: World) -> None:
    options = saved(harmed)
    ended = harmed.run(options)
    assert (ended.code, ended.results()) == (ExitCode.DONE, TO_DO)
    # And only once: what it found is no longer so.
    again = harmed.run(options)
    assert (again.code, again.writes) == (ExitCode.STALE_PLAN, 0)


CHANGES: dict[str, Callable[[World], object]] = {
    "a client is renamed": lambda world: change_row(world.engine, 11, client_name="x"),
    "an image": lambda world: change_row(world.engine, 10, image="desk/vwap:9"),
    "cpu": lambda world: change_row(world.engine, 1, cpu="900m"),
    "a restart": lambda world: change_row(world.engine, 1, need_restart=True),
    "a restart is taken back": lambda world: change_row(world.engine, 5, need_restart=False),
    "a client more": lambda world: add_rows(world.engine, {12: "hft"}),
    "a client deleted": lambda world: delete_client(world.engine, "11"),
    "a row vanished": lambda world: vanish(world.engine, 11),
    "a row became invalid": lambda world: change_row(world.engine, 11, cpu="1,5"),
    "an algorithm switched on": lambda world: switch(world.engine, 7, vwap=True),
    "an algorithm switched off": lambda world: switch(world.engine, 11, vwap=False),
    "a pod deleted": lambda world: delete_pod(world, "vwap-11"),
    "a pod that was to go deleted": lambda world: delete_pod(world, "vwap-7"),
    "a pod has failed": lambda world: world.befall("vwap-11", "Failed"),
    "an image patched": lambda world: patch_pod(
        world, "vwap-11", {"spec": {"containers": [{"name": "algorithm", "image": "desk/vwap:hotfix"}]}}
    ),
    "a label patched": lambda world: patch_pod(
        world, "vwap-11", {"metadata": {"labels": {"app.kubernetes.io/instance": "another"}}}
    ),
    "the name of a new pod taken": lambda world: world.stray("vwap-10"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_of_a_row_or_a_pod_makes_it_stale(harmed: World, change: str) -> None:
    options = saved(harmed)
    CHANGES[change](harmed)
    before = rows(harmed)
    ended = harmed.run(options)
    assert (ended.code, ended.writes) == (ExitCode.STALE_PLAN, 0)
    assert ended.error
    said = "the plan was saved for other rows, other pods or another cluster; nothing was written: "
    assert ended.error.message.startswith(said)
    assert re.match(
        r"[a-z]+-\d+: (no step|[a-z]+ .*) when saved, (no step|[a-z]+ .*) now", ended.error.message.removeprefix(said)
    )
    assert ended.error.hint == "make a new one: `syncctl sync plan --out FILE`"
    assert rows(harmed) == before


@pytest.mark.parametrize("change", ["a restart", "an image", "a client deleted", "an algorithm switched off"])
def test_a_change_while_it_looks_makes_it_stale_too(harmed: World, change: str) -> None:
    options = saved(harmed)
    changed: list[Any] = []

    def hook(_request: object, verb: str) -> None:
        # The rows were read before the pods are listed.
        if verb == "list" and not changed:
            CHANGES[change](harmed)
            changed.append(rows(harmed))

    harmed.sandbox.server.on_request = hook
    ended = harmed.run(options)
    assert (ended.code, ended.writes) == (ExitCode.STALE_PLAN, 0)
    assert [rows(harmed)] == changed


def test_time_alone_makes_nothing_stale(harmed: World) -> None:
    options = saved(harmed)
    harmed.settle(3 * 24 * 3600.0)
    assert harmed.run(options).results() == TO_DO


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("allowed", [None, 0, 7])
@pytest.mark.parametrize("adopt", [False, True])
def test_its_options_are_remembered(harmed: World, policy: Policy, allowed: int | None, adopt: bool) -> None:
    given = PassOptions(policy, allowed, adopt)
    found = saved(harmed, given)
    assert (found.policy, found.allow_deletions, found.adopt) == (policy, allowed, adopt)
    assert found.expected_digest == harmed.plan(given).digest


def moved(world: World) -> None:
    """Make the fleet one whose home was elsewhere."""
    with writing(world.engine) as connection:
        connection.execute(update(fleet).values(home="another-uid", home_name="namespace trading of https://elsewhere"))


def test_a_plan_that_moves_the_fleet_is_carried_out_as_such(harmed: World) -> None:
    moved(harmed)
    refused = {name for name, result in TO_DO.items() if name in ("vwap-4", "vwap-5", "vwap-6", "vwap-10")}
    judged = harmed.plan()
    assert {step.name for step in judged.plan.drifted if step.held} == refused
    options = saved(harmed, PassOptions(move_here=True))
    assert options.move_here
    ended = harmed.run(options)
    assert (ended.code, ended.results()) == (ExitCode.DONE, TO_DO)
    assert harmed.converges()


def test_a_plan_that_was_saved_before_the_fleet_moved_is_stale(harmed: World) -> None:
    options = saved(harmed)
    moved(harmed)
    ended = harmed.run(options)
    assert (ended.code, ended.writes) == (ExitCode.STALE_PLAN, 0)


def test_a_plan_that_was_saved_before_fleets_had_homes_moves_none(harmed: World) -> None:
    file = harmed.folder / "plan.json"
    save_plan(file, harmed.plan(), PassOptions())
    document = json.loads(file.read_text())
    del document["move_here"]
    file.write_text(json.dumps(document))
    options = read_plan(file)
    assert not options.move_here
    assert harmed.run(options).results() == TO_DO


def test_a_policy_that_was_saved_is_carried_out(harmed: World) -> None:
    ended = harmed.run(saved(harmed, PassOptions(Policy.CREATE_ONLY)))
    assert ended.results() == {**dict.fromkeys(TO_DO, Result.DEFERRED), "vwap-10": Result.CREATED}


@pytest.mark.parametrize(("allowed", "code"), [(None, ExitCode.REFUSED), (6, ExitCode.DONE)])
def test_deletions_that_were_allowed_are_allowed_then(harmed: World, allowed: int | None, code: ExitCode) -> None:
    gone = {1: ("vwap-1", "twap-1"), 2: ("vwap-2",), 3: ("vwap-3",), 4: ("vwap-4",)}
    vanish(harmed.engine, *gone)
    harmed.may_go.update(harmed.uid(name) for names in gone.values() for name in names)
    ended = harmed.run(saved(harmed, PassOptions(allow_deletions=allowed)))
    assert ended.code is code
    orphans = {"vwap-9", *(name for names in gone.values() for name in names)}
    assert {ended.results()[name] for name in orphans} == {Result.REFUSED if allowed is None else Result.DELETED}


GOOD = {"format": 1, "digest": "0" * 64, "policy": "sync", "allow_deletions": None, "adopt": False, "steps": []}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b'"plan"',
        b"{}",
        b"[" * 100_000,
        *(json.dumps({key: value for key, value in GOOD.items() if key != left_out}).encode()
          for left_out in ("format", "digest", "policy", "allow_deletions", "adopt")),
        json.dumps({**GOOD, "format": 2}).encode(),
        json.dumps({**GOOD, "policy": "everything"}).encode(),
        json.dumps({**GOOD, "allow_deletions": "many"}).encode(),
        json.dumps({**GOOD, "allow_deletions": -1}).encode(),
        json.dumps({**GOOD, "allow_deletions": True}).encode(),
        json.dumps({**GOOD, "adopt": "no"}).encode(),
        json.dumps({**GOOD, "move_here": "no"}).encode(),
        json.dumps({**GOOD, "digest": None}).encode(),
    ],
    ids=lambda content: content[:40].decode(errors="replace"),
)  # fmt: skip
def test_what_is_no_plan_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        read_plan(file)
    assert refused.value.message.startswith(f"plan {file}: ")


def test_a_file_that_cannot_be_read_or_written_is_said_so(harmed: World, tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "nowhere" / "plan.json"):
        with pytest.raises(InvalidInput, match="cannot be read: "):
            read_plan(file)
        with pytest.raises(InvalidInput, match="cannot be written: "):
            save_plan(file, harmed.plan(), PassOptions())


def test_the_commands(harmed: World, tmp_path: Path) -> None:
    file = str(tmp_path / "saved.json")
    made = run(harmed, "sync", "plan", "--out", file, "--policy", "upsert-only")
    assert made.code == 0
    assert made.err.endswith(f"Saved. `syncctl sync once --plan {file}` does exactly this.\n")
    assert {step["pod"] for step in json.loads(Path(file).read_text())["steps"]} == set(TO_DO)
    both = run(harmed, "sync", "once", "--plan", file, "--adopt")
    assert both.code == 2
    assert "--plan goes without" in both.err
    switch(harmed.engine, 1, twap=False)
    stale = run(harmed, "sync", "once", "--plan", file)
    assert (stale.code, stale.out) == (7, "")
    assert stale.err == (
        "error: the plan was saved for other rows, other pods or another cluster; nothing was written:"
        f" twap-1: no step when saved, delete of pod {harmed.uid('twap-1')} (switched-off) now\n"
        "hint: make a new one: `syncctl sync plan --out FILE`\n"
    )
    assert harmed.writes() == 0
