"""The server inside the test's process, for most tests; as a process of its own, for what only a process shows."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from syncctl.server.app import make_app
from syncctl.settings import Secret, Settings

TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    """Settings with a database, and a kubeconfig that is not there."""
    return Settings(database_url=Secret(migrated_url), kubeconfig=str(tmp_path / "kubeconfig"))


@pytest.fixture
def api(engine: Engine, settings: Settings) -> TestClient:
    """A caller of a server without a token, on each database."""
    return caller(engine, settings)


def caller(engine: Engine, settings: Settings, **changes: Any) -> TestClient:
    """Return a caller of a server with these settings."""
    app = make_app(engine, msgspec.structs.replace(settings, **changes))
    return TestClient(app, base_url="http://127.0.0.1:8080", raise_server_exceptions=False)


class Process:
    """`syncctl serve` as a process on a port of its own, and what it says on stderr."""

    def __init__(self, url: str, *options: str, **environment: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SYNCCTL_", "KUBE"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "syncctl", "serve", "--listen", "127.0.0.1:0", "--log-level", "debug", *options],
            env={**clean, "SYNCCTL_DATABASE_URL": url, "PYTHONWARNINGS": "error", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.url = self.said(lambda line: "url" in line)["url"]
        self.pid = self._process.pid

    def said(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until it says such a line, and return that."""
        with self._news:
            found = self._news.wait_for(lambda: self._found(fits) or not self._reader.is_alive(), timeout=30)
            line = self._found(fits)
        assert found, self.lines
        assert line, self.lines
        return line

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self._process.send_signal(number)
        return self.wait()

    def tell(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code."""
        code = self._process.wait(timeout=40)
        self._reader.join()
        assert self._process.stderr
        self._process.stderr.close()
        return code

    def kill(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
            self.wait()

    def _found(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        return next((line for line in self.lines if fits(line)), None)

    def _read(self) -> None:
        assert self._process.stderr
        for text in self._process.stderr:
            with self._news:
                try:
                    self.lines.append(json.loads(text))
                except ValueError:
                    self.lines.append({"level": "no JSON", "message": text})
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


@contextlib.contextmanager
def serving(url: str, *options: str, **environment: str) -> Iterator[Process]:
    """Run a server on a database."""
    process = Process(url, *options, **environment)
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
def process(sqlite_url: str) -> Iterator[Process]:
    """A server on a SQLite file of its own."""
    with serving(sqlite_url) as process:
        yield process
