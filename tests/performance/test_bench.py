"""The benchmark itself works; how fast anything is, no test says."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench" / "bench.py"


@pytest.fixture(scope="module")
def table() -> str:
    """What a short run prints."""
    command = [sys.executable, str(BENCH), "--quick", "--sizes", "300"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("API requests", "1"),
        ("writes to the cluster", "0"),
        ("transactions that read the fleet", "1"),
        ("transactions that record", "1"),
        ("queries for the clients of a pass", "1"),
    ],
)
def test_what_can_be_counted_meets_its_goal(table: str, figure: str, value: str) -> None:
    line = next(line for line in table.splitlines() if line.strip().startswith(figure))
    assert line.removeprefix(f"  {figure}").split()[0] == value
    assert line.endswith("yes")


@pytest.mark.parametrize("section", ["A pass with nothing to do", "Creation", "Deletion", "Start-up", "Database"])
def test_every_section_has_figures(table: str, section: str) -> None:
    lines = table.splitlines()
    at = lines.index(section)
    assert lines[at + 1].startswith("  ")
