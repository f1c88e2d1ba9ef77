"""Run commands as real processes, and say what each one cost. Nothing but the standard library.

The kernel counts for a child the peak memory of the process that it was forked from, so this process stays small: what
needs pods in memory is a process of its own (worker.py).
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PYTHON = sys.executable
SYNCCTL = (PYTHON, "-c", "from syncctl.cli.app import main; main()")
"""What the console script runs."""


@dataclass(frozen=True)
class Cost:
    """What a process cost: seconds on the wall, seconds of CPU, peak megabytes."""

    wall: float
    cpu: float
    peak: float

    def least(self, other: "Cost") -> "Cost":
        """Return the lower of each: what else goes on in a machine only ever adds."""
        return Cost(min(self.wall, other.wall), min(self.cpu, other.cpu), min(self.peak, other.peak))


class Runner:
    """Runs processes in one environment and folder; their words are kept for when one of them fails."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        """Make a runner.

        Args:
            folder: where the processes run, and leave compiled modules.
            variables: what the environment has besides.
        """
        self.folder = folder
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SYNCCTL_", "PYTHON"))}
        self.environment = {
            **inherited,
            # This tree, wherever the environment's own syncctl may be; compiled once, as an installed package is.
            "PYTHONPATH": str(ROOT),
            "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
            "XDG_DATA_HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            **variables,
        }

    def run(self, *command: str, **variables: str) -> Cost:
        """Run a command to its end, with these environment variables besides, and return what it cost.

        Raises:
            RuntimeError: it ended with another exit code than 0.
        """
        out, err = self.folder / "out.txt", self.folder / "err.txt"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            started = time.perf_counter()
            process = subprocess.Popen(
                command,
                env={**self.environment, **variables},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
        process.returncode = code = os.waitstatus_to_exitcode(status)
        if code != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {code}: {err.read_text(errors='replace')[-2000:]}")
        scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
        return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / scale)

    def work(self, job: str, *arguments: object) -> dict[str, Any]:
        """Let worker.py do a job in a process of its own, and return what it found."""
        self.run(PYTHON, str(HERE / "worker.py"), job, *map(str, arguments))
        found: dict[str, Any] = json.loads((self.folder / "out.txt").read_text())
        return found

    @contextmanager
    def serving(self) -> Iterator[Callable[[], dict[str, int]]]:
        """Keep a sandbox in a process of its own; what is yielded tells how often each verb was asked for since."""
        process = subprocess.Popen(
            (PYTHON, str(HERE / "worker.py"), "serve", str(self.folder / "kubeconfig")),
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        words, answers = process.stdin, process.stdout
        assert words is not None
        assert answers is not None

        def asked() -> dict[str, int]:
            words.write("asked\n")
            words.flush()
            found: dict[str, int] = json.loads(answers.readline())
            return found

        try:
            if not answers.readline():
                raise RuntimeError("the sandbox did not start")
            yield asked
        finally:
            words.close()
            process.wait(timeout=60)
            answers.close()
