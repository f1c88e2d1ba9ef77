"""What CI runs, and in which environment."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("failing", ["", "lint", "test-all"])
def test_e1_ci_hands_no_variable_of_the_machine_to_the_tests(tmp_path: Path, failing: str) -> None:
    make, seen = tmp_path / "bin" / "make", tmp_path / "seen"
    make.parent.mkdir()
    make.write_text(f'#!/bin/sh\necho "$@" >> {seen}\nenv >> {seen}\ntest "$2" != "{failing}"\n')
    make.chmod(0o755)
    done = subprocess.run(
        ["bash", ROOT / ".ci" / "run"],
        env={
            "PATH": f"{make.parent}:{os.environ['PATH']}",
            "HOME": "/root",
            "TMPDIR": str(tmp_path),
            "PYTHONUNBUFFERED": "1",
            "SYNCCTL_NAMESPACE": "trading",
            "PIP_INDEX_URL": "https://packages.example.com/two words",
            "https_proxy": "http://proxy.example.com",
        },
        timeout=60,
    )
    assert done.returncode == (1 if failing else 0)
    lines = seen.read_text().splitlines()
    targets = [line for line in lines if line.startswith("VENV=")]
    assert [target.split()[1] for target in targets] == ["lint", "test-all"]
    variables = dict(line.split("=", 1) for line in lines if line not in targets)
    home = variables.pop("HOME")
    assert home.startswith(str(tmp_path))
    assert not Path(home).exists(), "it is gone afterwards"
    # The shell that plays make sets these itself.
    assert variables.keys() - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "LANG", "CI", "PIP_INDEX_URL", "https_proxy"}
    assert variables["PIP_INDEX_URL"] == "https://packages.example.com/two words"


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ([], ".venv"),
        (["PYTHON=python3.13"], ".venv-python3.13"),
        (["PYTHON=/opt/python/bin/python3.12"], ".venv-python3.12"),
        (["PYTHON=python3.13", "VENV=/srv/two words"], "/srv/two words"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_e1_a_python_that_is_named_does_not_get_the_environment_of_another(words: list[str], folder: str) -> None:
    # The tests are run by make themselves, which tells a make below it a lot: where it is, and what it was given.
    told = ("PYTHON", "VENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in told}
    done = subprocess.run(
        ["make", "--dry-run", "clean", *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith(f'rm -rf "{folder}" build '), done.stderr
