"""The import contracts of pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_imports_keep_to_the_contracts(tmp_path: Path) -> None:
    # In a process of its own: the linter reads the configuration of the folder it is in, and sets up logging.
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", lint, "--no-logo", "--cache-dir", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        pytest.fail(f"an import breaks a contract of pyproject.toml:\n{run.stdout}{run.stderr}", pytrace=False)
    assert "0 broken" in run.stdout


def test_no_file_or_room_of_the_sandbox_is_named_like_one_of_the_product() -> None:
    package = ROOT / "syncctl"
    places = [path for path in package.rglob("*") if path.suffix == ".py" or (path / "__init__.py").exists()]
    ours, sandboxes = set(), set()
    for path in places:
        inside = package / "sandbox" in path.parents
        (sandboxes if inside else ours).add(path.stem)
    assert ours & sandboxes == {"__init__", "__main__"}
