"""syncctl sync: once, plan."""

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncctl.cli import completing, output
from syncctl.cli.options import (
    AUTHOR,
    CLUSTER,
    DATABASE,
    PASS,
    Format,
    Output,
    ReasonOption,
    ShardOption,
    with_settings,
)
from syncctl.cli.plans import show_plan
from syncctl.cli.selection import AlgorithmOption, ClientOption, StepOption, which_steps
from syncctl.cli.streams import drop_unwritten
from syncctl.core import names
from syncctl.core.durations import parse_duration
from syncctl.core.errors import UsageError
from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.facts import Policy
from syncctl.core.fields import Former
from syncctl.core.judge import JudgedPlan
from syncctl.core.plan_documents import report_document
from syncctl.core.report import Outcome, Report
from syncctl.core.shard import WHOLE, parse_shard
from syncctl.core.steps import ACTING
from syncctl.operations.connect import open_cluster, open_engine
from syncctl.operations.planning import PassOptions, plan_sync
from syncctl.operations.saved import read_plan, save_plan
from syncctl.operations.sync import sync_once
from syncctl.operations.templates import former_templates
from syncctl.settings import Settings

log = logging.getLogger("syncctl")

if TYPE_CHECKING:
    from rich.progress import Progress

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Make the cluster follow the database."
)

PolicyOption = Annotated[
    Policy,
    typer.Option(
        "--policy", metavar="POLICY", help="sync: all; upsert-only: deletes nothing; create-only: changes nothing, too"
    ),
]
AllowDeletions = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="NUMBER",
        help="Let the guard pass if no more than this many pods would go; for these it then holds until they do",
    ),
]
AllowPods = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-pod",
        metavar="POD",
        autocompletion=completing.pods,
        help="Let this pod pass the guard; may be repeated",
    ),
]
Adopt = Annotated[bool, typer.Option("--adopt", help="Take over pods of the Go service, by replacing them")]
AdoptPods = Annotated[
    list[str] | None,
    typer.Option(
        "--adopt-pod",
        metavar="POD",
        autocompletion=completing.pods,
        help="Take over this one, though it looks otherwise; may be repeated",
    ),
]
MoveHere = Annotated[
    bool, typer.Option("--move-here", help="Make this namespace the fleet's home; nothing may run in the old one")
]
Wait = Annotated[
    str, typer.Option("--wait", metavar="TIME", help="Wait so long for a pass that is at work; 65s outlasts a dead one")
]


def _options(
    policy: Policy,
    allow_deletions: int | None,
    allow_pods: list[str] | None,
    adopt: bool,
    adopt_pods: list[str] | None,
    move_here: bool,
    shard: str,
) -> PassOptions:
    options = PassOptions(
        policy,
        allow_deletions,
        adopt,
        parse_shard(shard),
        move_here=move_here,
        allow_pods=_pods(allow_pods),
        adopt_pods=_pods(adopt_pods),
    )
    if move_here and options.shard != WHOLE:
        # While one shard moves, another might still make pods where the fleet was.
        raise UsageError("--move-here goes without --shard: a fleet moves as a whole")
    return options


def _pods(given: list[str] | None) -> frozenset[str]:
    return frozenset(name.removeprefix(names.POD_PREFIX) for name in given or ())


def _seconds_to_wait(wait: str, deadline: float) -> float:
    seconds = parse_duration("--wait", wait)
    if seconds >= deadline:
        raise UsageError(
            f"--wait {wait} leaves the pass no time: it begins nothing after {deadline:g} s, and the wait counts",
            "wait for less, or set a longer --pass-deadline",
        )
    return seconds


@app.command()
@with_settings(*DATABASE, *CLUSTER, *PASS, *AUTHOR)
def once(
    ctx: typer.Context,
    settings: Settings,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and write nothing")] = False,
    policy: PolicyOption = Policy.SYNC,
    allow_deletions: AllowDeletions = None,
    allow_pod: AllowPods = None,
    adopt: Adopt = False,
    adopt_pod: AdoptPods = None,
    move_here: MoveHere = False,
    shard: ShardOption = "0/1",
    wait: Wait = "0s",
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Do exactly this saved plan, or nothing if it is stale"),
    ] = None,
    reason: ReasonOption = "",
    output_format: Output = Format.TABLE,
) -> None:
    """Run one pass: make the cluster follow the database.

    Pods are started, stopped, replaced and updated until the cluster is as the database asks.

    \b
    Example:
      syncctl sync once --namespace trading
    """
    options = _options(policy, allow_deletions, allow_pod, adopt, adopt_pod, move_here, shard)
    if plan_file is not None:
        if options != PassOptions():
            raise UsageError(
                "--plan goes without --policy, --allow-deletions, --allow-pod, --adopt, --adopt-pod, --move-here"
                " and --shard",
                "give them to `syncctl sync plan --out FILE`: the plan remembers them",
            )
        options = read_plan(plan_file)
    options = replace(options, reason=reason)
    seconds = _seconds_to_wait(wait, settings.pass_deadline)
    # A pass makes a few objects a pod and no cycles, and then the process ends; to look for cycles would take a quarter
    # of its time.
    gc.disable()
    engine, cluster = open_engine(settings), open_cluster(settings)
    if dry_run:
        show_plan(plan_sync(engine, cluster, settings, options), output_format, former_templates(engine))
        return
    with _Screen(output_format, former_templates(engine)) as screen:
        report = sync_once(engine, cluster, settings, options, screen, wait=seconds, started=ctx.obj)
    raise typer.Exit(exit_code_of_report(report))


