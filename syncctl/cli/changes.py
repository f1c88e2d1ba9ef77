"""syncctl changes: who changed which row, when, and why."""

from datetime import timedelta
from typing import Annotated

import typer

from syncctl.cli import output
from syncctl.cli.options import DATABASE, Format, Output, client_option, with_settings
from syncctl.cli.output import Column, View
from syncctl.core.changes import TABLES, Change
from syncctl.core.documents import change_document, moment
from syncctl.core.durations import parse_duration
from syncctl.core.errors import UsageError
from syncctl.operations.changes import list_changes
from syncctl.operations.connect import open_engine
from syncctl.settings import Settings

MOST = 100_000
"""Changes that are listed at a time."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


VIEW = View[Change](
    columns=(
        Column("CHANGE", lambda change: change.id),
        Column("AT", lambda change: moment(change.at)),
        Column("BY", lambda change: change.who, free="start"),
        Column("CLIENT", lambda change: change.client_name or ("fleet" if change.is_of_fleet else None)),
        Column("WHAT", lambda change: change.what, free="start"),
        Column("REASON", lambda change: change.reason, free="start"),
        Column("VIA", lambda change: change.via, wide=True),
        Column("DB-USER", lambda change: change.db_user, wide=True),
        Column("APP", lambda change: change.app, wide=True),
        Column("ADDRESS", lambda change: change.address, wide=True),
    ),
    data=change_document,
    name=lambda change: f"change/{change.id}",
)
SinceOption = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Only of the last 12h, 30m, 7d")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=MOST, metavar="NUMBER", help="How many, newest first")]


def within(given: str | None) -> timedelta | None:
    """Return how long ago --since is."""
    return None if given is None else timedelta(seconds=parse_duration("--since", given))


@app.command()
@with_settings(*DATABASE)
def changes(
    settings: Settings,
    client: Annotated[str | None, client_option("Only of this client, a deleted one too")] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="NAME", help="Only by this one: anna, anna@desk7, or a database's user"),
    ] = None,
    since: SinceOption = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="|".join(TABLES), help="Only of this table's rows")
    ] = None,
    limit: LimitOption = 50,
    output_format: Output = Format.TABLE,
) -> None:
    """List who changed what, when and why: clients, their algorithms and the fleet, newest first.

    Whoever wrote past syncctl, with psql or by the Go service, is named as the database knows them.

    \b
    Example:
      syncctl changes --client acme --since 12h
    """
    if table is not None and table not in TABLES:
        raise UsageError(f"--table {table}: of this table no changes are kept", f"there are {', '.join(TABLES)}")
    found = list_changes(open_engine(settings), client=client, table=table, by=by, within=within(since), limit=limit)
    output.show_list(VIEW, found, output_format, "No changes.")
