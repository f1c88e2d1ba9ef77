"""syncctl pod: force-delete."""

from typing import Annotated

import typer

from syncctl.cli import completing, output
from syncctl.cli.asking import typed
from syncctl.cli.options import CLUSTER, DATABASE, with_settings
from syncctl.core.names import POD_PREFIX
from syncctl.operations import pods
from syncctl.operations.connect import open_cluster, open_engine
from syncctl.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Deal with a single pod that needs a person.",
)

DANGER = """\
Pod {pod} was told to go and has not gone{node}.
Forcing it removes the pod from the API server and frees its name. It does not end the process: if the node is only cut
off, {pod} goes on trading there, and the next pass starts a second one beside it.
Go on only when you know that the process has ended: the node is switched off, or you have seen it stop."""


@app.callback()
def pod() -> None:
    """Deal with a single pod that needs a person."""


@app.command("force-delete")
@with_settings(*DATABASE, *CLUSTER)
def force_delete(
    settings: Settings,
    name: Annotated[
        str,
        typer.Argument(
            metavar="POD",
            autocompletion=completing.pods,
            help="The pod's name",
        ),
    ],
) -> None:
    """Remove a pod that is stuck terminating, without its node's word that it has ended. Asks for the pod's name.

    \b
    Example:
      syncctl pod force-delete vwap-7
    """
    engine, cluster = open_engine(settings), open_cluster(settings)
    name = name.removeprefix(POD_PREFIX)
    stuck = pods.find_stuck_pod(engine, cluster, name)
    output.say(DANGER.format(pod=name, node=f" from node {stuck.node}" if stuck.node else ""))
    typed("pod", name)
    pods.force_delete_pod(cluster, stuck)
    output.say(f"Removed. The next pass starts {name} again if it is switched on.")
