"""syncctl sync: once, plan."""

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from syncctl.cli import output
from syncctl.cli.options import CLUSTER, DATABASE, PASS, PODS, Format, Output, with_settings
from syncctl.cli.output import Column, View
from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.plan import Plan, Step, StepKind
from syncctl.core.report import Outcome, Report, Result
from syncctl.operations import sync
from syncctl.operations.connect import open_cluster, open_engine
from syncctl.settings import Settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make the cluster follow the database.")

SCHEMA = 1
"""Of the JSON that `sync plan` and `sync once` print; raised when a field changes its meaning or goes."""

_ALGORITHM = Column[Step]("ALGORITHM", lambda step: step.key.algorithm if step.key else None, wide=True)


def step_data(step: Step) -> dict[str, Any]:
    """Return a step for machines."""
    return {
        "step": str(step.kind),
        "cause": str(step.cause),
        "pod": step.name,
        "uid": step.observed.uid if step.observed else None,
        "client_id": step.key.client_id if step.key else None,
        "client_name": step.client_name,
        "algorithm": str(step.key.algorithm) if step.key else None,
        "reason": step.reason,
    }


STEPS = View[Step](
    columns=(
        Column("STEP", lambda step: step.kind),
        Column("POD", lambda step: step.name),
        Column("CLIENT", lambda step: step.client_name),
        _ALGORITHM,
        Column("CAUSE", lambda step: step.cause, wide=True),
        Column("REASON", lambda step: step.reason),
    ),
    data=step_data,
    name=lambda step: f"pod/{step.name}",
)


@app.command()
@with_settings(*DATABASE, *CLUSTER, *PODS, *PASS)
def once(
    settings: Settings,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and write nothing")] = False,
    output_format: Output = Format.TABLE,
) -> None:
    """Run one pass: start, stop, replace and update pods until the cluster is as the database asks.

    \b
    Example:
      syncctl sync once --namespace trading
    """
    engine, cluster = open_engine(settings), open_cluster(settings)
    if dry_run:
        show_plan(sync.plan_sync(engine, cluster, settings), output_format)
        return
    with _Screen(output_format) as screen:
        report = sync.sync_once(engine, cluster, settings, screen)
    raise typer.Exit(exit_code_of_report(report))


@app.command()
@with_settings(*DATABASE, *CLUSTER, *PODS)
def plan(
    settings: Settings,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 3 when there is anything to do")] = False,
    output_format: Output = Format.TABLE,
) -> None:
    """Show what a pass would do now, and why. Nothing is written.

    \b
    Example:
      syncctl sync plan --exit-code -o json
    """
    found = sync.plan_sync(open_engine(settings), open_cluster(settings), settings)
    show_plan(found, output_format)
    if exit_code and found.drift:
        raise typer.Exit(ExitCode.DRIFT)


def show_plan(found: Plan, output_format: Format) -> None:
    """Print the steps that are not `keep`, and how many there are of each kind."""
    counts = found.counts()
    if output_format in (Format.JSON, Format.YAML):
        steps = [step_data(step) for step in found.changes]
        data = {"schema": SCHEMA, "counts": {str(kind): number for kind, number in counts.items()}, "steps": steps}
        output.show_data(data, output_format)
        return
    if found.changes:
        output.show_list(STEPS, found.changes, output_format)
    listed = ", ".join(f"{counts[kind]} to {kind}" for kind in StepKind if counts[kind] and kind is not StepKind.KEEP)
    output.say(f"Plan: {listed}, {counts[StepKind.KEEP]} to keep." if listed else f"No changes. {_all_in_sync(found)}")


def _all_in_sync(found: Plan) -> str:
    number = len(found.steps)
    return f"{number} pod{'s are' if number != 1 else ' is'} as the database asks."


class _Screen:
    """What a person, or a machine, sees of a pass: the plan, a progress bar on a terminal, the report."""

    def __init__(self, output_format: Format) -> None:
        self._format = output_format
        self._progress = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())

    def __enter__(self) -> "_Screen":
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def planned(self, plan: Plan) -> None:
        """Show the plan before anything is done, and start the bar."""
        if self._format not in (Format.JSON, Format.YAML):
            show_plan(plan, self._format)
        self._progress.start()
        self._task = self._progress.add_task("Applying", total=len(plan.changes))

    def settled(self, outcome: Outcome) -> None:
        """Move the bar."""
        if outcome.step.kind is not StepKind.KEEP:
            self._progress.advance(self._task)

    def reported(self, report: Report) -> None:
        """Print the report for machines; people have the plan, and the log for what became of it."""
        self._progress.stop()
        if self._format in (Format.JSON, Format.YAML):
            output.show_data(report_data(report), self._format)


def report_data(report: Report) -> dict[str, Any]:
    """Return a report for machines: the counts, and each outcome that is not `unchanged`."""
    return {
        "schema": SCHEMA,
        "summary": report.summary,
        "counts": {str(result): number for result, number in report.counts().items()},
        "outcomes": [
            {"result": str(outcome.result), "detail": outcome.detail, **step_data(outcome.step)}
            for outcome in report.outcomes
            if outcome.result is not Result.UNCHANGED
        ],
    }
