"""syncctl client: add, update, delete, get, list, restart, stop, revert, suspend, resume, log, undelete."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from syncctl.cli import output
from syncctl.cli.asking import confirm, named
from syncctl.cli.changes import VIEW as CHANGES
from syncctl.cli.changes import LimitOption, SinceOption, within
from syncctl.cli.clientview import say_how_to_name, say_of, show_changed, view_of, warn_without_image
from syncctl.cli.forecast import forecast, forecast_restart
from syncctl.cli.options import AUTHOR, DATABASE, Format, Output, Reference, References, in_place_of, with_settings
from syncctl.cli.stopping import revert, stop
from syncctl.cli.suspensions import resume_client, say_suspended, suspend_client
from syncctl.cli.switches import with_switches
from syncctl.cli.writing import with_author
from syncctl.core.errors import UsageError
from syncctl.core.model import Algorithm, ClientChanges, NewClient
from syncctl.core.validation import TEXTS, Text
from syncctl.operations import clients
from syncctl.operations.changes import list_changes, undelete_client
from syncctl.operations.connect import Engine, open_engine
from syncctl.operations.suspensions import in_force
from syncctl.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Add, change, delete, show and restart clients.",
)


app.command("suspend")(suspend_client)
app.command("resume")(resume_client)
app.command("stop")(stop)
app.command("revert")(revert)


def with_texts(words: Callable[[str, Text], str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each text that a client may have; `words` makes the help of each."""
    options = {
        field: Annotated[str | None, typer.Option(metavar=field.upper(), help=words(field, text))]
        for field, text in TEXTS.items()
    }
    return in_place_of("texts", options)


@app.command()
@with_settings(*DATABASE, *AUTHOR)
@with_author
@with_texts(lambda field, text: f"{text.option}; without, the fleet's default_{field}")
@with_switches(off=False)
def add(
    engine: Engine,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A free text of at most 100 characters, unique")],
    *,
    texts: dict[str, Any],
    priority: Annotated[float, typer.Option(metavar="NUMBER", help="Pods of higher priority are started first")] = 1.0,
    version: Annotated[int, typer.Option(metavar="NUMBER", help="Version number of the client's set-up")] = 1,
    flags: dict[Algorithm, bool],
    output_format: Output = Format.TABLE,
) -> None:
    """Add a client. Its pods are started by the next pass.

    \b
    Example:
      syncctl client add acme --image registry.example.com/desk/vwap:1.4.2 --cpu 500m --memory 256Mi --vwap
    """
    new = NewClient(name=name, **texts, priority=priority, version=version, algorithms=frozenset(flags))
    client = clients.add_client(engine, new)
    suspensions = in_force(engine)
    show_changed([client], suspensions, output_format, "added")
    output.say(forecast(None, client, suspensions))
    say_how_to_name(client)
    warn_without_image(client, engine)


@app.command()
@with_settings(*DATABASE, *AUTHOR)
@with_author
@with_texts(lambda field, text: f'{text.option}; without, it stays, and "" means the fleet\'s default_{field}')
def update(
    engine: Engine,
    references: References,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="New name; the pods go on running")] = None,
    *,
    texts: dict[str, Any],
    priority: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Pods of higher priority are started first")
    ] = None,
    version: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Without, a new image, cpu or memory raises it by one")
    ] = None,
    output_format: Output = Format.TABLE,
) -> None:
    """Change what is given and leave the rest. The next pass restarts containers for a new image.

    New cpu and memory are given to the running pods where Kubernetes can, a name or a version is written on them. For a
    new image together with new cpu or memory pods are replaced.

    \b
    Example:
      syncctl client update acme --image registry.example.com/desk/vwap:1.4.3
    """
    changes = ClientChanges(name=name, **texts, priority=priority, version=version)
    references = named(references)
    if name is not None and len(references) > 1:
        raise UsageError("--name goes with one client: no two have the same name")
    found = clients.update_clients(engine, references, changes)
    suspensions = in_force(engine)
    show_changed([client for _, client in found], suspensions, output_format, "updated")
    for before, client in found:
        say_of(client, forecast(before, client, suspensions), found)
        if name is not None:
            say_how_to_name(client)
        warn_without_image(client, engine)


