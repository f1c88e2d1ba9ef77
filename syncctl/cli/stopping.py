"""syncctl client stop, and what takes it back: client revert."""

from typing import Annotated

import typer

from syncctl.cli import output
from syncctl.cli.asking import named, typed
from syncctl.cli.clientview import say_of, show_changed
from syncctl.cli.forecast import forecast
from syncctl.cli.options import AUTHOR, DATABASE, REFERENCES, Format, Output, References, with_settings
from syncctl.cli.suspensions import say_suspended
from syncctl.cli.words import printable
from syncctl.cli.writing import with_author
from syncctl.core import names
from syncctl.core.errors import UsageError
from syncctl.db.snapshot import read_snapshot
from syncctl.operations import clients
from syncctl.operations.author import author_of
from syncctl.operations.changes import revert_changes
from syncctl.operations.connect import Engine
from syncctl.operations.suspensions import in_force

_NAMED = 10
"""Clients that the command which takes it back is shown with."""


@with_settings(*DATABASE, *AUTHOR)
@with_author
def stop(
    engine: Engine,
    references: Annotated[list[str] | None, REFERENCES] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All clients; asks for the fleet's name")] = False,
    output_format: Output = Format.NAME,
) -> None:
    """Switch off all that clients run. The next pass stops it at once, past switch_off_limit.

    Each process gets its grace. Prints who had anything switched on: `client revert` takes it back.

    \b
    Example:
      syncctl client stop acme globex --reason "the feed is wrong"
    """
    author = author_of(engine)
    if bool(references) is everybody:
        raise UsageError("name the clients to stop, or give --all", "`syncctl client list` shows them")
    if not (author and author.reason):
        raise UsageError("to stop clients needs --reason", 'like --reason "the feed is wrong"')
    chosen = None if everybody else named(references or ())
    if everybody:
        _ask_for_the_fleets_name(engine)
    found = clients.stop_clients(engine, chosen)
    if not found:
        output.say("nothing was switched on; what a pass has still to stop may pass switch_off_limit")
        return
    suspensions = in_force(engine)
    show_changed(found, suspensions, output_format, "stopped")
    pods = sum(len(clients.pods_of(client)) for client in found)
    said = names.listed([pod for client in found for pod in clients.pods_of(client)])
    output.say(f"the next pass stops {names.pods(pods)}: {said}")
    say_suspended(suspensions, found)
    ids = " ".join(str(client.id) for client in found) if len(found) <= _NAMED else "-"
    output.say(f"`syncctl client revert {ids}` takes it back" + (", given the names above" if ids == "-" else ""))


def _ask_for_the_fleets_name(engine: Engine) -> None:
    rows = read_snapshot(engine, consume_restarts=False)
    name = rows.settings.fleet_name if rows.settings else rows.fleet
    pods = sum(len(clients.pods_of(client)) for client in rows.clients)
    output.say(f"all {len(rows.clients)} clients of fleet {name} will be switched off: {names.pods(pods)}")
    typed("fleet", name)


@with_settings(*DATABASE, *AUTHOR)
@with_author
def revert(
    engine: Engine,
    references: References,
    change: Annotated[
        int | None, typer.Option("--change", min=1, metavar="NUMBER", help="Which; without, the last")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Do so although a later change has touched the same fields")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what that would be, and change nothing")] = False,
    output_format: Output = Format.TABLE,
) -> None:
    """Take back one change of a client, as a new change. It is judged like any other.

    Of several clients the last one of each: all of them by one command, as by `client stop`, or none is taken back.

    \b
    Example:
      syncctl client revert acme --change 412 --dry-run
    """
    chosen = named(references)
    if change is not None and len(chosen) > 1:
        raise UsageError("--change goes with one client")
    found = revert_changes(engine, chosen, change, past_later=force, dry_run=dry_run)
    done = "would revert" if dry_run else "reverted"
    for undone, _, client in found:
        words = f"{done} change {undone.id} by {undone.who}: {undone.what}"
        say_of(client, printable(words), found)
    suspensions = in_force(engine)
    show_changed([client for *_, client in found], suspensions, output_format, f"{done} to what they were")
    for _, before, client in found:
        say_of(client, forecast(before, client, suspensions), found)
