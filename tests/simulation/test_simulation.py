"""Random fleets through hundreds of passes. A failing seed is printed: pytest tests/simulation --seed N"""

import itertools
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from .simulation import EVERYTHING, Simulation

SEEDS = 50
"""Of the usual run: as many as it takes for everything to come to pass."""
FOUND = (3737226965, 2039191317, 2505626829, 4116609576, 3667469560, 2910768984)
"""Seeds by which a soak found a fault once. Fresh ones are for soaks only: CI fails by nothing but what is changed."""


@pytest.mark.timeout(900)
def test_whatever_happens_no_pass_does_harm_and_two_put_everything_right(
    seed: int | None,
    soak: float,
    fresh: int,
    memory: Path,
    migrated: Path,
    record_property: Callable[[str, object], None],
) -> None:
    usual = seed is None and not soak
    seeds = iter([*FOUND, *range(SEEDS)]) if usual else iter([seed]) if seed is not None else itertools.count(fresh)
    covered: Counter[str] = Counter()
    end = time.process_time() + soak
    for number in seeds:
        _simulate(number, memory, migrated, covered)
        if soak and time.process_time() > end:
            break
    record_property("covered", dict(covered))
    missing = sorted(EVERYTHING - covered.keys()) if usual else []
    assert not missing, f"in {SEEDS} seeds these have not come to pass: {missing}"


def test_a_seed_replays_exactly(memory: Path, migrated: Path) -> None:
    first, second = Counter[str](), Counter[str]()
    for covered in (first, second):
        _simulate(3, memory, migrated, covered)
    assert first == second


def _simulate(seed: int, memory: Path, migrated: Path, covered: Counter[str]) -> None:
    simulation = Simulation(seed, memory, migrated)
    try:
        simulation.run()
    except Exception as error:
        error.add_note("\n".join([*simulation.trace, f"replay: pytest tests/simulation --seed {seed}"]))
        raise
    finally:
        covered.update(simulation.covered)
        covered.update(seeds=1, checks=simulation.checks)
        simulation.close()
