"""One pass: make the cluster follow the database. docs/one-pass.md tells it step by step."""

import logging
import socket
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from syncctl import __version__
from syncctl.core import names
from syncctl.core.desired import DesiredState, PodDefaults, desired_state
from syncctl.core.errors import ClientNotFound, SyncctlError
from syncctl.core.exits import ExitCode, exit_code_of_error, exit_code_of_report
from syncctl.core.health import MISSING, Health, pod_health
from syncctl.core.manifest import Blueprint
from syncctl.core.model import Snapshot
from syncctl.core.plan import Cause, Plan, Step, StepKind, make_plan
from syncctl.core.report import Outcome, Report, Result
from syncctl.db.clients import record_spawned
from syncctl.db.engine import Engine, writing
from syncctl.db.history import PassRecord, list_passes, record_pass
from syncctl.db.snapshot import read_snapshot
from syncctl.kube.cluster import Cluster
from syncctl.kube.readonly import ReadOnlyCluster
from syncctl.operations.apply import Limits, apply_plan
from syncctl.operations.clients import user_name
from syncctl.operations.connect import read_template
from syncctl.settings import Settings

__all__ = ["PassRecord", "StatusRow", "Witness", "list_passes", "plan_sync", "read_status", "sync_once"]

log = logging.getLogger("syncctl")


class Witness(Protocol):
    """Who is told of a pass while it goes on."""

    def planned(self, plan: Plan) -> None:
        """Hear the plan, before anything is done or refused."""

    def settled(self, outcome: Outcome) -> None:
        """Hear what became of one step."""

    def reported(self, report: Report) -> None:
        """Hear the whole report, before anything else can go wrong."""


@dataclass(frozen=True, slots=True)
class StatusRow:
    """What should be beside what is, for one (client, algorithm)."""

    client_name: str
    step: Step
    health: Health


def plan_sync(engine: Engine, cluster: Cluster, settings: Settings) -> Plan:
    """Return what a pass would do now. Nothing is written, to neither side."""
    desired = _desired(read_snapshot(engine, consume_restarts=False), settings)
    return _plan(desired, ReadOnlyCluster(cluster))


def sync_once(engine: Engine, cluster: Cluster, settings: Settings, witness: Witness) -> Report:
    """Run one pass and leave its record in the history.

    Raises:
        DatabaseError, ClusterError, InvalidInput: the pass could not begin; its record says so, if it can be written.
    """
    started_at, deadline = datetime.now(UTC), time.monotonic() + settings.pass_deadline
    try:
        desired = _desired(read_snapshot(engine, consume_restarts=True), settings)
        plan = _plan(desired, cluster)
    except SyncctlError as error:
        _record_failure(engine, settings, started_at, error)
        raise
    witness.planned(plan)
    report = Report(plan, apply_plan(plan, cluster, Limits(settings.concurrency, deadline), witness.settled))
    witness.reported(report)
    counts = {str(result): number for result, number in report.counts().items()}
    for outcome in report.problems:
        log.error("%s: %s: %s", outcome.step.name, outcome.result, outcome.detail or outcome.step.reason)
    log.info(report.summary, extra={"counts": counts})
    with writing(engine) as connection:
        record_spawned(connection, _made(report), datetime.now(UTC))
        record = _record(started_at, exit_code_of_report(report), report.summary, counts)
        record_pass(connection, record, keep_days=settings.history_days)
    return report


def read_status(engine: Engine, cluster: Cluster, settings: Settings, reference: str | None) -> list[StatusRow]:
    """Return desired beside observed, of the whole fleet or of one client.

    Raises:
        ClientNotFound
    """
    snapshot = read_snapshot(engine, consume_restarts=False)
    selector = names.fleet_selector(snapshot.fleet)
    if reference is not None:
        snapshot = _only(snapshot, reference)
        selector = names.clients_selector(snapshot.fleet, [client.id for client in snapshot.clients])
    plan = _plan(_desired(snapshot, settings), ReadOnlyCluster(cluster), selector)
    client_names = {client.id: client.name for client in snapshot.clients}
    now = datetime.now(UTC)
    rows = [
        StatusRow(
            client_name=client_names.get(step.key.client_id, "") if step.key else "",
            step=step,
            health=pod_health(step.observed, now) if step.observed else MISSING,
        )
        for step in plan.steps
    ]
    return sorted(rows, key=lambda row: (row.step.key is None, row.step.key or (), row.step.name))


def _desired(snapshot: Snapshot, settings: Settings) -> DesiredState:
    blueprint = Blueprint(read_template(settings.pod_template), snapshot.fleet, settings.fleet_name)
    defaults = PodDefaults(settings.default_image, settings.default_cpu, settings.default_memory)
    return desired_state(snapshot, blueprint, defaults)


def _plan(desired: DesiredState, cluster: Cluster, selector: str | None = None) -> Plan:
    fleet = desired.blueprint.fleet
    observed = cluster.list_pods(selector or names.fleet_selector(fleet))
    plan = make_plan(desired, observed, {})
    if any(step.kind is StepKind.CREATE or step.cause is Cause.MISNAMED for step in plan.steps):
        # Only a new pod needs a name, so only then is it looked up who holds which.
        plan = make_plan(desired, observed, cluster.list_owners(names.foreign_selector(fleet)))
    return plan


def _only(snapshot: Snapshot, reference: str) -> Snapshot:
    for found in (
        [client for client in snapshot.clients if str(client.id) == reference],
        [client for client in snapshot.clients if client.name == reference],
    ):
        if found:
            return replace(snapshot, clients=tuple(found))
    raise ClientNotFound(reference)


def _made(report: Report) -> set[int]:
    """Return the clients of which a pod was made."""
    return {
        outcome.step.key.client_id
        for outcome in report.outcomes
        if outcome.result in (Result.CREATED, Result.REPLACED) and outcome.step.key
    }


def _record(
    started_at: datetime, code: ExitCode, outcome: str, counts: dict[str, int], error: str | None = None
) -> PassRecord:
    return PassRecord(
        started_at=started_at,
        finished_at=datetime.now(UTC),
        host=socket.gethostname(),
        who=user_name(),
        version=__version__,
        outcome=outcome,
        exit_code=code,
        counts=counts,
        error=error,
    )


def _record_failure(engine: Engine, settings: Settings, started_at: datetime, error: SyncctlError) -> None:
    record = _record(started_at, exit_code_of_error(error), "error", {}, error.message)
    try:
        with writing(engine) as connection:
            record_pass(connection, record, keep_days=settings.history_days)
    except SyncctlError as unrecorded:
        # The error itself is what the person must see; that history is missing it comes second.
        log.warning("this pass could not be recorded: %s", unrecorded.message)
