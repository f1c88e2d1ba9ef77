"""syncctl db: upgrade, current, check."""

import typer

from syncctl.cli import output
from syncctl.cli.options import DATABASE, with_settings
from syncctl.operations import migrations
from syncctl.settings import Settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Upgrade the database's schema, or show it.")


@app.command()
@with_settings(*DATABASE)
def upgrade(settings: Settings) -> None:
    """Bring the tables to the newest revision, all of it or nothing. Tables of the Go service are adopted.

    \b
    Example:
      SYNCCTL_DATABASE_URL=postgresql://postgres:postgres@localhost/postgres syncctl db upgrade
    """
    done = migrations.upgrade_database(settings, output.say)
    was = "an empty database or one of the Go service" if done.before is None else f"revision {done.before}"
    output.say(f"upgraded from {was} to revision {done.after}" if done.changed else f"already at revision {done.after}")


@app.command()
@with_settings(*DATABASE)
def current(settings: Settings) -> None:
    """Print the revision of the tables, and nothing when there are none of ours.

    \b
    Example:
      syncctl db current
    """
    if revision := migrations.database_revision(settings):
        typer.echo(revision)


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
