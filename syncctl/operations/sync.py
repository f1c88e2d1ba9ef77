"""One pass: make the cluster follow the database. docs/one-pass.md tells it step by step."""

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from signal import Signals
from typing import Protocol

from syncctl import __version__
from syncctl.core.aftermath import clients_made, newest_pods, step_records, strange_ids
from syncctl.core.begun import to_begin, to_forget
from syncctl.core.errors import ClusterError, DatabaseError, PassStopped, SyncctlError
from syncctl.core.exits import ExitCode, exit_code_of_error, exit_code_of_report
from syncctl.core.facts import Counts
from syncctl.core.holds.guard import allowance_of
from syncctl.core.judge import JudgedPlan
from syncctl.core.latch import stops_done, to_disallow, to_latch, to_settle
from syncctl.core.others import unclaimed
from syncctl.core.records import PassRecord
from syncctl.core.report import Outcome, Report, Result, unhealthy
from syncctl.core.snapshot import Snapshot
from syncctl.db.back_offs import store_back_offs
from syncctl.db.begun import forget_begun, store_begun
from syncctl.db.engine import Engine, waits_of, writing
from syncctl.db.history import forget_passes, record_pass
from syncctl.db.home import store_home
from syncctl.db.ids import pass_ids_of_pods
from syncctl.db.latch import forget_allowances, settle_latches, store_allowances, store_latches
from syncctl.db.lease import publish_counts
from syncctl.db.snapshot import read_snapshot
from syncctl.db.spawned import catch_up_spawned, record_spawned
from syncctl.db.stops import forget_stops
from syncctl.kube.cluster import Cluster
from syncctl.operations.apply import apply_plan
from syncctl.operations.author import Author, default_actor, trigger, user_at_host, user_name, written_by
from syncctl.operations.brake import PATIENCE, Brake
from syncctl.operations.clock import SYSTEM, Clock
from syncctl.operations.heeding import heeding_of
from syncctl.operations.lease import HeldLease
from syncctl.operations.planning import PassOptions, Planning, removals_in
from syncctl.settings import Settings

log = logging.getLogger("syncctl")

NAMED = 20
"""Pods in trouble, and suspensions, that get a log line each; the summary counts all of them."""


class Witness(Protocol):
    """Who is told of a pass while it goes on."""

    def planned(self, judged: JudgedPlan) -> None:
        """Hear the plan, before anything is done or refused."""

    def settled(self, outcome: Outcome) -> None:
        """Hear what became of one step."""

    def reported(self, report: Report) -> None:
        """Hear the whole report, before anything else can go wrong."""


def sync_once(
    engine: Engine,
    cluster: Cluster,
    settings: Settings,
    options: PassOptions,
    witness: Witness,
    clock: Clock = SYSTEM,
    *,
    wait: float = 0.0,
    started: float | None = None,
) -> Report:
    """Run one pass and leave its record in the history.

    While another pass is at work, `wait` is how many seconds it waits for that one's end. The deadline counts from
    `started`, by the clock's monotonic(), else from now.

    Raises:
        LeaseHeld: another pass is at work.
        StalePlan: the plan is not the one that was expected; nothing was written.
        PassStopped: a signal came before there was a plan.
        DatabaseError, ClusterError, InvalidInput: the pass could not begin; its record says so, if it can be written.
    """
    lease = HeldLease(engine, clock, options.shard)
    deadline = (clock.monotonic() if started is None else started) + settings.pass_deadline
    brake = Brake(deadline, lease.check, clock)
    cluster = cluster.working_under(lease.check, brake.pause)
    this = _Pass(engine, cluster, settings, options, clock, lease, brake, witness, clock.now())
    is_planned = False
    with brake.pressed_by_signals(), waits_of(engine).asking(brake.may_wait):
        try:
            with lease.waiting(wait, this.pause):
                judged = this.judge()
                is_planned = True
                this.show(judged)
                outcomes = this.apply(judged)
                report = this.report(judged, outcomes)
                this.record(report, judged)
                return report
        except SyncctlError as error:
            if brake.signal and not is_planned and isinstance(error, (ClusterError, DatabaseError)):
                # What kept it waiting when it was told to stop is not why it ends.
                stopped = PassStopped(brake.signal)
                this.record_failure(stopped)
                raise stopped from error
            if is_planned and isinstance(error, DatabaseError):
                error.hint = "what was done in the cluster is done; the next pass goes on from there, and records it"
            this.record_failure(error)
            raise


