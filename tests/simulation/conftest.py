"""Options of the simulation, and what it says at the end."""

import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncctl.db.engine import connect
from syncctl.db.migrations import upgrade


def pytest_addoption(parser: pytest.Parser) -> None:
    # Known only when this folder is named on the command line; the environment always is.
    parser.addoption("--seed", type=int, help="replay one seed of the simulation")
    parser.addoption("--soak", type=float, help="run the simulation for this many minutes, with fresh seeds")


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int | None:
    """The one seed to be replayed."""
    given = pytestconfig.getoption("--seed", default=None)
    named = os.environ.get("SYNCCTL_SEED")
    return given if given is not None else int(named) if named else None


@pytest.fixture
def soak(pytestconfig: pytest.Config) -> float:
    """Seconds for which to go on with fresh seeds; 0 for the usual run."""
    return 60.0 * (pytestconfig.getoption("--soak", default=None) or 0.0)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where the machine has one: thousands of commits a minute."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="syncctl-simulation-", dir=shared if os.access(shared, os.W_OK) else None
    ) as folder:
        yield Path(folder)


@pytest.fixture
def migrated(memory: Path) -> Path:
    """A database with our tables, to be copied."""
    path = memory / "template.db"
    engine = connect(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture
def fresh() -> int:
    """A seed that nobody has tried."""
    return random.SystemRandom().randrange(1 << 32)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much the simulation has covered."""
    covered: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                covered.update(dict(report.user_properties).get("covered", {}))
    if covered:
        named = ("seeds", "passes", "API calls", "faults", "happenings", "incidents", "leases lost", "checks")
        parts = ", ".join(f"{covered[name]:,} {name}" for name in named)
        terminalreporter.write_line(f"simulation: {parts}")
        if terminalreporter.verbosity > 0:
            for name in sorted(set(covered) - set(named)):
                terminalreporter.write_line(f"  {covered[name]:7,} {name}")
