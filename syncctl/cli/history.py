"""syncctl history: what passes have done."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from syncctl.cli import output
from syncctl.cli.changes import SinceOption, within
from syncctl.cli.options import DATABASE, Format, Output, client_option, with_settings
from syncctl.cli.output import Column, View
from syncctl.core.documents import moment, pass_document, past_step_document
from syncctl.core.errors import UsageError
from syncctl.core.exits import ExitCode
from syncctl.core.names import POD_PREFIX
from syncctl.core.records import PassRecord, StepRecord
from syncctl.core.validation import is_id
from syncctl.db.history import list_passes, list_steps, read_last_success
from syncctl.operations.changes import id_of_client
from syncctl.operations.connect import open_engine
from syncctl.settings import Settings

MOST = 100_000
"""Passes that are listed at a time."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _outcome(record: PassRecord) -> str:
    """Return what came of a pass, or of the client that was asked for, without what nothing came of."""
    if record.error:
        return f"error: {record.error}"
    if record.client_steps is not None:
        return ", ".join(record.client_steps)
    if not record.counts:
        return record.outcome
    told = [f"{number} {result}" for result, number in record.counts.items() if number]
    if record.unhealthy:
        told.append(f"{record.unhealthy} not healthy")
    return ", ".join(told) or "no pods"


PASSES = View[PassRecord](
    columns=(
        Column("PASS", lambda record: record.id),
        Column("STARTED", lambda record: moment(record.started_at)),
        Column("SECONDS", lambda record: record.seconds),
        Column("WHO", lambda record: f"{record.who}@{record.host}", free="start"),
        Column("BEGUN BY", lambda record: record.trigger, wide=True),
        Column("SHARD", lambda record: record.shard, wide=True),
        Column("VERSION", lambda record: record.version, wide=True),
        Column("EXIT", lambda record: record.exit_code),
        Column("OUTCOME", _outcome, narrow=True, free="start"),
        Column("OUTCOME", lambda record: f"error: {record.error}" if record.error else record.outcome, wide=True),
    ),
    data=pass_document,
    name=lambda record: f"pass/{record.id}",
)

STEPS = View[StepRecord](
    columns=(
        Column("RESULT", lambda step: step.result),
        Column("STEP", lambda step: step.step),
        Column("POD", lambda step: step.pod),
        Column("CLIENT", lambda step: step.client_name or step.client_id),
        Column("CLIENT-ID", lambda step: step.client_id, wide=True),
        Column("ALGORITHM", lambda step: step.algorithm, wide=True),
        Column("CAUSE", lambda step: step.cause, wide=True),
        Column("UID", lambda step: step.uid, wide=True),
        Column("SINCE", lambda step: f"pass {step.since}", wide=True),
        Column("REASON", lambda step: step.reason, free="start", narrow=True),
        Column("REASON", lambda step: step.reason, wide=True),
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
    client: Annotated[str | None, client_option("Only passes that did something to this client")] = None,
    since: SinceOption = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only passes that did something to a pod")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only passes that did not end with 0")] = False,
    last_success: Annotated[
        bool, typer.Option("--last-success", help="Only the pass since which all of the fleet has had one that worked")
    ] = False,
    output_format: Output = Format.TABLE,
) -> None:
    """List the passes of the last days: who ran one, when, for how long, and what came of it.

    \b
    Example:
      syncctl history --client acme --since 12h --changed && syncctl history 42
    """
    engine = open_engine(settings)
    narrowed = client is not None or since is not None or changed or failed
    if (number is not None or last_success) and (narrowed or (number is not None and last_success)):
        raise UsageError("PASS and --last-success each go by themselves", "the other options narrow the list of passes")
    if number is not None:
        output.show_list(STEPS, list_steps(engine, number), output_format, f"Pass {number} changed nothing.")
        return
    if last_success:
        found = [record] if (record := read_last_success(engine)) else []
        output.show_list(PASSES, found, output_format, "Not every part of the fleet has had a pass that worked.")
        if not found:
            raise typer.Exit(ExitCode.ERROR)
        return
    ago = within(since)
    began = datetime.now(UTC) - ago if ago is not None else None
    client_id = id_of_client(engine, client) if client is not None else None
    records = list_passes(engine, limit, client=client_id, since=began, changed=changed, failed=failed)
    output.show_list(PASSES, records, output_format, "No such pass." if narrowed else "No pass has been run.")
