"""Clients on the screen, and what is said of one that was changed."""

from collections.abc import Sequence
from functools import partial

from syncctl.cli import output
from syncctl.cli.options import Format
from syncctl.cli.output import Column, View
from syncctl.cli.words import printable
from syncctl.core.documents import client_document
from syncctl.core.model import Algorithm, Client, PodKey
from syncctl.core.names import NAME_PREFIX
from syncctl.core.suspensions import Suspensions
from syncctl.core.validation import is_id
from syncctl.operations import clients
from syncctl.operations.connect import Engine


def view_of(suspensions: Suspensions) -> View[Client]:
    """Return how clients are shown while this is suspended; the column for that is there when anything is."""
    suspended = partial(_suspended, suspensions)
    return View[Client](
        columns=(
            Column("ID", lambda client: client.id),
            Column("NAME", lambda client: client.name),
            Column("VERSION", lambda client: client.version),
            Column("IMAGE", lambda client: client.image, free="end"),
            Column("CPU", lambda client: client.cpu),
            Column("MEMORY", lambda client: client.memory),
            Column("PRIORITY", lambda client: f"{client.priority:g}"),
            Column("ALGORITHMS", lambda client: ",".join(client.algorithms.on) if client.algorithms else "?"),
            *([Column("SUSPENDED", suspended, narrow=True)] if suspensions else []),
            Column("SUSPENDED", suspended, wide=True),
            Column("GENERATION", lambda client: client.restart_generation + client.need_restart, wide=True),
            Column("SPAWNED", lambda client: output.age(client.spawned_at), wide=True),
            Column("UPDATED", lambda client: output.age(client.updated_at), wide=True),
            Column("AGE", lambda client: output.age(client.created_at)),
        ),
        data=lambda client: client_document(client, suspensions.of_client(client.id)),
        name=lambda client: f"{NAME_PREFIX}{client.name}",
    )


def _suspended(suspensions: Suspensions, client: Client) -> str:
    """Return which algorithms of a client are suspended."""
    found = [each for each in Algorithm if suspensions.of(PodKey(client.id, each))]
    return "all" if len(found) == len(Algorithm) else ",".join(found)


def show_changed(found: Sequence[Client], suspensions: Suspensions, form: Format, done: str) -> None:
    """Print what was changed: one client as such, several as a list, a line each."""
    what = ", ".join(f"client {client.id} ({client.name})" for client in found)
    if len(found) == 1:
        output.show_changed(view_of(suspensions), found[0], form, f"{what} was {done}")
    else:
        output.show_changed_list(view_of(suspensions), found, form, f"{what} were {done}")


def say_of(client: Client, words: str, found: Sequence[object]) -> None:
    """Say something of one of those found, by name where there are several."""
    output.say(words if len(found) == 1 else f"{printable(client.name)}: {words}")


def warn_without_image(client: Client, engine: Engine) -> None:
    """Say that the next pass has no image for the client's pods."""
    if (pods := clients.pods_of(client)) and not client.image and not clients.has_default_image(engine):
        output.say(
            f"warning: {printable(client.name)} names no image, and the fleet has no default_image:"
            f" the next pass cannot run {', '.join(pods)}; `syncctl client update {client.id} --image IMAGE` names one"
        )


def say_how_to_name(client: Client) -> None:
    """Say by what to name a client whose name is digits: they are an id first."""
    if is_id(client.name) and client.id != int(client.name):
        output.say(
            f"note: {client.name} means the client with id {client.name} first; name this one by its id, {client.id}"
        )
