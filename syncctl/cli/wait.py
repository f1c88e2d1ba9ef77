"""syncctl wait: until it is so."""

from collections.abc import Sequence
from typing import Annotated

import typer

from syncctl.cli import output
from syncctl.cli.asking import named
from syncctl.cli.options import CLUSTER, DATABASE, References, with_settings
from syncctl.cli.words import printable
from syncctl.core.durations import parse_duration
from syncctl.core.exits import ExitCode
from syncctl.core.waiting import Goal, Verdict
from syncctl.operations.connect import open_cluster, open_engine
from syncctl.operations.wait import wait_for
from syncctl.settings import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@with_settings(*DATABASE, *CLUSTER)
def wait(
    settings: Settings,
    references: References,
    for_: Annotated[
        Goal,
        typer.Option("--for", metavar="|".join(Goal), help="healthy: in sync with the rows as they are, and healthy"),
    ] = Goal.HEALTHY,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long, like 90s or 5m")] = "5m",
) -> None:
    """Wait until all pods of clients are healthy, in sync, or gone. Passes go on by themselves; this only looks.

    It ends early, with 6, when that never comes without a person: an invalid image name, a refusal, a conflict, a halt;
    after two minutes for an image that cannot be pulled or a pod that fits nowhere; after three restarts of a container
    that crashes again and again. With 8 when the time is over.

    \b
    Example:
      syncctl client update acme --image registry.example.com/desk/vwap:1.4.3 && syncctl wait acme
    """
    seconds = parse_duration("--timeout", timeout)
    told: dict[str, str] = {}

    def tell(verdicts: Sequence[Verdict]) -> None:
        for each in verdicts:
            line = f"{each.pod}: {each.why}" if each.pod else each.why
            if told.get(each.pod) != line:
                output.say(printable(line))
            told[each.pod] = line

    engine, cluster = open_engine(settings), open_cluster(settings)
    verdicts = wait_for(engine, cluster, settings, named(references), for_, seconds, tell)
    if all(each.done for each in verdicts):
        output.say(f"{for_}" if verdicts or for_ is Goal.GONE else f"{for_}: no algorithm is switched on")
        return
    if never := [each for each in verdicts if each.never]:
        output.say(f"never without a person: {', '.join(each.pod for each in never)}; `syncctl explain` tells more")
        raise typer.Exit(ExitCode.INCOMPLETE)
    left = ", ".join(each.pod for each in verdicts if not each.done and each.pod)
    output.say(f"not {for_} after {timeout}{f': {left}' if left else ''}")
    raise typer.Exit(ExitCode.TIMEOUT)
