"""syncctl explain: why is it so."""

from collections.abc import Iterator
from typing import Annotated

import typer

from syncctl.cli import completing, output
from syncctl.cli.looks import echo, painted
from syncctl.cli.options import CLUSTER, DATABASE, Format, Output, with_settings
from syncctl.cli.plans import field_lines, short_reason
from syncctl.cli.status import COLOURS
from syncctl.cli.words import printable, shortened
from syncctl.core.changes import Change
from syncctl.core.explanation import Explanation
from syncctl.core.names import POD_PREFIX
from syncctl.core.plan_documents import explanation_document
from syncctl.db.times import parse_time
from syncctl.operations.connect import open_cluster, open_engine
from syncctl.operations.explain import explain as explained
from syncctl.settings import Settings

_LABEL = 11
"""Columns of the word before each line."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@with_settings(*DATABASE, *CLUSTER)
def explain(
    settings: Settings,
    reference: Annotated[
        str,
        typer.Argument(
            metavar="POD|CLIENT[/ALGORITHM]",
            autocompletion=completing.clients_and_pods,
            help="A pod, a client, or one algorithm of it",
        ),
    ],
    output_format: Output = Format.TABLE,
) -> None:
    """Tell why a pod is as it is: is it wanted and by whom, what is there, what the next pass would do, what was done.

    Events are shown where you may list them.

    \b
    Example:
      syncctl explain acme/vwap
    """
    found = explained(open_engine(settings), open_cluster(settings), settings, reference)
    if output_format is Format.NAME:
        for each in found:
            typer.echo(printable(f"{POD_PREFIX}{each.row.step.name}"))
    elif output_format in (Format.JSON, Format.YAML):
        output.show_data([explanation_document(each) for each in found], output_format)
    else:
        for place, each in enumerate(found):
            if place:
                typer.echo()
            _show(each, whole=output_format is Format.WIDE)


def _show(found: Explanation, *, whole: bool) -> None:
    row, step = found.row, found.row.step
    whose = f"{step.key.algorithm} of {row.client_name or 'client'} (client {step.key.client_id})" if step.key else "?"
    axes = f"{painted(row.sync, COLOURS[row.sync])}, {painted(row.health.status, COLOURS[row.health.status])}"
    echo(f"{painted(printable(step.name), 'bold')}   {printable(whose)}: {axes}")
    for label, text in _lines(found):
        told = output.wrapped(text, _LABEL + 2) if whole or label not in _CUT else _cut(text)
        echo(f"  {label.ljust(_LABEL)}{told}")


_CUT = ("Passes", "Events", "Health")
"""Of these the end may be cut off; -o wide has it."""


def _cut(text: str) -> str:
    return printable(
        shortened(" ".join(text.split()), max(2 * output.LEAST, output.line_length() - _LABEL - 2), "start")
    )


def _lines(found: Explanation) -> Iterator[tuple[str, str]]:
    step, pod = found.row.step, found.row.step.observed
    yield "Wanted", _wanted(found)
    if wanted := step.desired:
        yield "", f"image {wanted.image}, cpu {wanted.cpu}, memory {wanted.memory}"
    if found.changed and found.changed != found.wanted:
        yield "Changed", _by(found.changed)
    if word := found.row.suspension:
        mode = "stopped, and kept stopped" if word.stops else "left as it was"
        yield "Suspended", f"{word.what}: {mode} {word.words}"
    if pod is None:
        yield "There", "no pod"
    else:
        created = f", created {output.age(parse_time(pod.created_at))} ago" if pod.created_at else ""
        node = f" on {pod.node}" if pod.node else ", on no node"
        times = f"{pod.restarts} restart{'s' if pod.restarts != 1 else ''}"
        yield "There", f"{pod.phase}{node}{created}, {times}"
    if found.row.health.message:
        yield "Health", found.row.health.words
    for ended in found.terminations:
        code = "" if ended.exit_code is None else f", exit code {ended.exit_code}"
        ago = f", {output.age(parse_time(ended.finished_at))} ago" if ended.finished_at else ""
        yield "Last end", f"{ended.container}: {ended.reason or 'ended'}{code}{ago}"
    yield from _next(found)
    label = "Passes"
    for past in found.passes:
        since = "since " if past.standing else ""
        yield label, f"{since}pass {past.pass_id}, {output.age(past.at)} ago: {past.result}: {past.reason}"
        label = ""
    if not found.passes:
        yield label, "none of those remembered has done anything to it"
    label = "Events"
    for event in found.events or ():
        times = f" (x{event.count})" if event.count > 1 else ""
        ago = f"{output.age(parse_time(event.at))} ago: " if event.at else ""
        yield label, f"{ago}{event.type} {event.reason}{times}: {event.message}"
        label = ""
    if found.events is None:
        yield label, f"not known: {found.no_events}"
    elif not found.events:
        yield label, "none"


def _wanted(found: Explanation) -> str:
    algorithm = found.row.step.key.algorithm if found.row.step.key else "?"
    if found.row.step.desired is not None:
        word = "yes"
    elif found.client is None:
        word = "no: there is no such client"
    elif found.client.algorithms is None:
        word = "nobody knows: its row in algorithm_status has vanished"
    elif algorithm in found.client.algorithms.on:
        word = "yes, but its row is invalid"
    else:
        word = f"no: {algorithm} is switched off"
    return f"{word}; {_by(found.wanted)}" if found.wanted else word


def _by(change: Change) -> str:
    reason = f": {change.reason}" if change.reason else ""
    return f"{change.what}, {output.age(change.at)} ago by {change.who} (change {change.id}{reason})"


def _next(found: Explanation) -> Iterator[tuple[str, str]]:
    step = found.row.step
    if not step.is_drift:
        yield "Next pass", "leaves it as it is"
        return
    unsure = f"; {step.unsure}" if step.unsure else ""
    told = short_reason(step) if found.fields and step.observed else f"{step.reason}{unsure}"
    yield "Next pass", f"{'would ' if step.held else ''}{step.kind}: {told}"
    if step.held:
        yield "Held", f"{step.held.kind}: {step.held.why}"
    if step.observed is not None:
        for line in field_lines(found.fields):
            yield "", line
