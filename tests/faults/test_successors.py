"""When the successors of pods that were ended for something new are made."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from syncctl.sandbox.wire import Request

from syncctl.core import names
from syncctl.core.exits import ExitCode
from syncctl.core.report import Result
from syncctl.db.engine import connect, writing
from syncctl.sandbox import PODS
from syncctl.sandbox.objects import Event

from .world import NAMESPACE, World, add_rows

DEADLINE = 150.0


@dataclass
class Diary:
    """When pods were told to go and when they were made, in seconds of driven time."""

    world: World
    began: float = 0.0
    told: dict[str, float] = field(default_factory=dict)
    made: dict[str, float] = field(default_factory=dict)
    most_down: int = 0

    def __post_init__(self) -> None:
        self.began = self.world.time()
        self.world.sandbox.store.subscribe(self._heard)

    def _heard(self, event: Event) -> None:
        record, previous = event.record, event.previous
        if record.resource is not PODS:
            return
        now = self.world.time() - self.began
        if previous is None:
            self.made.setdefault(record.name, now)
        elif record.terminating and not previous.terminating:
            self.told.setdefault(record.name, now)
        self.most_down = max(self.most_down, len(self.told.keys() - self.made.keys()))


@pytest.fixture
def fleet(_sqlite_template: Path, _memory_folder: Path, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes fleets of so many clients whose pods run, and of which a pass may replace all at once."""
    path = _memory_folder / f"{tmp_path.name}.db"
    shutil.copy(_sqlite_template, path)
    engine = connect(f"sqlite:///{path}")
    opened: list[World] = []

    def made(number: int, **settings: Any) -> World:
        world = World(engine, tmp_path).__enter__()
        opened.append(world)
        given = {"page_size": 500, "replace_percent": 100.0, "pass_deadline": DEADLINE, **settings}
        world.settings = world.settings.model_copy(update=given)
        add_rows(engine, dict.fromkeys(range(1, number + 1), "vwap"))
        assert world.run().code is ExitCode.DONE
        world.settle()
        return world

    yield made
    for world in opened:
        assert world.violations == []
        world.__exit__()
    engine.dispose()


@pytest.mark.parametrize("label", [names.FLEET, names.CLIENT_ID, names.ALGORITHM])
def test_a1_an_old_pod_whose_labels_are_edited_in_mid_pass_is_still_waited_for(
    fleet: Callable[..., World], label: str
) -> None:
    world = fleet(2, concurrency=1)
    # Its successor has another name, so no name keeps the two apart.
    with writing(world.engine) as connection:
        connection.execute(text("UPDATE algorithm_status SET id = 101 WHERE client_id = 1"))
    old = world.uid("vwap-1")
    world.may_go.add(old)
    world.sandbox.kubelet.stop_delay = 20.0
    diary = Diary(world)
    beside: list[str] = []

    def hook(request: Request, verb: str) -> None:
        if verb == "list" and diary.told and "vwap-1" in world.pods():
            body = f'{{"metadata": {{"labels": {{"{label}": "7"}}}}}}'
            world.violations.clear()
            world.sandbox.store.patch(PODS, NAMESPACE, "vwap-1", body.encode())
        if verb == "create" and "dryRun" not in request.query and world.sandbox.store.find(PODS, NAMESPACE, "vwap-1"):
            beside.append("vwap-101")

    world.sandbox.server.on_request = hook
    ended = world.run()
    assert beside == []
    assert ended.results() == {"vwap-1": Result.REPLACED}
    assert diary.made["vwap-101"] >= 20
    world.violations.clear()