@app.command()
@with_settings(*DATABASE, *CLUSTER)
def plan(
    settings: Settings,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 3 when there is anything to do")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the plan in this file, for `sync once --plan`")
    ] = None,
    policy: PolicyOption = Policy.SYNC,
    allow_deletions: AllowDeletions = None,
    allow_pod: AllowPods = None,
    adopt: Adopt = False,
    adopt_pod: AdoptPods = None,
    move_here: MoveHere = False,
    shard: ShardOption = "0/1",
    client: ClientOption = None,
    algorithm: AlgorithmOption = None,
    step: StepOption = None,
    output_format: Output = Format.TABLE,
) -> None:
    """Show what a pass would do now, and why. Nothing is written.

    A sign says what becomes of a pod: + create, ~ update in place, -/+ replace, - delete, ! conflict, = held.

    \b
    Example:
      syncctl sync plan --exit-code -o json
    """
    options = _options(policy, allow_deletions, allow_pod, adopt, adopt_pod, move_here, shard)
    if out is not None and options.shard != WHOLE:
        raise UsageError("--out goes without --shard: a saved plan is for the whole fleet")
    engine = open_engine(settings)
    shown = which_steps(engine, client, algorithm, step)
    judged = plan_sync(engine, open_cluster(settings), settings, options)
    show_plan(judged, output_format, former_templates(engine), shown)
    if out is not None:
        save_plan(out, judged, options)
        output.say(f"Saved. `syncctl sync once --plan {out}` does exactly this.")
    if exit_code and any(map(shown, judged.plan.drifted)):
        raise typer.Exit(ExitCode.DRIFT)


def _bar() -> "Progress":
    # A CronJob has no terminal, and does not wait for Rich.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    # How long it takes yet nobody knows: that hangs on the pods' graces.
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)


class _Screen:
    """What a person, or a machine, sees of a pass: the plan, a progress bar on a terminal, the report."""

    def __init__(self, output_format: Format, former: Former) -> None:
        self._format = output_format
        self._former = former
        self._cluster = ""
        self._bar = _bar() if sys.stderr.isatty() else None
        self._left: dict[int, str] = {}

    def __enter__(self) -> "_Screen":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def planned(self, judged: JudgedPlan) -> None:
        """Show the plan before anything is done, and start the bar."""
        self._cluster = judged.facts.cluster
        if self._format not in (Format.JSON, Format.YAML):
            with _going_on_unread():
                # What the guard refuses is in the log.
                show_plan(judged, self._format, self._former, logged=True)
        # What waits, is in conflict or held is no work: a bar that began with it would stand still near its end.
        self._left = {id(step): step.name for step in judged.plan.drifted if step.kind in ACTING and not step.held}
        if self._bar and self._left:
            self._bar.start()
            self._task = self._bar.add_task(self._doing(), total=len(self._left))

    def settled(self, outcome: Outcome) -> None:
        """Move the bar, and say what is still under way."""
        if self._left.pop(id(outcome.step), "") and self._bar:
            self._bar.update(self._task, advance=1, description=self._doing())

    def _doing(self) -> str:
        # No more of ten thousand than is shown.
        return f"Applying {names.listed(list(islice(self._left.values(), names.NAMES_SHOWN + 1)))}"

    def reported(self, report: Report) -> None:
        """Print the report for machines; people have the plan, and the log for what became of it."""
        if self._bar:
            self._bar.stop()
        if self._format in (Format.JSON, Format.YAML):
            with _going_on_unread():
                output.show_record(report_document(report, self._cluster, self._former), self._format)


@contextmanager
def _going_on_unread() -> Iterator[None]:
    """Let a pass go on, and be recorded, when its output cannot be written: `| head` has left, the disk is full."""
    try:
        yield
    except OSError as error:
        drop_unwritten()
        log.warning("the pass goes on, but its output cannot be written: %s", error.strerror)
