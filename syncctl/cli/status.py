"""syncctl status: desired beside observed."""

from datetime import datetime
from typing import Annotated, Any

import typer

from syncctl.cli import output
from syncctl.cli.options import CLUSTER, DATABASE, PODS, Format, Output, with_settings
from syncctl.cli.output import Column, View
from syncctl.core.model import ObservedPod
from syncctl.core.steps import Cause
from syncctl.operations.connect import open_cluster, open_engine
from syncctl.operations.status import StatusRow, read_status
from syncctl.settings import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _drift(row: StatusRow) -> str:
    step = row.step
    return "" if step.cause is Cause.IN_SYNC else f"{step.kind}: {step.reason}"


def _health(row: StatusRow) -> str:
    return f"{row.health.code}: {row.health.message}" if row.health.message else str(row.health.code)


def _age(pod: ObservedPod | None) -> str:
    return output.age(datetime.fromisoformat(pod.created_at)) if pod and pod.created_at else ""


def _data(row: StatusRow) -> dict[str, Any]:
    step, pod = row.step, row.step.observed
    return {
        "client_id": step.key.client_id if step.key else None,
        "client_name": row.client_name or step.client_name,
        "algorithm": str(step.key.algorithm) if step.key else None,
        "desired": {"image": step.desired.image, "cpu": step.desired.cpu, "memory": step.desired.memory}
        if step.desired
        else None,
        "pod": step.name,
        "observed": {
            "uid": pod.uid,
            "phase": pod.phase,
            "node": pod.node,
            "image": pod.image,
            "restarts": pod.restarts,
            "created_at": pod.created_at,
        }
        if pod
        else None,
        "health": {"code": str(row.health.code), "message": row.health.message},
        "drift": {"step": str(step.kind), "cause": str(step.cause), "reason": step.reason} if _drift(row) else None,
    }


VIEW = View[StatusRow](
    columns=(
        Column("CLIENT", lambda row: row.client_name or row.step.client_name),
        Column("ALGORITHM", lambda row: row.step.key.algorithm if row.step.key else None),
        Column("POD", lambda row: row.step.name),
        Column("PHASE", lambda row: row.step.observed.phase if row.step.observed else None),
        Column("HEALTH", _health),
        Column("RESTARTS", lambda row: row.step.observed.restarts if row.step.observed else None),
        Column("AGE", lambda row: _age(row.step.observed)),
        Column("IMAGE", lambda row: row.step.observed.image if row.step.observed else None, wide=True),
        Column("NODE", lambda row: row.step.observed.node if row.step.observed else None, wide=True),
        Column("DRIFT", _drift),
    ),
    data=_data,
    name=lambda row: f"pod/{row.step.name}",
)


@app.command()
@with_settings(*DATABASE, *CLUSTER, *PODS)
def status(
    settings: Settings,
    reference: Annotated[
        str | None, typer.Argument(metavar="NAME|ID", help="Only this client; digits are an id first, then a name")
    ] = None,
    output_format: Output = Format.TABLE,
) -> None:
    """Show desired beside observed: each pod, its health with the cause, and how it differs from what it should be.

    \b
    Example:
      syncctl status acme -o wide
    """
    rows = read_status(open_engine(settings), open_cluster(settings), settings, reference)
    output.show_list(VIEW, rows, output_format, "No algorithm is switched on, and there are no pods.")
