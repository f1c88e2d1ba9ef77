"""The sandbox in the background: start it, stop it, ask how it is.

Its folder holds everything: the lock with the process id, the port, the kubeconfig, the journal of objects, the log.
The process holds a lock on a file for as long as it lives, so a process id is believed only while that lock is held.
"""

import fcntl
import gc
import http.client
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeVar

from syncctl.sandbox.host.access import write_private
from syncctl.sandbox.host.embedded import Sandbox
from syncctl.sandbox.store.journal import Journal, JournalError, load
from syncctl.sandbox.store.store import Store

ALREADY_RUNNING = 75
_LOCK_SECONDS = 2.0
_UP_SECONDS = 30.0
_DOWN_SECONDS = 15.0
_LOOK_SECONDS = 0.05
T = TypeVar("T")
_log = logging.getLogger("syncctl.sandbox")


class SandboxError(Exception):
    """The sandbox could not be started or stopped; the message says why and where to look, the hint the way out."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """How the sandbox of a folder is. `started` is set by an `up` that started it; pid and url only when it runs."""

    folder: Path
    running: bool
    pid: int | None = None
    url: str = ""
    started: bool = False

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def log(self) -> Path:
        return self.folder / "sandbox.log"


def up(folder: Path, port: int = 0) -> SandboxStatus:
    """Start the sandbox unless it runs already, and come back when it answers.

    Without a port it takes the one it had before, if that is free. Raises SandboxError when it does not come up.
    """
    folder = folder.absolute()
    with _usable(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = status(folder)
    if before.running:
        return before
    with _usable(folder):
        # The process that writes it has nobody to tell when it cannot.
        os.close(os.open(before.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    arguments = [sys.executable, "-m", "syncctl.sandbox", str(folder), str(port)]
    try:
        launched = subprocess.run(  # noqa: S603 - our own interpreter and module
            arguments, env=_environment(), cwd=folder, stdin=subprocess.DEVNULL, timeout=_UP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"the sandbox did not answer within {_UP_SECONDS:.0f} s; see {before.log}") from error
    if launched.returncode not in {0, ALREADY_RUNNING}:
        raise SandboxError(f"the sandbox did not start: {_last_line(before.log)}; see {before.log}")
    now = _wait_for(lambda: status(folder), lambda one: one.running and _answers(one.url), _UP_SECONDS)
    if not now.running:
        raise SandboxError(f"the sandbox ended as soon as it had started; see {before.log}")
    return SandboxStatus(folder, now.running, now.pid, now.url, started=launched.returncode == 0)


def down(folder: Path) -> bool:
    """Stop the sandbox and wait until it is gone; its objects stay. Whether it was running.

    Raises SandboxError when it does not end, or is another user's.
    """
    now = status(folder)
    if not now.running or now.pid is None:
        return False
    for stop_signal in (signal.SIGTERM, signal.SIGKILL):
        _signal(now.pid, stop_signal)
        if not _wait_for(lambda: status(folder), lambda one: one.pid != now.pid, _DOWN_SECONDS).running:
            return True
    raise SandboxError(f"process {now.pid} does not end")


def status(folder: Path) -> SandboxStatus:
    """Look whether the sandbox of a folder runs, and where. Raises SandboxError when the folder cannot be looked at."""
    folder = folder.absolute()
    lock = folder / "sandbox.lock"
    with _usable(folder):
        if not lock.exists():
            return SandboxStatus(folder, running=False)
        opened = lock.open()
    with opened as file:
        if _try_lock(file):
            return SandboxStatus(folder, running=False)
        pid = _wait_for(lambda: (file.seek(0), file.read())[1], str.isdecimal, _LOCK_SECONDS)
    port = _port(folder)
    return SandboxStatus(
        folder, running=True, pid=int(pid or 0) or None, url=f"http://127.0.0.1:{port}" if port else ""
    )


def serve(folder: Path, port: int, ready: Callable[[], None]) -> int:
    """Be the sandbox of a folder until SIGTERM; `ready` is called when it answers. The exit code of the process."""
    stop = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stop.set())
    with (folder / "sandbox.lock").open("a+") as lock:
        if not _wait_for(lambda: _try_lock(lock), bool, _LOCK_SECONDS):
            return ALREADY_RUNNING
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            with _running(folder, port) as sandbox:
                _log.info("pid %d serves %s", os.getpid(), sandbox.url)
                ready()
                stop.wait()
        except (OSError, JournalError) as error:
            _log.error("%s", error)
            return 1
    _log.info("stopped")
    return 0


@contextmanager
def _running(folder: Path, port: int) -> Iterator[Sandbox]:
    saved = load(folder / "journal.jsonl")
    store = Store(saved=saved.objects, version=saved.version)
    del saved
    with closing(Journal(folder / "journal.jsonl", store)):
        sandbox = _bind(folder, store, port)
        with sandbox:
            write_private(folder / "state.json", json.dumps({"port": sandbox.server.port}))
            sandbox.kubeconfig(folder / "kubeconfig")
            gc.freeze()
            yield sandbox


def _bind(folder: Path, store: Store, port: int) -> Sandbox:
    """On the port asked for or nowhere; else on the last one if it is free, or any."""
    choices = [port] if port else [_port(folder), 0]
    for choice in choices:
        try:
            return Sandbox(store=store, port=choice, background_kubelet=True)
        except OSError as error:
            if choice == choices[-1]:
                raise OSError(f"port {choice} of 127.0.0.1: {error.strerror}") from error
    raise AssertionError("there is always a choice")


def _port(folder: Path) -> int:
    """The port of the last start; 0 when there was none."""
    try:
        return int(json.loads((folder / "state.json").read_text())["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _answers(url: str) -> bool:
    address = url.removeprefix("http://")
    with closing(http.client.HTTPConnection(address, timeout=2.0)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def _wait_for(look: Callable[[], T], good: Callable[[T], object], seconds: float) -> T:
    """Look until it is good or the time is over; the last look."""
    end = time.monotonic() + seconds
    while not good(seen := look()) and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
    return seen


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself just now
    except PermissionError:
        raise SandboxError(f"process {pid} is another user's", "stop it as the user who started it") from None


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Say which folder it is that cannot be made or looked into."""
    try:
        yield
    except OSError as error:
        raise SandboxError(
            f"the sandbox cannot use the folder {folder}: {error.strerror}",
            "--folder names one that this user can write to",
        ) from error


def _environment() -> dict[str, str]:
    """Ours, with the place of this package first: the new process may run in another folder."""
    root = str(Path(__file__).resolve().parents[3])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return lines[-1] if lines else "empty log"
