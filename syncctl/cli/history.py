"""syncctl history: what passes have done."""

from typing import Annotated

import typer

from syncctl.cli import output
from syncctl.cli.options import DATABASE, Format, Output, with_settings
from syncctl.cli.output import Column, View
from syncctl.core.documents import moment, pass_document, past_step_document
from syncctl.core.names import POD_PREFIX
from syncctl.core.records import PassRecord, StepRecord
from syncctl.core.validation import is_id
from syncctl.db.history import list_passes, list_steps
from syncctl.operations.connect import open_engine
from syncctl.settings import Settings

MOST = 100_000
"""Passes that are listed at a time."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


PASSES = View[PassRecord](
    columns=(
        Column("PASS", lambda record: record.id),
        Column("STARTED", lambda record: moment(record.started_at)),
        Column("SECONDS", lambda record: record.seconds),
        Column("WHO", lambda record: f"{record.who}@{record.host}"),
        Column("SHARD", lambda record: record.shard, wide=True),
        Column("VERSION", lambda record: record.version, wide=True),
        Column("EXIT", lambda record: record.exit_code),
        Column("OUTCOME", lambda record: f"error: {record.error}" if record.error else record.outcome),
    ),
    data=pass_document,
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
    data=past_step_document,
    name=lambda step: f"{POD_PREFIX}{step.pod}",
)


def _number(given: str) -> int:
    """Return the number of a pass, as it is listed or as -o name prints it."""
    text = given.removeprefix("pass/")
    if not is_id(text) or text == "0":
        raise typer.BadParameter(f"{given} is no number of a pass")
    return int(text)


@app.command()
@with_settings(*DATABASE)
def history(
    settings: Settings,
    number: Annotated[
        int | None,
        typer.Argument(metavar="PASS", parser=_number, help="Show the steps of this pass: 42, or pass/42"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, metavar="NUMBER", help="How many passes, newest first")] = 20,
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
