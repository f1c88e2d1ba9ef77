"""syncctl demo: the whole of it in a few seconds, with every command shown before its output."""

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from syncctl.cli.app import app as front
from syncctl.core.errors import SyncctlError
from syncctl.core.exits import ExitCode
from syncctl.core.health import HealthCode
from syncctl.core.status import StatusRow
from syncctl.operations.connect import open_cluster, open_engine
from syncctl.operations.status import read_status
from syncctl.sandbox.host import process
from syncctl.sources import CONFIG_VARIABLE, load_settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)

ACTS = (
    (
        "A small Kubernetes on this machine, and three clients in a SQLite file.",
        "sandbox up --folder {folder}",
        "client add acme --image registry.example.com/desk/vwap:1.4.2 --vwap --twap --hft",
        "client add globex --image registry.example.com/desk/vwap:1.4.2 --cpu 1.5 --memory 1Gi --priority 10 --hft",
        "client add initech --image registry.example.com/desk/twap:2.0.0",
        "algo set initech --vwap --twap --hft",
    ),
    (
        "What a pass would do, and the pass. Higher priority starts first.",
        "sync plan",
        "sync once",
        "@all running",
        "status",
    ),
    (
        "A busy day: one algorithm off, a new image, a restart, a client gone, and a pod killed behind our back.",
        "algo set acme --no-twap",
        "client update acme --image registry.example.com/desk/vwap:1.4.3",
        "client restart globex",
        "client delete initech --yes",
        "sandbox play hft-1 Evicted --folder {folder}",
        "@one ended",
    ),
    (
        "Each change has its step, and each step its reason.",
        "sync plan",
        "sync once",
        "@all running",
        "status",
    ),
    (
        "A pass that finds nothing to do writes nothing. Every pass is remembered.",
        "sync once",
        "history",
    ),
)
"""Titles, then commands. A line with an @ is a pause: what it waits for."""

PATIENCE = 15.0
"""Seconds for the toy kubelet to do its part."""


@app.command()
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the sandbox and the database for your own commands")
    ] = False,
) -> None:
    """See the whole of it in a few seconds: a cluster, clients, a plan, a pass, drift, and a pass again.

    Everything is in a temporary folder and gone at the end.

    \b
    Example:
      syncctl demo --keep
    """
    folder = Path(tempfile.mkdtemp(prefix="syncctl-demo-"))
    exports = {
        "KUBECONFIG": str(folder / "kubeconfig"),
        "SYNCCTL_DATABASE_URL": f"sqlite:///{folder / 'syncctl.db'}",
    }
    _only_these_settings(exports)
    try:
        for title, *lines in ACTS:
            typer.echo(f"\n# {title}")
            for line in lines:
                _play(line.format(folder=shlex.quote(str(folder))))
    finally:
        if keep:
            _tell_what_stays(folder, exports)
        else:
            process.down(folder)
            shutil.rmtree(folder)
    if not keep:
        typer.echo("\n# That is all, and nothing is left behind. `syncctl demo --keep` leaves it up to play with.")


def _tell_what_stays(folder: Path, exports: dict[str, str]) -> None:
    typer.echo("\n# The sandbox and the database stay. To go on by hand:")
    for name, value in exports.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    quoted = shlex.quote(str(folder))
    typer.echo(f"# When done: syncctl sandbox down --folder {quoted} && rm -r {quoted}")


def _only_these_settings(exports: dict[str, str]) -> None:
    """Let no setting and no cluster of where this happens to run come in between."""
    for name in [*os.environ]:
        if name.startswith(("SYNCCTL_", "KUBERNETES_")):
            del os.environ[name]
    os.environ |= {**exports, "SYNCCTL_LOG_FORMAT": "text", CONFIG_VARIABLE: os.devnull}


def _play(line: str) -> None:
    """Run a command as a person would type it, or wait."""
    if line.startswith("@"):
        _wait_until(PAUSES[line])
        return
    typer.echo(f"\n$ syncctl {line}")
    # The very command, in this process: twenty new ones would take longer to start than to run.
    command = typer.main.get_command(front)
    code = command.main(shlex.split(line), prog_name="syncctl", standalone_mode=False)
    if code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
        # Whoever stopped a pass of the demo means the demo.
        raise typer.Exit(code)
    if code:
        raise SyncctlError(f"the demo's command ended with {code}: syncctl {line}")


def _wait_until(done: Callable[[list[StatusRow]], bool]) -> None:
    settings = load_settings({}).values
    until = time.monotonic() + PATIENCE
    while not done(read_status(open_engine(settings), open_cluster(settings), settings, None).rows):
        if time.monotonic() > until:
            raise SyncctlError("the sandbox's pods are not as the demo expects them", "`syncctl demo --keep` and look")
        time.sleep(0.1)


def _all_run(rows: list[StatusRow]) -> bool:
    return all(row.health.code is HealthCode.HEALTHY for row in rows)


def _one_has_ended(rows: list[StatusRow]) -> bool:
    return any(row.step.observed is not None and row.step.observed.finished for row in rows)


PAUSES = {"@all running": _all_run, "@one ended": _one_has_ended}
