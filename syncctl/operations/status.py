"""Desired beside observed."""

from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace

from syncctl.core import names
from syncctl.core.errors import ClientNotFound
from syncctl.core.health import MISSING, Health, pod_health
from syncctl.core.model import Snapshot
from syncctl.core.plan import Others, make_plan
from syncctl.core.steps import Step
from syncctl.db.engine import Engine
from syncctl.db.snapshot import read_snapshot
from syncctl.kube.cluster import Cluster
from syncctl.operations.connect import read_template
from syncctl.operations.planning import read_desired
from syncctl.settings import Settings


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
    selector = names.fleet_selector(snapshot.fleet)
    if reference is not None:
        snapshot = _only(snapshot, reference)
        selector = names.clients_selector(snapshot.fleet, [client.id for client in snapshot.clients])
    now = datetime.now(UTC)
    desired = read_desired(snapshot, settings, read_template(settings.pod_template))
    plan = make_plan(desired, cluster.list_pods(selector), now, Others())
    client_names = {client.id: client.name for client in snapshot.clients}
    rows = [
        StatusRow(
            client_name=client_names.get(step.key.client_id, step.client_name) if step.key else step.client_name,
            step=step,
            health=pod_health(step.observed, now) if step.observed else MISSING,
        )
        for step in plan.steps
    ]
    return sorted(
        rows, key=lambda row: (row.step.key is None, row.step.key.place if row.step.key else (), row.step.name)
    )


def _only(snapshot: Snapshot, reference: str | int) -> Snapshot:
    for found in (
        [client for client in snapshot.clients if str(client.id) == str(reference)],
        [client for client in snapshot.clients if client.name == reference],
        [client for client in snapshot.clients if f"{names.NAME_PREFIX}{client.name}" == reference],
    ):
        if found:
            return replace(snapshot, clients=tuple(found))
    raise ClientNotFound(str(reference))
