"""syncctl history: what passes have done."""

from typing import Annotated, Any

import typer

from syncctl.cli import output
from syncctl.cli.options import DATABASE, Format, Output, with_settings
from syncctl.cli.output import Column, View
from syncctl.core.documents import moment
from syncctl.core.records import PassRecord, StepRecord
from syncctl.core.validation import LARGEST_ID
from syncctl.operations.connect import open_engine
from syncctl.operations.history import list_passes, list_steps
from syncctl.settings import Settings

MOST = 100_000
"""Passes that are listed at a time."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _seconds(record: PassRecord) -> float:
    return round((record.finished_at - record.started_at).total_seconds(), 1)


def _data(record: PassRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "started_at": moment(record.started_at),
        "finished_at": moment(record.finished_at),
        "seconds": _seconds(record),
        "who": record.who,
        "host": record.host,
        "version": record.version,
        "shard": record.shard,
        "exit_code": record.exit_code,
        "outcome": record.outcome,
        "error": record.error,
        "counts": dict(record.counts),
        "problems": record.problems,
        "unhealthy": record.unhealthy,
    }


PASSES = View[PassRecord](
    columns=(
        Column("PASS", lambda record: record.id),
        Column("STARTED", lambda record: moment(record.started_at)),
        Column("SECONDS", _seconds),
        Column("WHO", lambda record: f"{record.who}@{record.host}"),
        Column("SHARD", lambda record: record.shard, wide=True),
        Column("VERSION", lambda record: record.version, wide=True),
        Column("EXIT", lambda record: record.exit_code),
        Column("OUTCOME", lambda record: f"error: {record.error}" if record.error else record.outcome),
    ),
    data=_data,
    name=lambda record: f"pass/{record.id}",
)

STEPS = View[StepRecord](
    columns=(
        Column("RESULT", lambda step: step.result),
        Column("STEP", lambda step: step.step),
        Column("POD", lambda step: step.pod),
        Column("CLIENT-ID", lambda step: step.client_id),
        Column("ALGORITHM", lambda step: step.algorithm, wide=True),
        Column("CAUSE", lambda step: step.cause, wide=True),
        Column("UID", lambda step: step.uid, wide=True),
        Column("SINCE", lambda step: f"pass {step.since}", wide=True),
        Column("REASON", lambda step: step.reason),
    ),
    data=lambda step: {field: getattr(step, field) for field in StepRecord.__slots__},
    name=lambda step: f"pod/{step.pod}",
)


@app.command()
@with_settings(*DATABASE)
def history(
    settings: Settings,
    number: Annotated[
        int | None, typer.Argument(metavar="PASS", min=1, max=LARGEST_ID, help="Show the steps of this pass")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many passes, newest first")] = 20,
    output_format: Output = Format.TABLE,
) -> None:
    """List the passes of the last days: who ran one, when, for how long, and what came of it.

    \b
    Example:
      syncctl history --limit 5 && syncctl history 42 -o wide
    """
    engine = open_engine(settings)
    if number is None:
        output.show_list(PASSES, list_passes(engine, limit), output_format, "No pass has been run.")
    else:
        output.show_list(STEPS, list_steps(engine, number), output_format, f"Pass {number} changed nothing.")
