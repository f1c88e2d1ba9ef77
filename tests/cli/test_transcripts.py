"""Whole sessions: each file in transcripts/ is commands and all that they print, and is played and compared.

    $ syncctl ...    a command; its stdout follows as it is, its stderr after "2> ", its exit code as [N] if it is not 0
    @ running        wait until every pod runs
    @ gone POD       wait until the pod is gone
    @ fate POD FATE  let the sandbox's kubelet do this to the pod
    @ sql STATEMENT  write to the database behind everybody's back
    # ...            a remark

Times, uids and the like are put as <time>, <uid>. After a change on purpose: SYNCCTL_REWRITE=1 pytest tests/cli, and
read the difference.
"""

import getpass
import os
import re
import shlex
import socket
from pathlib import Path

import pytest
from kit.clusters import poll
from sqlalchemy import Engine, text

from syncctl import __version__
from syncctl.db.engine import writing
from syncctl.sandbox import ANNOTATION, PODS, Sandbox

from .conftest import Cli

TRANSCRIPTS = Path(__file__).parent / "transcripts"
# Read at import: the tests' homes begin without any setting.
REWRITE = bool(os.environ.get("SYNCCTL_REWRITE"))


@pytest.mark.parametrize("name", sorted(path.stem for path in TRANSCRIPTS.glob("*.txt")))
def test_a_session_goes_as_it_is_written(
    name: str, cli: Cli, database: str, engine: Engine, live: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SYNCCTL_LOG_FORMAT", "text")
    file = TRANSCRIPTS / f"{name}.txt"
    player = Player(cli, engine, live, monkeypatch, tmp_path)
    played = [line for written in file.read_text().splitlines() for line in player.play(written)]
    if REWRITE:
        file.write_text("\n".join(played) + "\n")
    assert played == file.read_text().splitlines()


class Player:
    def __init__(
        self, cli: Cli, engine: Engine, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, folder: Path
    ) -> None:
        self._cli = cli
        self._engine = engine
        self._sandbox = sandbox
        self._monkeypatch = monkeypatch
        self._folder = folder

    def play(self, line: str) -> list[str]:
        """Do what a line says, and return it with all that came of it; lines that are output are dropped."""
        if line.startswith("$ "):
            return [line, *self._run(line[2:])]
        if line.startswith("@ "):
            self._do(*line[2:].split(" ", 1))
            return [line]
        if line.startswith("#"):
            return ["", line]
        return []

    def _run(self, line: str) -> list[str]:
        words = shlex.split(line)
        with self._monkeypatch.context() as patch:
            while "=" in words[0]:
                patch.setenv(*words.pop(0).split("=", 1))
            assert words[0] == "syncctl"
            done = self._cli(shlex.join(words[1:]))
        lines = [*done.stdout.splitlines(), *(f"2> {told}" for told in done.stderr.splitlines())]
        return [self._settled(told) for told in lines] + ([f"[{done.exit_code}]"] if done.exit_code else [])

    def _do(self, what: str, rest: str = "") -> None:
        store = self._sandbox.store
        if what == "running":
            poll(lambda: all(record.phase == "Running" for record in store.list(PODS, "trading").records))
        elif what == "gone":
            poll(lambda: store.find(PODS, "trading", rest) is None)
        elif what == "fate":
            pod, fate = rest.split()
            store.patch(PODS, "trading", pod, f'{{"metadata":{{"annotations":{{"{ANNOTATION}":"{fate}"}}}}}}'.encode())
            poll(lambda: store.get(PODS, "trading", pod).phase != "Running")
        else:
            with writing(self._engine) as connection:
                connection.execute(text(rest))

    def _settled(self, line: str) -> str:
        """Put what differs from run to run and from machine to machine as what it is."""
        for pattern, word in (
            (re.escape(str(self._folder)), "<folder>"),
            (re.escape(self._sandbox.url), "<cluster>"),
            (rf"\b{re.escape(socket.gethostname())}\b", "<host>"),
            (rf"\b{re.escape(getpass.getuser())}@", "<user>@"),
            (rf"\b{re.escape(__version__)}\b", "<version>"),
            (r"(Python|SQLite) \d+\.\d+\.\d+", r"\1 <release>"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z|\+00:00| UTC)", "<time>"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
            (r"\b[0-9a-f]{64}\b", "<digest>"),
            (r"\b\d+s(?= |$)", "<age>"),
            (r'("seconds": |seconds: |(?<=<time>) +)\d+\.\d', r"\1<seconds>"),
            (r"process \d+", "process <number>"),
            # Columns are as wide as what is in them.
            (r"(?<=\S) {3,}", "   "),
        ):
            line = re.sub(pattern, word, line)
        return line
