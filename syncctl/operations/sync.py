"""One pass: make the cluster follow the database. docs/one-pass.md tells it step by step."""

import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from syncctl import __version__
from syncctl.core import names
from syncctl.core.desired import DesiredState, PodDefaults, desired_state
from syncctl.core.errors import StalePlan, SyncctlError
from syncctl.core.exits import ExitCode, exit_code_of_error, exit_code_of_report
from syncctl.core.guard import NOBODY_ELSE, Counts, GuardLimits, Policy, Refusal, count, guard, restrict
from syncctl.core.manifest import Blueprint
from syncctl.core.model import BackOff, ObservedPod, PodKey, Snapshot
from syncctl.core.pacing import halt, heal, pace
from syncctl.core.plan import Others, make_plan
from syncctl.core.report import Outcome, Report, Result
from syncctl.core.saved import plan_digest
from syncctl.core.shard import WHOLE, Shard
from syncctl.core.steps import Cause, Plan, StepKind
from syncctl.core.template import PodTemplate
from syncctl.db.back_offs import store_back_offs
from syncctl.db.clients import record_spawned
from syncctl.db.engine import Engine, reading, writing
from syncctl.db.history import PassRecord, StepRecord, record_pass
from syncctl.db.lease import publish_counts, read_counts
from syncctl.db.snapshot import read_snapshot
from syncctl.kube.cluster import Cluster
from syncctl.kube.readonly import ReadOnlyCluster
from syncctl.operations.apply import apply_plan
from syncctl.operations.brake import Brake
from syncctl.operations.clients import user_name
from syncctl.operations.clock import SYSTEM, Clock
from syncctl.operations.connect import read_template
from syncctl.operations.lease import HeldLease
from syncctl.settings import Settings

log = logging.getLogger("syncctl")


@dataclass(frozen=True, slots=True)
class PassOptions:
    """What a person may say of one run.

    `expected_digest` is that of a saved plan: the run does exactly that plan or nothing.
    """

    policy: Policy = Policy.SYNC
    allow_deletions: int | None = None
    adopt: bool = False
    shard: Shard = WHOLE
    expected_digest: str | None = None


@dataclass(frozen=True, slots=True)
class JudgedPlan:
    """A plan with its holds, what the guard refused, and the back-offs that carrying it out will leave."""

    plan: Plan
    refusals: tuple[Refusal, ...]
    back_offs: Mapping[PodKey, BackOff | None]

    @property
    def digest(self) -> str:
        """What identifies this plan."""
        return plan_digest(self.plan)


class Witness(Protocol):
    """Who is told of a pass while it goes on."""

    def planned(self, judged: JudgedPlan) -> None:
        """Hear the plan, before anything is done or refused."""

    def settled(self, outcome: Outcome) -> None:
        """Hear what became of one step."""

    def reported(self, report: Report) -> None:
        """Hear the whole report, before anything else can go wrong."""


def plan_sync(
    engine: Engine, cluster: Cluster, settings: Settings, options: PassOptions, clock: Clock = SYSTEM
) -> JudgedPlan:
    """Return what a pass would do now. Nothing is written, to neither side."""
    with reading(engine) as connection:
        elsewhere = read_counts(connection, options.shard)
    fleet = _Fleet(ReadOnlyCluster(cluster), settings, options, clock, lambda _mine: elsewhere)
    return fleet.judged(read_snapshot(engine, consume_restarts=False, shard=options.shard))


