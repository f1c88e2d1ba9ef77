"""syncctl sandbox: up, down, status, play."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from syncctl.cli import output
from syncctl.cli.options import Format, Output
from syncctl.cli.output import Column, View
from syncctl.core.errors import SyncctlError
from syncctl.sandbox.host import process
from syncctl.sandbox.host.player import FATES, play_fate
from syncctl.sandbox.host.process import SandboxError, SandboxStatus
from syncctl.settings import data_folder

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Run a small Kubernetes on this machine."
)

Folder = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Where it keeps its objects and its kubeconfig; else the user's data folder"),
]


def _data(status: SandboxStatus) -> dict[str, Any]:
    return {
        "running": status.running,
        "url": status.url or None,
        "pid": status.pid,
        "kubeconfig": str(status.kubeconfig),
        "folder": str(status.folder),
    }


VIEW = View[SandboxStatus](
    columns=(
        Column("RUNNING", lambda status: "yes" if status.running else "no"),
        Column("URL", lambda status: status.url),
        Column("PID", lambda status: status.pid),
        Column("KUBECONFIG", lambda status: status.kubeconfig),
    ),
    data=_data,
    name=lambda status: str(status.folder),
)


@app.command()
def up(
    folder: Folder = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port on 127.0.0.1; 0 for the last one or any")
    ] = 0,
) -> None:
    """Start a Kubernetes API with a toy kubelet in the background. It never touches ~/.kube/config.

    \b
    Example:
      eval "$(syncctl sandbox up)"
    """
    with _in_our_words():
        status = process.up(_folder(folder), port)
    if port and urlsplit(status.url).port != port:
        raise SyncctlError(f"the sandbox runs already, at {status.url}", "stop it first: `syncctl sandbox down`")
    output.say(f"{'started' if status.started else 'was running already'}: {status.url} (process {status.pid})")
    output.say("to use it, also with kubectl:")
    typer.echo(f"export KUBECONFIG={shlex.quote(str(status.kubeconfig))}")


@app.command()
def down(folder: Folder = None) -> None:
    """Stop it. Its objects stay for the next `up`; a KUBECONFIG that names it is of no use until then.

    \b
    Example:
      syncctl sandbox down
    """
    with _in_our_words():
        output.say("stopped" if process.down(_folder(folder)) else "was not running")


@app.command()
def status(folder: Folder = None, output_format: Output = Format.TABLE) -> None:
    """Show whether it runs, and where.

    \b
    Example:
      syncctl sandbox status -o json
    """
    with _in_our_words():
        output.show_one(VIEW, process.status(_folder(folder)), output_format)


@app.command()
def play(
    pod: Annotated[str, typer.Argument(help="The pod's name, in the namespace trading")],
    fate: Annotated[
        str,
        typer.Argument(
            metavar="FATE",
            autocompletion=lambda: list(FATES),
            help=f"What befalls it: {', '.join(FATES)}",
        ),
    ],
    folder: Folder = None,
) -> None:
    """Let something happen to a pod, to see what the next pass makes of it.

    \b
    Example:
      syncctl sandbox play vwap-1 Evicted && syncctl status
    """
    with _in_our_words():
        running = process.status(_folder(folder))
        if not running.running:
            raise SyncctlError("the sandbox is not running", "start it: `syncctl sandbox up`")
        befalls = play_fate(running.url, pod, fate)
    output.say(f"{pod}: {fate}" if befalls else f"{pod}: it runs already; {fate} befalls it when it is next made")


def _folder(given: Path | None) -> Path:
    return given or data_folder() / "sandbox"


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Turn the sandbox's error, which knows nothing of syncctl, into one of ours."""
    try:
        yield
    except SandboxError as error:
        raise SyncctlError(str(error), error.hint) from error
