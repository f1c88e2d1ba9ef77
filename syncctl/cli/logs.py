"""syncctl logs: what a client's pods print."""

import sys
from typing import Annotated

import typer

from syncctl.cli.options import CLUSTER, DATABASE, Reference, with_settings
from syncctl.cli.words import printable
from syncctl.core.durations import parse_duration
from syncctl.core.model import Algorithm
from syncctl.operations.connect import open_cluster, open_engine
from syncctl.operations.logs import pods_to_read, read_logs
from syncctl.settings import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@with_settings(*DATABASE, *CLUSTER)
def logs(
    settings: Settings,
    reference: Reference,
    algorithm: Annotated[
        Algorithm | None, typer.Argument(metavar="ALGORITHM", help="Only this one; without, all of the client's pods")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C")] = False,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the run before the last restart")] = False,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Only of the last 10m, 2h")] = None,
    tail: Annotated[int | None, typer.Option("--tail", min=0, metavar="NUMBER", help="Only the last lines")] = None,
) -> None:
    """Print the logs of a client's pods; where there are several, each line begins with its pod.

    Takes the right to get pods/log, which is a person's: no pass has it.

    \b
    Example:
      syncctl logs acme vwap -f --since 10m
    """
    seconds = max(1, int(parse_duration("--since", since))) if since is not None else None
    engine, cluster = open_engine(settings), open_cluster(settings)
    pods = pods_to_read(engine, cluster, settings, reference, algorithm)
    widest = max(map(len, pods))
    for pod, line in read_logs(cluster, pods, follow=follow, previous=previous, sinceSeconds=seconds, tailLines=tail):
        # A terminal obeys no line of somebody's program; anything else gets it as it is.
        shown = printable(line.expandtabs()) if sys.stdout.isatty() else line
        typer.echo(f"{pod.ljust(widest)}  {shown}" if len(pods) > 1 else shown)