def sync_once(
    engine: Engine,
    cluster: Cluster,
    settings: Settings,
    options: PassOptions,
    witness: Witness,
    clock: Clock = SYSTEM,
) -> Report:
    """Run one pass and leave its record in the history.

    Raises:
        LeaseHeld: another pass is at work.
        StalePlan: the plan is not the one that was expected; nothing was written.
        DatabaseError, ClusterError, InvalidInput: the pass could not begin; its record says so, if it can be written.
    """
    started_at = clock.now()
    lease = HeldLease(engine, clock, options.shard)
    brake = Brake(clock.monotonic() + settings.pass_deadline, lease.check, clock)
    try:
        with brake.pressed_by_signals(), lease:
            return _pass(engine, cluster, settings, options, witness, clock, started_at, brake, lease)
    except SyncctlError as error:
        record = _record(options, started_at, clock.now(), exit_code_of_error(error), "error", {}, error.message)
        _record_failure(engine, settings, record)
        raise


def _pass(
    engine: Engine,
    cluster: Cluster,
    settings: Settings,
    options: PassOptions,
    witness: Witness,
    clock: Clock,
    started_at: datetime,
    brake: Brake,
    lease: HeldLease,
) -> Report:
    def publish(mine: Counts) -> Counts:
        with writing(engine) as connection:
            return publish_counts(connection, options.shard, mine)

    alone = options.shard == WHOLE
    fleet = _Fleet(cluster, settings, options, clock, (lambda _mine: NOBODY_ELSE) if alone else publish)
    if options.expected_digest is not None:
        # Looked at twice: before anything is written, and again in the transaction that takes the restarts.
        fleet.expect(read_snapshot(engine, consume_restarts=False))
    snapshot = read_snapshot(engine, consume_restarts=True, shard=options.shard, accept=fleet.accept)
    judged = fleet.judged(snapshot)
    witness.planned(judged)
    for refusal in judged.refusals:
        log.error(refusal.message, extra={"hint": refusal.hint})
    if judged.back_offs:
        # Before the replacements: a pass that is killed in between must not make a pod that dies at birth spin.
        with writing(engine) as connection:
            store_back_offs(connection, judged.back_offs)
    outcomes = apply_plan(
        judged.plan,
        cluster.writing_under(lease.check),
        concurrency=settings.concurrency,
        brake=brake,
        confirm_lease=lease.confirm,
        on_outcome=witness.settled,
        clock=clock,
    )
    report = Report(judged.plan, outcomes, judged.refusals, brake.signal, brake.lease_lost is not None)
    witness.reported(report)
    for outcome in report.problems:
        log.error("%s: %s: %s", outcome.step.name, outcome.result, outcome.detail or outcome.step.reason)
    counts = _counts(report)
    log.info(report.summary, extra={"counts": counts})
    with writing(engine) as connection:
        finished_at = clock.now()
        record_spawned(connection, _made(report), finished_at)
        record = _record(options, started_at, finished_at, exit_code_of_report(report), report.summary, counts)
        record_pass(connection, record, _steps(report), keep_days=settings.history_days)
    return report


