"""The command line as real processes: terminals, pipes, signals, imports and the shell's completion."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.clusters import FINALIZER, poll
from sqlalchemy import Engine

from syncctl import __version__
from syncctl.core.exits import ExitCode
from syncctl.core.model import NewClient
from syncctl.db.engine import writing
from syncctl.db.lease import acquire_lease
from syncctl.kube.api import ApiCluster
from syncctl.kube.config import connect
from syncctl.operations import clients
from syncctl.sandbox import PODS, Sandbox

from .conftest import Cli

SYNCCTL = str(Path(sys.executable).parent / "syncctl")


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(
        [SYNCCTL, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


# Imports --------------------------------------------------------------------------------------------------------------


def imported_by(*words: str) -> set[str]:
    """Return the top modules that a command has imported when it ends."""
    program = (
        "import sys\n"
        "from syncctl.cli.app import main\n"
        f"sys.argv = {['syncctl', *words]!r}\n"
        "try:\n    main()\n"
        "finally:\n    print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


def test_help_imports_no_library_of_the_database_or_the_cluster() -> None:
    heavy = {"kubernetes", "sqlalchemy", "alembic", "urllib3", "psycopg2", "pydantic"}
    assert imported_by("--help") & heavy == set()


@pytest.mark.parametrize("line", ["client get acme", "client list", "algo set acme --hft", "algo list"])
def test_commands_on_rows_import_nothing_of_the_cluster_and_no_migrations(cli: Cli, database: str, line: str) -> None:
    cli("client add acme --vwap")
    assert imported_by(*line.split()) & {"kubernetes", "alembic", "urllib3"} == set()


# Terminals ------------------------------------------------------------------------------------------------------------


class Terminal:
    """A process whose three streams are a terminal, and a person before it."""

    def __init__(self, *words: str) -> None:
        self._pid, self._descriptor = pty.fork()
        if self._pid == 0:
            os.execv(SYNCCTL, [SYNCCTL, *words])
        self.seen = ""

    def wait_for(self, words: str) -> None:
        """Read on until these words are on the screen."""
        until = time.monotonic() + 60
        while words not in self.seen:
            assert time.monotonic() < until, self.seen
            assert self._read(), f"ended without {words!r}: {self.seen}"

    def type(self, words: str) -> None:
        os.write(self._descriptor, words.encode())

    def exit_code(self) -> int:
        while self._read():
            pass
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self) -> str:
        try:
            part = os.read(self._descriptor, 65536).decode(errors="replace")
        except OSError:  # how Linux tells that the other side has ended
            return ""
        self.seen += part.replace("\r\n", "\n")
        return part


@pytest.fixture
def acme(cli: Cli, database: str) -> None:
    cli("client add acme --image registry.example.com/desk/a:1 --vwap")


@pytest.mark.usefixtures("acme")
def test_on_a_terminal_deleting_asks_and_a_yes_deletes(cli: Cli) -> None:
    terminal = Terminal("client", "delete", "acme")
    terminal.wait_for("client 1 (acme) will be deleted; the next pass stops what runs of vwap-1\n")
    terminal.wait_for("Go on? [y/N]: ")
    assert cli("client list -o name").stdout == "client/acme\n"
    terminal.type("y\n")
    assert terminal.exit_code() == ExitCode.DONE
    assert cli("client list -o name").stdout == ""


@pytest.mark.usefixtures("acme")
# Python may miss an interrupt just before it begins to wait for a line; the next key lets it see it.
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("n\n", ExitCode.ERROR),
        ("\n", ExitCode.ERROR),
        ("yess\n", ExitCode.ERROR),
        ("\x04", ExitCode.ERROR),
        ("\x03\n", ExitCode.INTERRUPTED),
    ],
    ids=["no", "enter", "misspelt", "end of file", "ctrl-c"],
)
def test_any_other_answer_changes_nothing_and_says_so(cli: Cli, answer: str, code: ExitCode) -> None:
    terminal = Terminal("client", "delete", "acme")
    terminal.wait_for("Go on? [y/N]: ")
    terminal.type(answer)
    assert terminal.exit_code() == code
    assert terminal.seen.endswith("\nnothing was changed\n")
    assert "Abort" not in terminal.seen
    assert "Traceback" not in terminal.seen
    assert cli("client list -o name").stdout == "client/acme\n"


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(("typed", "gone"), [("vwap-1", True), ("yes", False)])
def test_forcing_a_pod_away_asks_for_its_name(cli: Cli, live: Sandbox, typed: str, gone: bool) -> None:
    cli("sync once")
    poll(lambda: live.store.get(PODS, "trading", "vwap-1").phase == "Running")
    api = ApiCluster(connect(None, None, None, 1))
    uid = live.store.get(PODS, "trading", "vwap-1").uid
    live.kubelet.stop_delay = 3600.0
    api.delete_pod("vwap-1", uid)
    without = cli("pod force-delete pod/vwap-1")
    assert (without.exit_code, "there is no terminal to ask on" in without.stderr) == (2, True)
    terminal = Terminal("pod", "force-delete", "vwap-1")
    terminal.wait_for("Type the pod's name to go on: ")
    assert "vwap-1 goes on trading there" in terminal.seen
    terminal.type(f"{typed}\n")
    assert terminal.exit_code() == (ExitCode.DONE if gone else ExitCode.USAGE)
    assert (live.store.find(PODS, "trading", "vwap-1") is None) is gone


@pytest.mark.usefixtures("database")
def test_an_interrupt_at_the_question_for_a_lease_leaves_it_to_its_holder(cli: Cli, engine: Engine) -> None:
    with writing(engine) as connection:
        acquire_lease(connection, "another, process 7")
    terminal = Terminal("lease", "release")
    terminal.wait_for("Go on? [y/N]: ")
    terminal.type("\x03\n")
    assert terminal.exit_code() == ExitCode.INTERRUPTED
    assert terminal.seen.endswith("\nnothing was changed\n")
    assert cli("lease status -o name").stdout == "held\n"


def test_a_demo_that_is_interrupted_leaves_nothing_behind_and_is_no_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        [SYNCCTL, "demo"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout
        # In the midst of a pass, which ends in good order with an exit code of its own.
        while "$ syncctl sync once" not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "error:" not in told
    assert "Traceback" not in told
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("syncctl-demo-")]


@pytest.mark.usefixtures("acme")
def test_a_terminal_gets_a_progress_bar_a_log_in_words_and_json_on_many_lines(cli: Cli, live: Sandbox) -> None:
    live.faults.add(verb="create", latency=0.5)
    terminal = Terminal("sync", "once")
    assert terminal.exit_code() == ExitCode.DONE
    assert "Applying vwap-1" in terminal.seen
    assert "1 pod: 1 created, 0 replaced, 0 deleted, 0 unchanged, 0 waiting" in terminal.seen
    assert '"message"' not in terminal.seen
    # Nothing to do is nothing to show.
    terminal = Terminal("sync", "once")
    assert terminal.exit_code() == ExitCode.DONE
    assert "Applying" not in terminal.seen
    terminal = Terminal("client", "get", "acme", "-o", "json")
    assert terminal.exit_code() == ExitCode.DONE
    assert '{\n  "id": 1,\n' in terminal.seen


@pytest.mark.usefixtures("acme")
def test_without_a_terminal_there_is_no_bar_and_no_escape_sequence(live: Sandbox) -> None:
    done = run("sync", "once", TERM="xterm-256color", FORCE_COLOR="")
    assert done.returncode == ExitCode.DONE
    assert "Applying" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr


# Pipes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "json", "name"])
@pytest.mark.parametrize("number", [1, 3000])
def test_a_reader_that_has_seen_enough_is_no_error(database: str, engine: Engine, form: str, number: int) -> None:
    for place in range(min(number, 1)):
        clients.add_client(engine, NewClient(f"client {place}"))
    if number > 1:
        fill(engine, number)
    for enough in ("head -1", "true"):
        script = f"set -o pipefail; {SYNCCTL} client list -o {form} | {enough}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        assert "BrokenPipeError" not in done.stderr


def fill(engine: Engine, number: int) -> None:
    from sqlalchemy import text

    from syncctl.db.engine import writing

    columns = "client_name, version, image, cpu, memory, priority, need_restart, created_at, updated_at"
    with writing(engine) as connection:
        connection.execute(
            text(
                f"INSERT INTO clients ({columns}, restart_generation) SELECT 'client ' || value, version, image, cpu,"
                " memory, priority, need_restart, created_at, updated_at, restart_generation FROM clients,"
                f" (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {number})"
                " SELECT value FROM n)"
            )
        )


@pytest.mark.parametrize("sink", ["| true", "> /dev/full"])
@pytest.mark.parametrize("form", ["table", "json"])
def test_a_pass_goes_on_and_is_recorded_when_nobody_reads_what_it_prints(
    cli: Cli, database: str, live: Sandbox, form: str, sink: str
) -> None:
    cli("client add acme --image registry.example.com/desk/a:1 --vwap --hft")
    script = f"{SYNCCTL} sync once -o {form} {sink}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (ExitCode.DONE, False), done.stderr
    assert "the pass goes on, but its output cannot be written: " in done.stderr
    assert {record.name for record in live.store.list(PODS, "trading").records} == {"vwap-1", "hft-1"}
    assert '"created": 2' in cli("history -o json").stdout
    assert cli("client get acme -o json").stdout.count("null") == 0


@pytest.mark.parametrize("way", [">&-", "2>&-", ">&- 2>&-", "| cat"])
@pytest.mark.parametrize("form", ["table", "json"])
def test_a_pass_is_done_and_recorded_without_streams_and_in_any_encoding(
    cli: Cli, database: str, live: Sandbox, form: str, way: str
) -> None:
    cli("client add 東京 --image registry.example.com/desk/a:1 --vwap")
    script = f"PYTHONIOENCODING=latin-1 {SYNCCTL} sync once -o {form} {way}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (ExitCode.DONE, False), done.stderr
    assert '"created": 1' in cli("history -o json").stdout
    if way == "| cat":
        assert r"\u6771\u4eac" in done.stdout


# Signals --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting_pass(cli: Cli, database: str, live: Sandbox) -> Iterator["subprocess.Popen[str]"]:
    """A pass that waits for an old pod which does not go."""
    cli("client add acme --image registry.example.com/desk/a:1 --vwap")
    cli("sync once")
    poll(lambda: live.store.get(PODS, "trading", "vwap-1").phase == "Running")
    record = live.store.get(PODS, "trading", "vwap-1")
    ApiCluster(connect(None, None, None, 1)).patch_pod("vwap-1", record.uid, {"metadata": {"finalizers": [FINALIZER]}})
    cli("client restart acme")
    with subprocess.Popen(
        [SYNCCTL, "sync", "once"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        poll(lambda: live.store.get(PODS, "trading", "vwap-1").terminating)
        yield process


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGINT, ExitCode.INTERRUPTED)]
)
def test_a_signal_ends_a_pass_in_good_order(
    waiting_pass: "subprocess.Popen[str]", cli: Cli, number: signal.Signals, code: ExitCode
) -> None:
    waiting_pass.send_signal(number)
    _, told = waiting_pass.communicate(timeout=30)
    assert waiting_pass.returncode == code, told
    assert "1 pod: 0 created, 0 replaced, 0 deleted, 0 unchanged, 1 waiting" in told
    assert "Traceback" not in told
    assert cli("lease status -o name").stdout == "free\n"
    assert f'"exit_code": {int(code)}' in cli("history -o json --limit 1").stdout


def test_a_signal_ends_any_other_command_without_a_traceback(live: Sandbox, database: str, cli: Cli) -> None:
    cli("client add acme --image registry.example.com/desk/a:1 --vwap")
    live.faults.add(verb="list", latency=3.0)
    for number in (signal.SIGTERM, signal.SIGINT):
        before = sum(live.requests.values())
        with subprocess.Popen(
            [SYNCCTL, "status"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background has SIGINT ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            poll(lambda before=before: sum(live.requests.values()) > before)  # type: ignore[misc]
            process.send_signal(number)
            _, told = process.communicate(timeout=30)
        assert process.returncode in (128 + number, -number, 1)
        assert "Traceback" not in told
        live.faults.clear()
        live.faults.add(verb="list", latency=3.0)
    live.faults.clear()


# The rest -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "place", "offered"),
    [
        ("syncctl cl", 1, "client"),
        ("syncctl client up", 2, "update"),
        ("syncctl client update --prio", 3, "--priority"),
        ("syncctl client list -o js", 4, "json"),
        ("syncctl client list --enabled tw", 4, "twap"),
    ],
)
def test_the_shell_completes(words: str, place: int, offered: str) -> None:
    done = run(_SYNCCTL_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(place))
    assert (done.stdout.split(), done.stderr) == ([offered], "")


@pytest.mark.parametrize(
    "command", ["client get", "client delete globex", "status", "logs", "history --client", "wait"]
)
@pytest.mark.usefixtures("acme")
def test_clients_are_completed_from_the_database(command: str) -> None:
    words = f"syncctl {command} ac"
    done = run(_SYNCCTL_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    assert (done.stdout.split(), done.stderr) == (["acme"], "")


@pytest.mark.usefixtures("acme")
def test_pods_are_completed_from_the_database_and_contexts_from_the_kubeconfig(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("contexts:\n- {name: desk, context: {namespace: trading}}\n- {name: other, context: {}}\n")
    for words, offered in (
        ("syncctl pod force-delete v", "vwap-1"),
        ("syncctl sync plan --allow-pod v", "vwap-1"),
        ("syncctl sync plan --context d", "desk"),
        ("syncctl sync plan -n t", "trading"),
        ("syncctl sandbox play vwap-1 Evi", "Evicted"),
    ):
        place = str(len(words.split()) - 1)
        done = run(_SYNCCTL_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=place, KUBECONFIG=str(file))
        assert (done.stdout.split(), done.stderr) == ([offered], "")


@pytest.mark.parametrize("url", ["sqlite:////nowhere/x.db", "postgresql://nobody@10.255.255.1/x", "nonsense"])
def test_what_cannot_be_looked_up_is_silence(url: str) -> None:
    words = {"COMP_WORDS": "syncctl client get a", "COMP_CWORD": "3", "_SYNCCTL_COMPLETE": "complete_bash"}
    done = run(SYNCCTL_DATABASE_URL=url, **words)
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_printed(shell: str) -> None:
    done = run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"complete_{shell}" in done.stdout


def test_the_completion_for_bash_can_be_shown() -> None:
    done = run(_SYNCCTL_COMPLETE="source_bash")
    assert "_SYNCCTL_COMPLETE=complete_bash" in done.stdout


@pytest.mark.parametrize("form", ["table", "json"])
def test_without_a_terminal_a_watch_prints_all_once_and_then_what_changes(cli: Cli, live: Sandbox, form: str) -> None:
    cli("client add acme --image a:1 --vwap --twap")
    cli("sync once")
    poll(lambda: all(record.phase == "Running" for record in live.store.list(PODS, "trading").records))
    command = [SYNCCTL, "status", "--watch", "-o", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as watching:
        assert watching.stdout is not None
        first = [watching.stdout.readline() for _ in range(3 if form == "table" else 2)]
        assert [line for line in first if "vwap-1" in line]
        cli("algo set acme --no-vwap")
        changed = watching.stdout.readline()
        cli("sync once")
        told = [changed, watching.stdout.readline()]
        while "gone" not in told[-1]:
            told.append(watching.stdout.readline())
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == ExitCode.INTERRUPTED
    if form == "table":
        assert re.fullmatch(r"\d\d:\d\d:\d\d vwap-1: out of sync, Healthy, delete: vwap is switched off\n", changed)
        assert re.fullmatch(r"\d\d:\d\d:\d\d vwap-1: gone\n", told[-1])
    else:
        assert (json.loads(changed)["sync"], json.loads(told[-1])) == ("out of sync", {"gone": "vwap-1"})
    assert not [line for line in told if "twap" in line]


@pytest.mark.usefixtures("acme", "live")
def test_on_a_terminal_a_watch_redraws() -> None:
    terminal = Terminal("status", "--watch", "--color", "never")
    terminal.wait_for("1 pod: 1 out of sync; 1 missing")
    terminal.wait_for("Ctrl-C ends\n\x1b[H\x1b[J")
    terminal.type("\x03")
    assert terminal.exit_code() == ExitCode.INTERRUPTED


def test_the_module_is_the_command(home: Path) -> None:
    for command in ([SYNCCTL], [sys.executable, "-m", "syncctl"]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"syncctl {__version__}\n", "")
