"""syncctl db: upgrade, current, check, forget-go-service."""

from typing import Annotated

import typer

from syncctl.cli import output
from syncctl.cli.asking import confirm
from syncctl.cli.options import AUTHOR, DATABASE, Format, Output, with_settings
from syncctl.cli.output import Column, View
from syncctl.cli.writing import with_author
from syncctl.operations import migrations
from syncctl.operations.connect import Engine
from syncctl.settings import Settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Upgrade the database's schema, or show it."
)


VIEW = View[str | None](
    columns=(
        Column("REVISION", lambda revision: revision),
        Column("NEEDED", lambda _revision: migrations.HEAD),
    ),
    data=lambda revision: {"revision": revision, "needed": migrations.HEAD},
    name=lambda revision: revision or "",
)


@app.command()
@with_settings(*DATABASE)
def upgrade(settings: Settings) -> None:
    """Bring the tables to the newest revision, all of it or nothing. Tables of the Go service are adopted.

    \b
    Example:
      SYNCCTL_DATABASE_URL=postgresql://postgres:postgres@localhost/postgres syncctl db upgrade
    """
    done = migrations.upgrade_database(settings, output.say)
    adopted = any(step.startswith("adopting ") for step in done.steps)
    empty = "the Go service's tables" if adopted else "an empty database"
    was = empty if done.before is None else f"revision {done.before}"
    if done.before == done.after:
        output.say(f"{'mended' if done.changed else 'already'} at revision {done.after}")
    else:
        output.say(f"upgraded from {was} to revision {done.after}")


@app.command()
@with_settings(*DATABASE)
def current(settings: Settings, output_format: Output = Format.TABLE) -> None:
    """Show the revision of the tables beside the one that this syncctl needs.

    \b
    Example:
      syncctl db current
    """
    output.show_one(VIEW, migrations.database_revision(settings), output_format)


@app.command()
@with_settings(*DATABASE)
def check(settings: Settings) -> None:
    """Exit with 0 when the tables are those of this syncctl, else say what they are.

    \b
    Example:
      syncctl db check && syncctl sync once
    """
    migrations.check_database(settings)
    output.say(f"the tables are at revision {migrations.HEAD}, as this syncctl needs them")


@app.command()
@with_settings(*DATABASE, *AUTHOR)
@with_author
def forget_go_service(
    engine: Engine, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False
) -> None:
    """Say that the Go service is gone for good. Passes then look no longer for pods that it goes on making.

    \b
    Example:
      syncctl db forget-go-service
    """
    output.say(
        "a Go service that still runs makes a second pod beside each of ours; no pass will look for these any more"
    )
    confirm(yes)
    ended = migrations.end_go_service(engine)
    output.say("passes look for its pods no longer" if ended else "no pass looks for its pods")
