"""syncctl status: desired beside observed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer

from syncctl.cli import output
from syncctl.cli.options import CLUSTER, DATABASE, Format, Output, with_settings
from syncctl.cli.output import Column, View
from syncctl.cli.words import printable
from syncctl.core.model import ObservedPod
from syncctl.core.names import POD_PREFIX
from syncctl.core.plan_documents import status_document
from syncctl.core.status import StatusRow
from syncctl.operations.connect import open_cluster, open_engine
from syncctl.operations.status import read_status
from syncctl.settings import Settings

MOST = 10
"""How many pods the lines below the table say more about."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _drift(row: StatusRow) -> str:
    return f"{row.step.kind}: {row.step.explanation}" if row.step.is_drift else ""


def _health(row: StatusRow) -> str:
    return f"{row.health.code}: {row.health.message}" if row.health.message else str(row.health.code)


def _health_in_short(row: StatusRow) -> str:
    """Return the code and the reason; what more there is to say stands below the table."""
    return f"{row.health.code}: {row.health.reason}" if row.health.message else str(row.health.code)


def _age(pod: ObservedPod | None) -> str:
    return output.age(datetime.fromisoformat(pod.created_at)) if pod and pod.created_at else ""


VIEW = View[StatusRow](
    columns=(
        Column("CLIENT", lambda row: row.client_name),
        Column("ALGORITHM", lambda row: row.step.key.algorithm if row.step.key else None),
        Column("POD", lambda row: row.step.name),
        Column("PHASE", lambda row: row.step.observed.phase if row.step.observed else None),
        Column("HEALTH", _health_in_short, narrow=True, free="start"),
        Column("HEALTH", _health, wide=True),
        Column("RESTARTS", lambda row: row.step.observed.restarts if row.step.observed else None),
        Column("AGE", lambda row: _age(row.step.observed)),
        Column("IMAGE", lambda row: row.step.observed.image if row.step.observed else None, wide=True),
        Column("NODE", lambda row: row.step.observed.node if row.step.observed else None, wide=True),
        Column("DRIFT", _drift, free="start"),
    ),
    data=status_document,
    name=lambda row: f"{POD_PREFIX}{row.step.name}",
)


@app.command()
@with_settings(*DATABASE, *CLUSTER)
def status(
    settings: Settings,
    reference: Annotated[
        str | None, typer.Argument(metavar="CLIENT|pod/NAME", help="Only this client, by name or id, or only this pod")
    ] = None,
    output_format: Output = Format.TABLE,
) -> None:
    """Show desired beside observed: each pod, its health with the cause, and how it differs from what it should be.

    What the next pass would do about it is judged as by that pass, over the whole fleet, with what it would hold.

    \b
    Example:
      syncctl status acme -o wide
    """
    found = read_status(open_engine(settings), open_cluster(settings), settings, reference)
    output.show_list(VIEW, found.rows, output_format, "No algorithm is switched on, and there are no pods.")
    if output_format is Format.TABLE:
        _say_more(found.rows)
    if output_format in (Format.TABLE, Format.WIDE):
        output.say(f"Cluster: {found.cluster}")


def _say_more(rows: Sequence[StatusRow]) -> None:
    """Say of pods that are not well what the table has no room for."""
    more = [row for row in rows if row.health.message != row.health.reason]
    for row in more[:MOST]:
        output.say(printable(f"{row.step.name}: {row.health.message}"))
    if len(more) > MOST:
        output.say(f"and {len(more) - MOST} more: -o wide")
