"""E1: streams that cannot be written, by real processes, as a fresh machine runs them and with PYTHONUNBUFFERED.

What a pass does then is in test_processes.py: it goes on.
"""

import os
import subprocess

import pytest

from syncctl.core.exits import ExitCode
from syncctl.sandbox import Sandbox

from .conftest import Cli
from .test_processes import SYNCCTL

FULL = "error: No space left on device\n"
CLOSED = "error: standard output is closed\n"
BUFFERING = [{}, {"PYTHONUNBUFFERED": "1"}]

LINES = [
    "--help",
    "--version",
    "--show-completion bash",
    "sync once --help",
    "client list",
    "client list -o json",
    "client list -o yaml",
    "client list -o name",
    "client get acme",
    "algo list",
    "sync plan",
    "sync plan -o json",
    "sync once --dry-run",
    "status",
    "history",
    "lease status",
    "db current",
    "config show",
    "sandbox status",
]


def run(script: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a line of bash; what the machine says about Python does not count."""
    without = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        ["bash", "-c", script], env={**without, **variables}, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def fleet(cli: Cli, database: str, live: Sandbox) -> None:
    """One of everything that a command can show."""
    cli("client add acme --image registry.example.com/desk/a:1 --vwap")
    cli("sync once")
    cli("client restart acme")


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("line", LINES)
def test_e1_output_that_cannot_be_written_is_one_error_line_and_exit_code_1(line: str) -> None:
    for variables in BUFFERING:
        for sink, told in (("> /dev/full", FULL), (">&-", CLOSED)):
            done = run(f"{SYNCCTL} {line} {sink}", variables)
            lines = [said for said in done.stderr.splitlines(keepends=True) if not said.startswith("{")]
            assert (done.returncode, "".join(lines)) == (ExitCode.ERROR, told), (sink, variables, done.stderr)


@pytest.mark.parametrize("instruction", ["source_bash", "source_zsh", "source_fish", "complete_bash"])
def test_e1_completion_that_cannot_be_written_is_one_error_line_and_exit_code_1(instruction: str) -> None:
    asked = {"_SYNCCTL_COMPLETE": instruction, "COMP_WORDS": "syncctl cl", "COMP_CWORD": "1"}
    for variables in BUFFERING:
        for sink, told in (("> /dev/full", FULL), (">&-", CLOSED)):
            done = run(f"{SYNCCTL} {sink}", {**variables, **asked})
            assert (done.returncode, done.stderr) == (ExitCode.ERROR, told), (sink, variables)


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("client add globex --vwap", "client 2 (globex) was added"),
        ("client update acme --name initech", "client 1 (initech) was updated"),
        ("client restart acme", "client 1 (acme) was told to restart"),
        ("algo set acme --hft", "the algorithms of client 1 (acme) were set"),
        ("client delete acme --yes", "client 1 (acme) was deleted"),
    ],
)
@pytest.mark.parametrize("variables", BUFFERING)
def test_e1_a_change_that_cannot_be_shown_is_told_in_the_error(line: str, done: str, variables: dict[str, str]) -> None:
    failed = run(f"{SYNCCTL} {line} > /dev/full", variables)
    assert failed.returncode == ExitCode.ERROR
    assert failed.stderr.endswith(f"error: {done}, but this cannot be shown: No space left on device\n")


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("variables", BUFFERING)
@pytest.mark.parametrize("sink", ["2> /dev/full", "2>&-", "<&- 2>&-", "<&- 2> /dev/full"])
def test_e1_talk_that_cannot_be_written_is_lost_and_the_exit_code_tells(
    cli: Cli, sink: str, variables: dict[str, str]
) -> None:
    for line, code in (
        ("client restart acme -o name", ExitCode.DONE),
        ("client get nobody", ExitCode.ERROR),
        ("client --nonsense", ExitCode.USAGE),
        ("sync once", ExitCode.DONE),
    ):
        done = run(f"{SYNCCTL} {line} {sink}", variables)
        assert (done.returncode, done.stderr) == (code, ""), line
        assert done.stdout == ("client/acme\n" if "restart" in line else done.stdout)
    assert '"exit_code": 0' in cli("history -o json --limit 1").stdout


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("variables", BUFFERING)
def test_e1_a_closed_stdin_is_nobody_to_ask(variables: dict[str, str]) -> None:
    done = run(f"{SYNCCTL} client delete acme <&-", variables)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.splitlines()[1:] == [
        "error: this needs a confirmation, and there is no terminal to ask on",
        "hint: give --yes",
    ]


@pytest.mark.parametrize("variables", BUFFERING)
@pytest.mark.parametrize(
    ("line", "asked"),
    [("--help", {}), ("config show", {}), ("client list", {}), ("", {"_SYNCCTL_COMPLETE": "source_bash"})],
)
def test_e1_a_reader_that_has_left_is_told_nothing(
    cli: Cli, database: str, line: str, asked: dict[str, str], variables: dict[str, str]
) -> None:
    cli("client add acme")
    # The reader has surely left when the command begins to write.
    done = run(f"set -o pipefail; {{ sleep 0.1; {SYNCCTL} {line}; }} | true", {**variables, **asked})
    assert (done.returncode, done.stderr) == (ExitCode.ERROR, "")
