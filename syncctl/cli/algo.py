"""syncctl algo: set, get, list."""

from functools import partial

import typer

from syncctl.cli import output
from syncctl.cli.clientview import warn_without_image
from syncctl.cli.forecast import forecast
from syncctl.cli.options import AUTHOR, DATABASE, Format, Output, Reference, with_settings
from syncctl.cli.output import Column, View
from syncctl.cli.suspensions import say_suspended
from syncctl.cli.switches import with_switches
from syncctl.cli.writing import with_author
from syncctl.core.documents import algorithms_document
from syncctl.core.model import Algorithm, Client
from syncctl.operations import algorithms, clients
from syncctl.operations.connect import Engine, open_engine
from syncctl.operations.suspensions import in_force
from syncctl.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Switch algorithms on and off, and show them.",
)


def _is_on(algorithm: Algorithm, client: Client) -> bool | None:
    return algorithm in client.algorithms.on if client.algorithms else None


VIEW = View[Client](
    columns=(
        Column("CLIENT-ID", lambda client: client.id),
        Column("CLIENT", lambda client: client.name),
        *(Column(algorithm.name, partial(_is_on, algorithm)) for algorithm in Algorithm),
        Column("PODS", lambda client: ",".join(clients.pods_of(client)), wide=True),
    ),
    data=algorithms_document,
    name=lambda client: f"algo/{client.name}",
)


@app.command("set")
@with_settings(*DATABASE, *AUTHOR)
@with_author
@with_switches(off=True)
def set_(
    engine: Engine,
    reference: Reference,
    flags: dict[Algorithm, bool],
    output_format: Output = Format.TABLE,
) -> None:
    """Switch algorithms on or off; those not named stay as they are. The next pass starts and stops the pods.

    \b
    Example:
      syncctl algo set acme --vwap --no-hft
    """
    before = clients.get_client(engine, reference)
    client = algorithms.set_algorithms(engine, reference, flags)
    output.show_changed(VIEW, client, output_format, f"the algorithms of client {client.id} ({client.name}) were set")
    suspensions = in_force(engine)
    output.say(forecast(before, client, suspensions))
    if set(clients.pods_of(before)) - set(clients.pods_of(client)):
        say_suspended(suspensions, [client])
    warn_without_image(client, engine)


@app.command()
@with_settings(*DATABASE)
def get(settings: Settings, reference: Reference, output_format: Output = Format.TABLE) -> None:
    """Show which algorithms a client has switched on.

    \b
    Example:
      syncctl algo get acme
    """
    output.show_one(VIEW, clients.get_client(open_engine(settings), reference), output_format)


@app.command("list")
@with_settings(*DATABASE)
def list_(settings: Settings, output_format: Output = Format.TABLE) -> None:
    """Show which algorithms all clients have switched on.

    \b
    Example:
      syncctl algo list -o json
    """
    found = clients.list_clients(open_engine(settings))
    output.show_list(VIEW, found, output_format, "No clients. `syncctl client add` makes one.")
