"""A plan on the screen: each step with its sign, its reason, and below it field by field what it changes."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from syncctl.cli import output
from syncctl.cli.looks import Colour, echo, painted
from syncctl.cli.options import Format
from syncctl.cli.output import Column, View
from syncctl.cli.suspensions import say_in_force
from syncctl.cli.words import printable, shortened, width
from syncctl.core import names
from syncctl.core.fields import FieldChange, Former, field_changes
from syncctl.core.judge import JudgedPlan
from syncctl.core.manifest import Blueprint
from syncctl.core.others import unclaimed
from syncctl.core.plan_documents import plan_document, step_document
from syncctl.core.steps import Cause, HoldKind, Step, StepKind


class Sign(NamedTuple):
    """How a kind of step is shown: its sign, its colour, the title of its group."""

    sign: str
    colour: Colour | None
    title: str


SIGNS = {
    StepKind.DELETE: Sign("-", "red", "delete"),
    StepKind.REPLACE: Sign("-/+", "yellow", "replace"),
    StepKind.CREATE: Sign("+", "green", "create"),
    StepKind.UPDATE: Sign("~", "yellow", "update in place"),
    StepKind.WAIT: Sign(".", "dim", "wait for"),
    StepKind.CONFLICT: Sign("!", "red", "in conflict, left to a person"),
    StepKind.KEEP: Sign("!", "red", "kept, though their row is invalid"),
}
HELD = Sign("=", "cyan", "held: not in this pass")
_AHEAD = {StepKind.CONFLICT: "in conflict", StepKind.WAIT: "to wait for"}
"""How the steps of a plan are counted that do nothing; the others are "to create"."""
_WHERE_MATTERS = (StepKind.CREATE, StepKind.REPLACE, StepKind.DELETE)
"""What is no good in the wrong place: a plan with any of it says where."""
_IN_SHORT = {
    Cause.IMAGE_DIFFERS: "another image",
    Cause.RESOURCES_DIFFER: "other cpu or memory",
    Cause.SPEC_DIFFERS: "another spec",
    Cause.METADATA_DIFFERS: "other labels or annotations",
    Cause.RESTART_ASKED: "restart asked for",
}
"""Reasons that name fields, where the lines below do that."""
_MARGIN, _WIDEST = 5, 30
"""Columns before a pod's name, and those that a pod's or a client's name gets at the most before it sticks out."""

Shown = Callable[[Step], bool]


def show_plan(
    judged: JudgedPlan,
    output_format: Format,
    former: Former,
    shown: Shown = lambda _step: True,
    *,
    logged: bool = False,
) -> None:
    """Print the steps of what is not in sync, how many there are of each kind, and what the guard refuses.

    `shown` narrows which steps are printed, and not what is counted. `former` knows former templates. What is
    refused and suspended is told unless it is `logged`.
    """
    plan = judged.plan
    if output_format in (Format.JSON, Format.YAML):
        output.show_data(plan_document(judged, former, shown), output_format)
        return
    steps = [step for step in plan.drifted if shown(step)]
    if output_format is not Format.TABLE:
        output.show_list(_view(plan.blueprint, former), steps, output_format, "No changes.")
    else:
        for batch in output.batches(_lines(steps, plan.blueprint, former)):
            echo("\n".join(batch))
    _say_counts(judged, len(steps))
    if plan.unclaimed:
        output.say(unclaimed(plan.unclaimed))
    if not logged:
        say_in_force(judged.facts.suspensions.in_force)
    for refusal in judged.refusals if not logged else ():
        output.say(f"guard: {refusal.message}\nhint: {refusal.hint}")


def _view(blueprint: Blueprint, former: Former) -> View[Step]:
    return View[Step](
        columns=(
            Column("STEP", lambda step: step.kind),
            Column("POD", lambda step: step.name),
            Column("CLIENT", lambda step: step.client_name),
            Column("ALGORITHM", lambda step: step.key.algorithm if step.key else None),
            Column("CAUSE", lambda step: step.cause),
            Column("CHANGES", lambda step: _in_a_line(field_changes(blueprint, step, former))),
            Column("REASON", lambda step: step.explanation),
        ),
        data=lambda step: step_document(step, blueprint, former),
        name=lambda step: f"{names.POD_PREFIX}{step.name}",
    )


def _in_a_line(changes: Iterable[FieldChange]) -> str:
    return ", ".join(each.words for each in changes)


def _say_counts(judged: JudgedPlan, shown: int) -> None:
    plan, counts = judged.plan, judged.plan.counts()
    if not plan.drifted:
        number = len(plan.matches)
        suspended = f", {judged.suspended_in_sync} of them suspended" if judged.suspended_in_sync else ""
        output.say(f"No changes. {number} pod{'s are' if number != 1 else ' is'} as the database asks{suspended}.")
        return
    others = [
        f"{counts[kind]} {_AHEAD.get(kind, f'to {kind}')}"
        for kind in StepKind
        if counts[kind] and kind is not StepKind.KEEP
    ]
    held = sum(step.held is not None for step in plan.drifted)
    listed = ", ".join([*others, f"{counts[StepKind.KEEP]} to keep"])
    if any(counts[kind] for kind in _WHERE_MATTERS):
        output.say(f"Cluster: {judged.facts.cluster}")
    output.say(f"Plan: {listed}{f'; {held} of them not in this pass' if held else ''}.")
    if shown < len(plan.drifted):
        output.say(f"Shown are {shown} of {len(plan.drifted)} steps; a pass does them all.")


