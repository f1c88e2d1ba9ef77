"""syncctl suspensions, and suspend and resume of client and fleet: leave it alone, until some time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from syncctl.cli import output
from syncctl.cli.asking import confirm
from syncctl.cli.options import AUTHOR, DATABASE, Format, Output, Reference, with_settings
from syncctl.cli.output import Column, View
from syncctl.cli.words import printable
from syncctl.cli.writing import with_author
from syncctl.core.documents import moment, suspension_document
from syncctl.core.durations import parse_duration, parse_until, told_length
from syncctl.core.errors import UsageError
from syncctl.core.model import Algorithm, Client
from syncctl.core.suspensions import Suspension, Suspensions
from syncctl.operations import clients
from syncctl.operations import suspensions as operations
from syncctl.operations.author import actor_of, author_of
from syncctl.operations.connect import Engine, open_engine
from syncctl.operations.suspensions import Target
from syncctl.settings import Settings

MOST = 10
"""Suspensions that get a line below a plan or a status."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _ends(suspension: Suspension) -> str | None:
    if suspension.ended_at:
        return moment(suspension.ended_at)
    return moment(suspension.ends_at) if suspension.ends_at else "forever"


def _left(suspension: Suspension) -> str:
    if suspension.ended_at or suspension.ends_at is None:
        return ""
    left = suspension.ends_at - datetime.now(UTC)
    return told_length(left) if left > timedelta() else ""


VIEW = View[Suspension](
    columns=(
        Column("SUSPENSION", lambda row: row.id),
        Column("CLIENT", lambda row: row.client_name if row.client_id is not None else "(fleet)"),
        Column("CLIENT-ID", lambda row: row.client_id, wide=True),
        Column("ALGORITHM", lambda row: row.algorithm or "all"),
        Column("MODE", lambda row: "stopped" if row.stops else "frozen"),
        Column("SINCE", lambda row: moment(row.started_at), wide=True),
        Column("UNTIL", _ends),
        Column("LEFT", _left),
        Column("BY", lambda row: row.started_by, free="start"),
        Column("REASON", lambda row: row.reason, free="start"),
        Column("ENDED BY", lambda row: row.ended_by, wide=True),
        Column("WHY ENDED", lambda row: row.end_reason, wide=True),
    ),
    data=suspension_document,
    name=lambda row: f"suspension/{row.id}",
)
UntilOption = Annotated[
    str, typer.Option("--until", metavar="TIME", help="2h, 16:30, 2026-11-27T09:00, or the word forever")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")]
Algorithms = Annotated[
    list[Algorithm] | None, typer.Argument(metavar="[ALGORITHM]...", help="Only these; without, all of the client")
]


@app.command()
@with_settings(*DATABASE)
def suspensions(
    settings: Settings,
    ended: Annotated[bool, typer.Option("--ended", help="Those that have ended, the last one first")] = False,
    ending_within: Annotated[
        str | None, typer.Option("--ending-within", metavar="TIME", help="Only those that end within 8h, 2d")
    ] = None,
    output_format: Output = Format.TABLE,
) -> None:
    """List what is suspended: by whom, until when and why. What ends first comes first.

    \b
    Example:
      syncctl suspensions --ending-within 8h
    """
    if ended and ending_within is not None:
        raise UsageError("--ended and --ending-within do not go together")
    within = None if ending_within is None else timedelta(seconds=parse_duration("--ending-within", ending_within))
    found = operations.list_suspensions(open_engine(settings), ended=ended, within=within)
    narrowed = ended or within is not None
    output.show_list(VIEW, found, output_format, "No such suspension." if narrowed else "Nothing is suspended.")


@with_settings(*DATABASE, *AUTHOR)
@with_author
def suspend_client(
    engine: Engine,
    reference: Reference,
    algorithms: Algorithms = None,
    until: UntilOption = "",
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop it, and keep it stopped; without, it stays as it is now")
    ] = False,
    yes: YesOption = False,
    output_format: Output = Format.TABLE,
) -> None:
    """Leave a client alone until some time: no pass touches its pods, whatever its rows say.

    With ALGORITHM, only those of its pods. What would be done is shown by `status` and `sync plan`. To switch it off or
    delete it goes through all the same. A replacement that was begun before is finished, and a process that ends
    meanwhile stays down and is named by every pass. With --stop it is stopped by the next pass, and started by none
    until the end.

    \b
    Example:
      syncctl client suspend acme vwap --until 16:30 --reason "the exchange asked"
    """
    _refuse_without(engine, until)
    target, client = operations.find_target(engine, reference, algorithms or ())
    _suspend(engine, target, until, stops=stop, yes=yes, output_format=output_format)
    pods = [pod for pod in clients.pods_of(client) if not algorithms or pod.partition("-")[0] in algorithms]
    if not pods:
        output.say("nothing of that is switched on: there is nothing to stop, or to leave alone, for now")
    elif stop:
        output.say(f"the next pass stops {', '.join(pods)}")
    else:
        output.say(f"from the next pass on, left as {'it is' if len(pods) == 1 else 'they are'}: {', '.join(pods)}")


