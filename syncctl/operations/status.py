"""Desired beside observed."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from syncctl.core import names
from syncctl.core.errors import ClientNotFound
from syncctl.core.health import MISSING, Health, pod_health
from syncctl.core.model import Snapshot
from syncctl.core.others import Others, unclaimed
from syncctl.core.plan import make_plan
from syncctl.core.steps import Step
from syncctl.db.engine import Engine
from syncctl.db.snapshot import read_snapshot
from syncctl.kube.cluster import Cluster
from syncctl.operations.connect import read_template
from syncctl.operations.planning import read_desired
from syncctl.settings import Settings

log = logging.getLogger("syncctl")


@dataclass(frozen=True, slots=True)
class StatusRow:
    """What should be beside what is, for one (client, algorithm)."""

    client_name: str
    step: Step
    health: Health


def read_status(engine: Engine, cluster: Cluster, settings: Settings, reference: str | int | None) -> list[StatusRow]:
    """Return desired beside observed, of the whole fleet or of one client. Nothing is written.

    Raises:
        ClientNotFound
    """
    snapshot = read_snapshot(engine, consume_restarts=False)
    only = None if reference is None else _client_id(snapshot, reference)
    now = datetime.now(UTC)
    desired = read_desired(snapshot, settings, read_template(settings.pod_template))
    # All of them, for one client too: a pod whose labels somebody has edited is found by no selector of that client.
    pods = cluster.list_pods(names.fleet_selector(snapshot.fleet))
    others = cluster.list_others(names.foreign_selector(snapshot.fleet)) if snapshot.go_service else ()
    plan = make_plan(desired, pods, now, Others(tuple(others)))
    if plan.unclaimed:
        log.warning("%s", unclaimed(plan.unclaimed))
    client_names = {client.id: client.name for client in snapshot.clients}
    rows = [
        StatusRow(
            client_name=client_names.get(step.key.client_id, step.client_name) if step.key else step.client_name,
            step=step,
            health=pod_health(step.observed, now) if step.observed else MISSING,
        )
        for step in plan.steps
        if only is None or (step.key is not None and step.key.client_id == only)
    ]
    return sorted(
        rows, key=lambda row: (row.step.key is None, row.step.key.place if row.step.key else (), row.step.name)
    )


def _client_id(snapshot: Snapshot, reference: str | int) -> int:
    for found in (
        [client for client in snapshot.clients if str(client.id) == str(reference)],
        [client for client in snapshot.clients if client.name == reference],
        [client for client in snapshot.clients if f"{names.NAME_PREFIX}{client.name}" == reference],
    ):
        if found:
            return found[0].id
    raise ClientNotFound(str(reference))