@dataclass(frozen=True, slots=True)
class _Pass:
    """One run: what it works with, and its parts."""

    engine: Engine
    cluster: Cluster
    settings: Settings
    options: PassOptions
    clock: Clock
    lease: HeldLease
    brake: Brake
    witness: Witness
    started_at: datetime

    def pause(self, seconds: float) -> None:
        """Wait a little for the lease.

        Raises:
            PassStopped: a signal came.
        """
        if not self.brake.pause(seconds):
            raise PassStopped(self.brake.signal)

    def judge(self) -> JudgedPlan:
        """Read rows and pods, compare them, and hold what may not be done now."""
        look = removals_in(self.engine)
        planning = Planning(self.cluster, self.settings, self.options, self.clock, self._count_elsewhere, look)
        rows = self._desired(planning)
        pods = planning.observed(rows)
        plan = planning.plan(rows, pods)
        return planning.hold(plan, rows)

    def _desired(self, planning: Planning) -> Snapshot:
        """Read the rows; restarts asked for become generations."""
        if self.options.expected_digest is None:
            return read_snapshot(self.engine, consume_restarts=True, shard=self.options.shard)
        # Looked at twice: before anything is written, and again in the transaction that takes the restarts.
        planning.judged(read_snapshot(self.engine, consume_restarts=False))
        return read_snapshot(self.engine, consume_restarts=True, accept=planning.judged)

    def show(self, judged: JudgedPlan) -> None:
        """Show the plan and what is refused, before anything is done."""
        if not self.brake.signal:
            # From here on there may be something that is ended and wants its successor.
            self.brake.patience = PATIENCE
        self.witness.planned(judged)
        for refusal in judged.refusals:
            log.error(refusal.message, extra={"hint": refusal.hint})
        in_force = judged.facts.suspensions.in_force
        for suspension in in_force[:NAMED]:
            log.info("suspended: %s %s", suspension.what, suspension.words)
        if len(in_force) > NAMED:
            log.info("and %d more: `syncctl suspensions`", len(in_force) - NAMED)

    def apply(self, judged: JudgedPlan) -> tuple[Outcome, ...]:
        """Carry out what is not held."""
        facts, notes = judged.facts, judged.notes
        latch = to_latch(notes.refused, facts.latches, facts.shard)
        begun = to_begin(judged.plan, self.clock.now())
        if latch or begun or notes.allowed or notes.back_offs or notes.new_home:
            # Before the first pod: a pass that is killed in between must not make a pod that dies at birth spin, nor
            # must the next one take for missing what this one has ended or what it has made in another place, or know
            # nothing of what was refused or allowed.
            who = user_at_host()
            author = Author(
                actor=self.settings.actor or default_actor(), via="syncctl sync once", reason=self.options.reason
            )
            with writing(written_by(self.engine, author) if notes.new_home else self.engine) as connection:
                store_latches(connection, latch, facts.read_at, who)
                store_allowances(connection, notes.allowed, facts.read_at, who)
                if notes.new_home:
                    store_home(connection, notes.new_home, instead_of=facts.home)
                store_back_offs(connection, notes.back_offs)
                store_begun(connection, begun)
        return apply_plan(
            judged.plan,
            self.cluster,
            concurrency=self.settings.concurrency,
            brake=self.brake,
            heeding=heeding_of(judged, self.engine, self.lease, self.brake, self.options.policy),
            on_outcome=self.witness.settled,
            clock=self.clock,
        )

    def report(self, judged: JudgedPlan, outcomes: tuple[Outcome, ...]) -> Report:
        """Say what came of it, on stdout and in the log."""
        lost = self.brake.lease_lost
        told, sick = lost.message if lost else "", unhealthy(judged.plan, self.clock.now())
        refusals, signal = judged.refusals, self.brake.signal
        report = Report(judged.plan, outcomes, refusals, signal, told, sick, judged.suspended_in_sync)
        self.witness.reported(report)
        if lost:
            log.error(lost.message, extra={"hint": lost.hint})
        for outcome in report.problems:
            log.error("%s: %s", outcome.step.name, outcome.problem)
        for name, health in report.unhealthy[:NAMED]:
            log.warning("%s is not healthy: %s", name, health.message)
        if report.stopped_by:
            log.warning(
                "told to stop by %s; what was not begun is left to the next pass", Signals(report.stopped_by).name
            )
        if report.plan.unclaimed:
            log.warning("%s", unclaimed(report.plan.unclaimed))
        log.info(report.summary, extra={"counts": report.counts()})
        return report

    def record(self, report: Report, judged: JudgedPlan) -> None:
        """Write down the pass and what came of it; forget what is seen through, and what was not to be."""
        facts = judged.facts
        with writing(self.engine) as connection:
            record_spawned(connection, clients_made(report), self.clock.now())
            if self.lease.took_over:
                # What a pass made that died before it got here looks like any other pod by now.
                catch_up_spawned(connection, newest_pods(report.plan))
            client_ids, status_ids = strange_ids(report.plan)
            if (client_ids or status_ids) and not pass_ids_of_pods(connection, client_ids, status_ids):
                log.warning(
                    "this user may not change sequences: a new client may get the id of a pod that is an orphan"
                )
            # Asked once more: whoever has stood still since its last step would forget what another has begun.
            if not self.brake.reason(begun=True):
                forget_begun(connection, to_forget(report, facts.begun))
                settle_latches(connection, to_settle(report, facts.latches), facts.shard)
                allowances = facts.allowances | set(map(allowance_of, judged.notes.allowed))
                forget_allowances(connection, to_disallow(report, allowances))
                forget_stops(connection, stops_done(report, facts.allowed_stops))
            record = replace(
                self._record(exit_code_of_report(report), report.summary, report.counts()),
                problems=len(report.problems),
                unhealthy=len(report.unhealthy),
                suspended_down=sum(outcome.step.is_down for outcome in report.outcomes),
            )
            done, standing = step_records(report, facts.shard)
            old = record_pass(connection, record, done, standing, keep_days=self.settings.history_days)
        self._forget(old)

    def record_failure(self, error: SyncctlError) -> None:
        """Say in the history why there was no pass, if that can be done."""
        record = self._record(exit_code_of_error(error), "error", {}, error.message)
        try:
            with writing(self.engine) as connection:
                old = record_pass(connection, record, keep_days=self.settings.history_days)
        except SyncctlError as unrecorded:
            # The error itself is what the person must see; that history is missing it comes second.
            log.warning("this pass could not be recorded: %s", unrecorded.message)
        else:
            self._forget(old)

    def _forget(self, old: bool) -> None:
        """Forget passes that are old, if there are any and while there is time; what is left, a later pass forgets."""
        try:
            if old:
                days = self.settings.history_days, self.settings.change_days
                forget_passes(self.engine, *days, lambda: not self.brake.reason())
        except DatabaseError as error:
            log.warning("old passes could not be forgotten: %s", error.message)

    def _count_elsewhere(self, mine: Counts) -> Counts:
        """Tell the other shards what the guard counts here, and return what they have counted."""
        with writing(self.engine) as connection:
            return publish_counts(connection, self.options.shard, mine)

    def _record(
        self, code: ExitCode, outcome: str, counts: Mapping[Result, int], error: str | None = None
    ) -> PassRecord:
        return PassRecord(
            started_at=self.started_at,
            finished_at=self.clock.now(),
            host=socket.gethostname(),
            who=user_name(),
            version=__version__,
            outcome=outcome,
            exit_code=code,
            counts={str(result): number for result, number in counts.items()},
            error=error,
            shard=str(self.options.shard),
            trigger=trigger(),
            # Of any other plan it would take as long as all the rest of a pass that has nothing to do.
            digest=self.options.expected_digest or "",
        )
