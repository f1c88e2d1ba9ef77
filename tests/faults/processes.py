"""Real processes, as a CronJob or a person starts them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .world import World

PATIENCE = 30.0
"""Seconds after which a thing that has not come to pass never will."""


class Child:
    """One `syncctl`, with the database and the cluster of a world."""

    def __init__(self, world: World, *arguments: str, launcher: str = "", stdin: Any = subprocess.DEVNULL) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNCCTL_")}
        environment["SYNCCTL_DATABASE_URL"] = world.engine.url.render_as_string(hide_password=False)
        environment["SYNCCTL_KUBECONFIG"] = world.kubeconfig()
        how = ["-c", launcher] if launcher else ["-m", "syncctl"]
        self.process = subprocess.Popen(
            [sys.executable, *how, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        self.process.send_signal(number)

    def ended(self) -> "Finished":
        """Wait for its end."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return Finished(self.process.returncode, out, err)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@dataclass(frozen=True)
class Finished:
    """What came of a process."""

    code: int
    out: str
    err: str

    @property
    def counts(self) -> dict[str, int]:
        """The counts of the report that it printed as JSON, those that are 0 left out."""
        return {result: number for result, number in json.loads(self.out)["counts"].items() if number}

    @property
    def details(self) -> set[str]:
        """Why, of all outcomes that have a why of their own."""
        return {outcome["detail"] for outcome in json.loads(self.out)["outcomes"] if outcome["detail"]}


def run(world: World, *arguments: str) -> Finished:
    """Run one to its end."""
    with Child(world, *arguments) as child:
        return child.ended()


def poll(reached: Callable[[], Any]) -> Any:
    """Wait for something that another process does, and return it."""
    until = time.monotonic() + PATIENCE
    while not (found := reached()):
        assert time.monotonic() < until, "has not come to pass"
        time.sleep(0.02)
    return found