class _Fleet:
    """What turns a snapshot into a judged plan: the settings, the options, and the pods, listed once."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        options: PassOptions,
        clock: Clock,
        count_elsewhere: Callable[[Counts], Counts],
    ) -> None:
        self._count_elsewhere = count_elsewhere
        self._cluster = cluster
        self._settings = settings
        self._options = options
        self._clock = clock
        self._template = read_template(settings.pod_template)
        self._observed: list[ObservedPod] | None = None
        self._others: Others | None = None

    def judged(self, snapshot: Snapshot) -> JudgedPlan:
        """Plan, and hold what may not be done now."""
        now = self._clock.now()
        settings, options = self._settings, self._options
        limits = GuardLimits(settings.orphan_limit, settings.orphan_percent, settings.switch_off_limit)
        plan = restrict(self._plan(snapshot, now), options.policy)
        plan, refusals = guard(plan, limits, options.allow_deletions, self._count_elsewhere(count(plan)))
        plan, back_offs = heal(plan, snapshot.back_offs, now)
        plan = pace(halt(plan, settings.halt_percent, now), settings.replace_percent)
        return JudgedPlan(plan, refusals, back_offs)

    def expect(self, snapshot: Snapshot) -> None:
        """Return when the plan is the one that was expected.

        Raises:
            StalePlan
        """
        if self._options.expected_digest not in (None, self.judged(snapshot).digest):
            raise StalePlan(
                "rows or pods have changed since the plan was saved; nothing was written",
                "make a new one: `syncctl sync plan --out FILE`",
            )

    def accept(self, snapshot: Snapshot) -> None:
        """As expect, when a plan is expected at all."""
        if self._options.expected_digest is not None:
            self.expect(snapshot)

    def _plan(self, snapshot: Snapshot, now: datetime) -> Plan:
        desired = read_desired(snapshot, self._settings, self._template)
        if self._observed is None:
            self._observed = self._cluster.list_pods(names.fleet_selector(snapshot.fleet, self._options.shard))
        plan = make_plan(desired, self._observed, now, self._others or Others())
        if self._others is None and (self._options.adopt or _needs_names(plan)):
            self._others = self._read_others(snapshot.fleet)
            plan = make_plan(desired, self._observed, now, self._others)
        return plan

    def _read_others(self, fleet: str) -> Others:
        """Look up who holds which name: only a new pod needs one, so only then."""
        owners = self._cluster.list_owners(names.foreign_selector(fleet))
        if not self._options.adopt:
            return Others(owners)
        unowned = self._cluster.list_pods(names.unowned_selector())
        return Others(owners, tuple(pod for pod in unowned if not pod.controlled))


def read_desired(snapshot: Snapshot, settings: Settings, template: PodTemplate) -> DesiredState:
    """Return what the snapshot asks for under these settings."""
    blueprint = Blueprint(template, snapshot.fleet, settings.fleet_name)
    return desired_state(
        snapshot, blueprint, PodDefaults(settings.default_image, settings.default_cpu, settings.default_memory)
    )


def _needs_names(plan: Plan) -> bool:
    # A resize that is refused becomes a replacement.
    makes_pods = (StepKind.CREATE, StepKind.REPLACE)
    return any(step.kind in makes_pods or step.cause is Cause.RESOURCES_DIFFER for step in plan.steps)


def _counts(report: Report) -> dict[str, int]:
    return {str(result): number for result, number in report.counts().items()}


def _made(report: Report) -> set[int]:
    """Return the clients of which a pod was made."""
    return {
        outcome.step.key.client_id
        for outcome in report.outcomes
        if outcome.result in (Result.CREATED, Result.REPLACED) and outcome.step.key
    }


def _steps(report: Report) -> list[StepRecord]:
    return [
        StepRecord(
            pod=outcome.step.name,
            uid=outcome.step.observed.uid if outcome.step.observed else None,
            client_id=outcome.step.key.client_id if outcome.step.key else None,
            algorithm=outcome.step.key.algorithm.value if outcome.step.key else None,
            step=outcome.step.kind.value,
            cause=outcome.step.cause.value,
            result=outcome.result.value,
            reason=": ".join(filter(None, (outcome.step.reason, outcome.detail))),
        )
        for outcome in report.outcomes
        if outcome.result is not Result.UNCHANGED
    ]


def _record(
    options: PassOptions,
    started_at: datetime,
    finished_at: datetime,
    code: ExitCode,
    outcome: str,
    counts: dict[str, int],
    error: str | None = None,
) -> PassRecord:
    return PassRecord(
        started_at=started_at,
        finished_at=finished_at,
        host=socket.gethostname(),
        who=user_name(),
        version=__version__,
        outcome=outcome,
        exit_code=code,
        counts=counts,
        error=error,
        shard=str(options.shard),
    )


def _record_failure(engine: Engine, settings: Settings, record: PassRecord) -> None:
    try:
        with writing(engine) as connection:
            record_pass(connection, record, keep_days=settings.history_days)
    except SyncctlError as unrecorded:
        # The error itself is what the person must see; that history is missing it comes second.
        log.warning("this pass could not be recorded: %s", unrecorded.message)
