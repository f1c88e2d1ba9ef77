"""syncctl history: what passes have done."""

from typing import Annotated, Any

import typer

from syncctl.cli import output
from syncctl.cli.options import DATABASE, Format, Output, with_settings
from syncctl.cli.output import Column, View
from syncctl.operations.connect import open_engine
from syncctl.operations.sync import PassRecord, list_passes
from syncctl.settings import Settings

app = typer.Typer(rich_markup_mode=None)


def _seconds(record: PassRecord) -> float:
    return round((record.finished_at - record.started_at).total_seconds(), 1)


def _data(record: PassRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "started_at": output.moment(record.started_at),
        "finished_at": output.moment(record.finished_at),
        "seconds": _seconds(record),
        "who": record.who,
        "host": record.host,
        "version": record.version,
        "exit_code": record.exit_code,
        "outcome": record.outcome,
        "error": record.error,
        "counts": dict(record.counts),
    }


VIEW = View[PassRecord](
    columns=(
        Column("ID", lambda record: record.id),
        Column("STARTED", lambda record: output.moment(record.started_at)),
        Column("SECONDS", _seconds),
        Column("WHO", lambda record: f"{record.who}@{record.host}"),
        Column("VERSION", lambda record: record.version, wide=True),
        Column("EXIT", lambda record: record.exit_code),
        Column("OUTCOME", lambda record: f"error: {record.error}" if record.error else record.outcome),
    ),
    data=_data,
    name=lambda record: f"pass/{record.id}",
)


@app.command()
@with_settings(*DATABASE)
def history(
    settings: Settings,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first")] = 20,
    output_format: Output = Format.TABLE,
) -> None:
    """List the passes of the last days: who ran one, when, for how long, and what came of it.

    \b
    Example:
      syncctl history --limit 5
    """
    output.show_list(VIEW, list_passes(open_engine(settings), limit), output_format, "No pass has been run.")