@with_settings(*DATABASE, *AUTHOR)
@with_author
def resume_client(
    engine: Engine,
    reference: Reference,
    algorithms: Algorithms = None,
    yes: YesOption = False,
    output_format: Output = Format.TABLE,
) -> None:
    """End a client's suspensions: the next pass goes on, at its pace.

    \b
    Example:
      syncctl client resume acme --reason "they are done"
    """
    target = operations.find_suspended(engine, reference, algorithms or ())
    _resume(engine, target, yes=yes, output_format=output_format)
    for each in operations.in_force(engine).of_client(target.client_id or 0):
        output.say(printable(f"still suspended: {each.what} {each.words}"))


@with_settings(*DATABASE, *AUTHOR)
@with_author
def suspend_fleet(
    engine: Engine, until: UntilOption = "", yes: YesOption = False, output_format: Output = Format.TABLE
) -> None:
    """Leave all pods alone until some time. Passes go on looking, and only stop what a person has switched off.

    \b
    Example:
      syncctl fleet suspend --until 2026-11-27T09:00 --reason "the exchange moves"
    """
    _refuse_without(engine, until)
    _suspend(engine, Target(), until, stops=False, yes=yes, output_format=output_format)
    output.say("from the next pass on all pods stay as they are")


@with_settings(*DATABASE, *AUTHOR)
@with_author
def resume_fleet(engine: Engine, yes: YesOption = False, output_format: Output = Format.TABLE) -> None:
    """End the suspension of the fleet: the next pass goes on, at its pace. Clients that are suspended stay so.

    \b
    Example:
      syncctl fleet resume
    """
    _resume(engine, Target(), yes=yes, output_format=output_format)
    if left := operations.in_force(engine).in_force:
        output.say(f"still suspended: {len(left)}, see `syncctl suspensions`")


def say_in_force(found: Sequence[Suspension]) -> None:
    """Say below a plan or a status what is suspended, and by whom."""
    _say_some([f"{'Stopped and suspended' if each.stops else 'Suspended'}: {each.what} {each.words}" for each in found])


def say_suspended(suspensions: Suspensions, found: Sequence[Client]) -> None:
    """Say of clients that are told to stop what is suspended of them, and that it goes through all the same."""
    covering = {each.id: each for client in found for each in suspensions.of_client(client.id)}
    words = (f"note: {each.what} is suspended {each.words}" for each in covering.values())
    _say_some([f"{each}; a stop goes through all the same" for each in words])


def _say_some(lines: Sequence[str]) -> None:
    for line in lines[:MOST]:
        output.say(printable(line))
    if len(lines) > MOST:
        output.say(f"and {len(lines) - MOST} more: `syncctl suspensions`")


def _refuse_without(engine: Engine, until: str) -> None:
    """Refuse a suspension that does not say until when and why: each is forgotten otherwise."""
    author = author_of(engine)
    missing = [name for name, given in (("--until", until), ("--reason", author and author.reason)) if not given]
    if missing:
        raise UsageError(
            f"a suspension needs {' and '.join(missing)}",
            'like --until 2h --reason "the exchange asked"; --until forever is until somebody resumes it',
        )


def _suspend(engine: Engine, target: Target, until: str, *, stops: bool, yes: bool, output_format: Format) -> None:
    _ask_about(engine, operations.replaced_by(engine, target), "takes the place of", yes)
    now, stored = operations.suspend(engine, target, lambda now: parse_until(until, now), stops=stops)
    what = ", ".join(each.what for each in stored)
    output.show_changed_list(VIEW, stored, output_format, f"{what} was suspended")
    ends = stored[0].ends_at
    when = "until somebody resumes it" if ends is None else f"until {_told(ends)}, for {told_length(ends - now)}"
    output.say(printable(f"{what} is {'stopped and suspended' if stops else 'suspended'} {when}"))


def _told(when: datetime) -> str:
    """Return a moment in the zone of this machine, with the zone."""
    return f"{when.astimezone():%a %Y-%m-%d %H:%M %Z}"


def _resume(engine: Engine, target: Target, *, yes: bool, output_format: Format) -> None:
    found = operations.to_resume(engine, target)
    _ask_about(engine, found, "ends", yes)
    ended = operations.resume(engine, found)
    output.show_changed_list(VIEW, ended, output_format, f"{', '.join(each.what for each in ended)} was resumed")
    output.say(printable(f"resumed: {', '.join(each.what for each in ended)}; the next pass goes on, at its pace"))


def _ask_about(engine: Engine, found: Sequence[Suspension], does: str, yes: bool) -> None:
    """Ask before a suspension that somebody else has made is ended."""
    me = actor_of(engine)
    others = [each for each in found if each.started_by != me]
    for each in others:
        output.say(printable(f"this {does} suspension {each.id}: {each.what} {each.words}"))
    if others:
        confirm(yes)