class _Layout(NamedTuple):
    """What the lines of one plan have in common: what its steps change, and how wide names are."""

    blueprint: Blueprint
    former: Former
    pods: int
    clients: int


def _lines(steps: Sequence[Step], blueprint: Blueprint, former: Former) -> Iterator[str]:
    """Yield the lines of the steps, in groups: the held ones last, and below them the reasons that several share."""
    free, held = [step for step in steps if step.held is None], [step for step in steps if step.held is not None]
    pods, clients = (
        min(_WIDEST, max((width(printable(text)) for text in texts), default=0))
        for texts in ((step.name for step in steps), (step.client_name for step in steps))
    )
    layout = _Layout(blueprint, former, pods, clients)
    for kind in StepKind:
        if group := [step for step in free if step.kind is kind]:
            yield _title(SIGNS[kind], len(group))
            for step in group:
                changes = field_changes(blueprint, step, former)
                yield _step_line(SIGNS[kind], step, short_reason(step) if changes else step.explanation, layout)
                yield from _fields(step, changes)
    if held:
        yield _title(HELD, len(held))
        yield from _held_lines(held, layout)


def _title(sign: Sign, number: int) -> str:
    return painted(f"{sign.title[0].upper()}{sign.title[1:]} ({number})", "bold")


def _held_lines(held: Sequence[Step], layout: _Layout) -> Iterator[str]:
    whys = Counter((step.held.kind, step.held.why) for step in held if step.held)
    # What the guard refuses is told by itself; what several wait for is told once.
    several = [why for why, number in whys.items() if _is_shared(why, number)]
    shared = {why: place for place, why in enumerate(several, 1)}
    for step in held:
        if step.held is None:
            continue
        why = (step.held.kind, step.held.why)
        if step.held.kind is HoldKind.REFUSED:
            stays = "refused"
        elif why in shared:
            stays = f"{step.held.kind} [{shared[why]}]"
        else:
            stays = f"{step.held.kind}: {step.held.why}"
        changes = field_changes(layout.blueprint, step, layout.former)
        reason = (short_reason(step) if changes else step.reason).removesuffix(f"; {step.unsure}")
        yield _step_line(HELD, step, f"would {step.kind}: {reason} ({stays})", layout)
        yield from _fields(step, changes)
    for (kind, told), place in shared.items():
        yield printable(f"  [{place}] {kind}: {told}")


def _is_shared(why: tuple[HoldKind, str], number: int) -> bool:
    return number > 1 and why[0] is not HoldKind.REFUSED


def _step_line(sign: Sign, step: Step, reason: str, layout: _Layout) -> str:
    name, client = printable(step.name), printable(step.client_name or "-")
    start = f"  {sign.sign}".ljust(_MARGIN) + f" {_padded(name, layout.pods)}   {_padded(client, layout.clients)}   "
    return painted(start[:_MARGIN], sign.colour) + start[_MARGIN:] + output.wrapped(reason, width(start))


def _padded(text: str, columns: int) -> str:
    return text + " " * max(0, columns - width(text))


def _fields(step: Step, changes: Sequence[FieldChange]) -> Iterator[str]:
    for line in _made_of(changes) if step.observed is None else field_lines(changes):
        yield f"{' ' * (_MARGIN + 3)}{printable(line)}"


def short_reason(step: Step) -> str:
    """Return the reason of a step whose fields are told below."""
    short, more = _IN_SHORT.get(step.cause, step.reason), ""
    if step.cause in _IN_SHORT:
        _, _, more = step.reason.partition("; ")
    return "; ".join(filter(None, (short, more, step.unsure)))


def _made_of(changes: Sequence[FieldChange]) -> Iterator[str]:
    if changes:
        made_of = ", ".join(f"{each.field} {each.to}" for each in changes)
        yield shortened(made_of, output.line_length() - _MARGIN - 3, "end")


def field_lines(changes: Sequence[FieldChange]) -> Iterator[str]:
    """Yield a line for each field: what it was, and what it becomes."""
    fields = [each.field.removeprefix("syncctl.io/") for each in changes]
    widest = min(max(map(len, fields), default=0), output.line_length() // 2)
    for field, each in zip(fields, changes, strict=True):
        was, to = _without_what_both_have(each.was or "none", each.to or "none")
        was, to = " ".join(was.split()), " ".join(to.split())
        room = output.line_length() - _MARGIN - 3 - widest - 3 - len(" -> ")
        # What one side does not need the other may have.
        half = max(output.LEAST, room // 2, room - min(width(was), width(to)))
        told = f"{shortened(was, half, 'end')} -> {shortened(to, half, 'end')}"
        yield f"{field.ljust(widest)}   {told}"


def _without_what_both_have(was: str, to: str) -> tuple[str, str]:
    """Return an image before and after; of the second no more than its tag, where nothing else differs."""
    name, colon, tag = to.rpartition(":")
    if colon and was.rpartition(":")[0] == name and "/" not in tag and width(was) > 2 * output.LEAST:
        return was, tag
    return was, to
