"""The command line, called in this process as its entry point calls it, in an empty home of its own."""

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from syncctl.cli.app import app
from syncctl.sandbox import Sandbox

Cli = Callable[..., Result]


@pytest.fixture
def backend() -> str:
    """The commands do the same on every database; tests/db and tests/e2e look at both."""
    return "sqlite"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and working directory, and no setting from where the tests happen to run."""
    for name in [name for name in os.environ if name.startswith(("SYNCCTL_", "KUBE", "XDG_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def database(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A migrated database, named by the environment."""
    monkeypatch.setenv("SYNCCTL_DATABASE_URL", migrated_url)
    return migrated_url


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox by real time, with a quick kubelet, named by KUBECONFIG."""
    with Sandbox(background_kubelet=True, start_delay=0.0, stop_delay=0.0) as sandbox:
        monkeypatch.setenv("KUBECONFIG", str(sandbox.kubeconfig(tmp_path / "kubeconfig")))
        yield sandbox


@pytest.fixture
def cli() -> Cli:
    """Call `syncctl` with a line as a person types it."""

    def call(line: str, **options: object) -> Result:
        return CliRunner().invoke(app, shlex.split(line), prog_name="syncctl", catch_exceptions=False, **options)  # type: ignore[arg-type]

    return call
