"""syncctl status: desired beside observed."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from syncctl.cli import completing, output
from syncctl.cli.looks import Colour
from syncctl.cli.options import CLUSTER, DATABASE, Format, Output, with_settings
from syncctl.cli.output import Column, View
from syncctl.cli.selection import AlgorithmOption, ClientOption, StepOption, which_steps
from syncctl.cli.suspensions import say_in_force
from syncctl.cli.watching import Watch
from syncctl.cli.words import printable
from syncctl.core.health import HealthStatus
from syncctl.core.model import ObservedPod
from syncctl.core.names import POD_PREFIX
from syncctl.core.plan_documents import status_document
from syncctl.core.status import StatusRow, Sync, summary
from syncctl.operations.connect import open_cluster, open_engine
from syncctl.operations.status import Status, read_status
from syncctl.settings import Settings

MOST = 10
"""How many pods the lines below the table say more about."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _drift(row: StatusRow) -> str:
    return f"{row.step.kind}: {row.step.explanation}" if row.step.is_drift else ""


def _drift_in_short(row: StatusRow) -> str:
    return f"{row.step.kind}: {row.step.cause}" if row.step.is_drift else ""


def _health_in_short(row: StatusRow) -> str:
    """Return the code and the reason; what more there is to say stands below the table."""
    return f"{row.health.code}: {row.health.reason}" if row.health.message else str(row.health.code)


def _age(pod: ObservedPod | None) -> str:
    return output.age(datetime.fromisoformat(pod.created_at)) if pod and pod.created_at else ""


COLOURS: dict[str, Colour] = {
    Sync.IN_SYNC: "green",
    Sync.OUT_OF_SYNC: "yellow",
    Sync.SUSPENDED: "cyan",
    Sync.HELD: "cyan",
    Sync.UNKNOWN: "red",
    HealthStatus.HEALTHY: "green",
    HealthStatus.PROGRESSING: "yellow",
    HealthStatus.STOPPED: "cyan",
    HealthStatus.DEGRADED: "red",
    HealthStatus.MISSING: "red",
}


VIEW = View[StatusRow](
    columns=(
        Column("CLIENT", lambda row: row.client_name),
        Column("ALGORITHM", lambda row: row.step.key.algorithm if row.step.key else None, wide=True),
        Column("POD", lambda row: row.step.name),
        Column("SYNC", lambda row: row.sync, colour=lambda row: COLOURS[row.sync]),
        Column("HEALTH", _health_in_short, narrow=True, free="start", colour=lambda row: COLOURS[row.health.status]),
        Column("HEALTH", lambda row: row.health.words, wide=True, colour=lambda row: COLOURS[row.health.status]),
        Column("PHASE", lambda row: row.step.observed.phase if row.step.observed else None, wide=True),
        Column("RESTARTS", lambda row: row.step.observed.restarts if row.step.observed else None),
        Column("AGE", lambda row: _age(row.step.observed)),
        Column("IMAGE", lambda row: row.step.observed.image if row.step.observed else None, wide=True),
        Column("NODE", lambda row: row.step.observed.node if row.step.observed else None, wide=True),
        Column("NEXT PASS", _drift_in_short, narrow=True, free="start"),
        Column("NEXT PASS", _drift, wide=True),
    ),
    data=status_document,
    name=lambda row: f"{POD_PREFIX}{row.step.name}",
)


class Order(StrEnum):
    """What a status can be sorted by."""

    CLIENT = "client"
    POD = "pod"
    SYNC = "sync"
    HEALTH = "health"
    RESTARTS = "restarts"
    AGE = "age"


_WORDS = list[StrEnum]([*Sync, *HealthStatus])
_BY: dict[Order, Callable[[StatusRow], Any]] = {
    Order.CLIENT: lambda row: row.client_name,
    Order.POD: lambda row: row.step.name,
    # The worst first: that is what somebody looks for.
    Order.SYNC: lambda row: -_WORDS.index(row.sync),
    Order.HEALTH: lambda row: -_WORDS.index(row.health.status),
    Order.RESTARTS: lambda row: -(row.step.observed.restarts if row.step.observed else 0),
    Order.AGE: lambda row: row.step.observed.created_at if row.step.observed else "",
}


@app.command()
@with_settings(*DATABASE, *CLUSTER)
def status(
    settings: Settings,
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="CLIENT|pod/NAME",
            autocompletion=completing.clients,
            help="Only this client, by name or id, or only this pod",
        ),
    ] = None,
    client: ClientOption = None,
    algorithm: AlgorithmOption = None,
    step: StepOption = None,
    unhealthy: Annotated[bool, typer.Option("--unhealthy", help="Show only what is degraded or missing")] = False,
    out_of_sync: Annotated[bool, typer.Option("--out-of-sync", help="Show only what is not in sync")] = False,
    sort_by: Annotated[
        Order | None, typer.Option("--sort-by", metavar="|".join(Order), help="Sort by this, the worst first")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again; without a terminal, print what changes")
    ] = False,
    output_format: Output = Format.TABLE,
) -> None:
    """Show desired beside observed: is each pod as the rows ask, how is it doing, and what would the next pass do.

    What the next pass would do about it is judged as by that pass, over the whole fleet, with what it would hold.

    \b
    Example:
      syncctl status acme -o wide
    """
    engine, cluster = open_engine(settings), open_cluster(settings)
    shown = which_steps(engine, client, algorithm, step)

    def look() -> Status:
        found = read_status(engine, cluster, settings, reference)
        rows = [
            row
            for row in found.rows
            if shown(row.step)
            and (not unhealthy or row.is_unhealthy)
            and (not out_of_sync or row.sync is not Sync.IN_SYNC)
        ]
        return Status(found.cluster, sorted(rows, key=_BY[sort_by]) if sort_by else rows)

    if not watch:
        _show(look(), output_format)
        return
    watching = Watch(VIEW, output_format, key=lambda row: row.step.name, changed=_in_a_line)
    while True:
        started = time.monotonic()
        watching.see(look, lambda found: found.rows, lambda found: _show(found, output_format))
        watching.wait(time.monotonic() - started)


def _in_a_line(row: StatusRow) -> str:
    drift = _drift(row)
    return ", ".join(filter(None, (f"{row.step.name}: {row.sync}", row.health.words, drift)))


def _show(found: Status, output_format: Format) -> None:
    output.show_list(VIEW, found.rows, output_format, "No algorithm is switched on, and there are no pods.")
    if output_format is Format.TABLE:
        _say_more(found.rows)
    if output_format in (Format.TABLE, Format.WIDE):
        if found.rows:
            output.say(summary(found.rows))
        say_in_force(list({row.suspension.id: row.suspension for row in found.rows if row.suspension}.values()))
        output.say(f"Cluster: {found.cluster}")


def _say_more(rows: Sequence[StatusRow]) -> None:
    """Say of pods that are not well what the table has no room for."""
    more = [row for row in rows if row.health.message != row.health.reason]
    for row in more[:MOST]:
        output.say(printable(f"{row.step.name}: {row.health.message}"))
    if len(more) > MOST:
        output.say(f"and {len(more) - MOST} more: -o wide")