@app.command()
@with_settings(*DATABASE, *AUTHOR)
@with_author
def delete(
    engine: Engine,
    references: References,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    output_format: Output = Format.NAME,
) -> None:
    """Delete a client. The next pass stops its pods at once, however many are being stopped.

    \b
    Example:
      syncctl client list -o name | syncctl client delete - --yes
    """
    found = clients.find_clients(engine, named(references))
    for client in found:
        pods = clients.pods_of(client)
        going = f"the next pass stops what runs of {', '.join(pods)}" if pods else "it has no pods"
        output.say(f"client {client.id} ({client.name}) will be deleted; {going}")
    suspensions = in_force(engine)
    say_suspended(suspensions, found)
    confirm(yes)
    deleted = clients.delete_clients(engine, [client.id for client in found])
    show_changed(deleted, suspensions, output_format, "deleted")
    output.say("deleted")


@app.command()
@with_settings(*DATABASE)
def get(settings: Settings, reference: Reference, output_format: Output = Format.TABLE) -> None:
    """Show a client.

    \b
    Example:
      syncctl client get acme -o yaml
    """
    engine = open_engine(settings)
    output.show_one(view_of(in_force(engine)), clients.get_client(engine, reference), output_format)


@app.command("list")
@with_settings(*DATABASE)
def list_(
    settings: Settings,
    enabled: Annotated[
        list[Algorithm] | None,
        typer.Option(metavar="|".join(Algorithm), help="Only clients that have this one switched on; once"),
    ] = None,
    output_format: Output = Format.TABLE,
) -> None:
    """Show all clients, by id.

    \b
    Example:
      syncctl client list --enabled vwap -o wide
    """
    if enabled and len(enabled) > 1:
        raise UsageError("--enabled is given more than once", "give one algorithm; the others are another list")
    chosen = enabled[0] if enabled else None
    engine = open_engine(settings)
    found = clients.list_clients(engine, chosen)
    nothing = f"No client has {chosen} switched on." if chosen else "No clients. `syncctl client add` makes one."
    output.show_list(view_of(in_force(engine)), found, output_format, nothing)


@app.command()
@with_settings(*DATABASE, *AUTHOR)
@with_author
def restart(engine: Engine, references: References, output_format: Output = Format.TABLE) -> None:
    """Ask the next pass to replace each of the client's pods, once.

    \b
    Example:
      syncctl client restart acme globex
    """
    found = clients.restart_clients(engine, named(references))
    suspensions = in_force(engine)
    show_changed(found, suspensions, output_format, "told to restart")
    for client in found:
        say_of(client, forecast_restart(client, suspensions), found)


@app.command()
@with_settings(*DATABASE)
def log(
    settings: Settings,
    reference: Reference,
    since: SinceOption = None,
    limit: LimitOption = 20,
    output_format: Output = Format.TABLE,
) -> None:
    """List what was changed of a client, by whom and why, newest first; a deleted client's too.

    \b
    Example:
      syncctl client log acme --since 7d
    """
    found = list_changes(open_engine(settings), client=reference, within=within(since), limit=limit)
    output.show_list(CHANGES, found, output_format, "No changes.")


@app.command()
@with_settings(*DATABASE, *AUTHOR)
@with_author
def undelete(engine: Engine, reference: Reference, output_format: Output = Format.TABLE) -> None:
    """Bring back a client that was deleted, as it was: with its ids, so its pods have their names again.

    \b
    Example:
      syncctl client undelete acme
    """
    client = undelete_client(engine, reference)
    suspensions = in_force(engine)
    show_changed([client], suspensions, output_format, "brought back")
    output.say(forecast(None, client, suspensions))
