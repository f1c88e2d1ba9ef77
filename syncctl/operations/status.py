"""Desired beside observed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from syncctl.core import names
from syncctl.core.errors import ClientNotFound, PodNotFound
from syncctl.core.judge import JudgedPlan
from syncctl.core.others import unclaimed
from syncctl.core.snapshot import Snapshot
from syncctl.core.status import StatusRow, status_rows
from syncctl.core.steps import Step
from syncctl.db.engine import Engine
from syncctl.db.snapshot import read_snapshot
from syncctl.kube.cluster import Cluster
from syncctl.kube.readonly import ReadOnlyCluster
from syncctl.operations.clock import SYSTEM
from syncctl.operations.planning import PassOptions, Planning, removals_in
from syncctl.settings import Settings

log = logging.getLogger("syncctl")


@dataclass(frozen=True, slots=True)
class Status:
    """What was found, and in which cluster and namespace."""

    cluster: str
    rows: list[StatusRow]


def read_status(engine: Engine, cluster: Cluster, settings: Settings, reference: str | int | None) -> Status:
    """Return desired beside observed, of the whole fleet, one client or one pod, with what a pass would hold now.

    One client's is a part of the whole fleet's: a pod whose labels somebody has edited is found by no selector of that
    client, and guard and pace count all pods. Nothing is written.

    Raises:
        ClientNotFound
        PodNotFound: none by this name is there or asked for.
        NamespaceNotFound: there is no pod to be seen, and no namespace.
    """
    judged, rows = look_at(engine, cluster, settings, reference)
    return Status(judged.facts.cluster, rows)


def look_at(
    engine: Engine, cluster: Cluster, settings: Settings, reference: str | int | None
) -> tuple[JudgedPlan, list[StatusRow]]:
    """Return the whole fleet's plan as a pass would judge it, and the rows of what is named; raises as read_status."""
    snapshot = read_snapshot(engine, consume_restarts=False)
    shown = _shown(snapshot, reference)
    look = removals_in(engine)
    planning = Planning(ReadOnlyCluster(cluster), settings, PassOptions(), SYSTEM, removals=look)
    pods = planning.observed(snapshot)
    # A fleet whose pods are here is no stranger here; and who looks may have the right to list pods and no other.
    judged = planning.hold(planning.plan(snapshot, pods), snapshot, find_home=not pods)
    if judged.plan.unclaimed:
        log.warning("%s", unclaimed(judged.plan.unclaimed))
    rows = status_rows(judged, snapshot.clients, shown)
    if not rows and _is_pod(reference):
        raise PodNotFound(
            f"no {reference} in {judged.facts.cluster}, and none is asked for", "`syncctl status` shows them all"
        )
    return judged, rows


def _is_pod(reference: str | int | None) -> bool:
    """Whether somebody means a pod, and no client."""
    return str(reference).startswith(names.POD_PREFIX)


def _shown(snapshot: Snapshot, reference: str | int | None) -> Callable[[Step], bool]:
    """Return which steps are of what somebody names. Raises ClientNotFound."""
    if reference is None:
        return lambda _step: True
    if _is_pod(reference):
        name = str(reference).removeprefix(names.POD_PREFIX)
        return lambda step: step.name == name
    client = _client_id(snapshot, reference)
    return lambda step: step.key is not None and step.key.client_id == client


def _client_id(snapshot: Snapshot, reference: str | int) -> int:
    deleted = [each for each, was in snapshot.deleted.items() if reference in (was.name, str(each), each)]
    for found in (
        [client for client in snapshot.clients if str(client.id) == str(reference)],
        [client for client in snapshot.clients if client.name == reference],
        [client for client in snapshot.clients if f"{names.NAME_PREFIX}{client.name}" == reference],
    ):
        if found:
            return found[0].id
    if deleted:
        return deleted[-1]
    raise ClientNotFound(str(reference))
