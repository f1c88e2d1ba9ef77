"""Desired beside observed, as the next pass would judge it. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from syncctl.core import names
from syncctl.core.health import MISSING, STOPPED, Health, HealthStatus, pod_health
from syncctl.core.judge import JudgedPlan
from syncctl.core.model import Client
from syncctl.core.steps import ACTING, Cause, Step
from syncctl.core.suspensions import Suspension


class Sync(StrEnum):
    """The other axis of a status, beside health: whether a pod is as the rows ask, from best to worst."""

    IN_SYNC = "in sync"
    OUT_OF_SYNC = "out of sync"
    SUSPENDED = "suspended"
    HELD = "held"
    UNKNOWN = "unknown"


_UNKNOWN = frozenset({Cause.IDS_MOVED, Cause.UNIDENTIFIED, Cause.UNREADABLE_SPEC, Cause.CLAIMED, Cause.CLIENT_INVALID})
"""Nobody can say whose the pod is, or what it should be."""


@dataclass(frozen=True, slots=True)
class StatusRow:
    """What should be beside what is, for one (client, algorithm)."""

    client_name: str
    step: Step
    health: Health
    suspension: Suspension | None = None

    @property
    def sync(self) -> Sync:
        """Whether the pod is as the rows ask; what a pass would do about it but may not now is held.

        What somebody wants left alone is suspended, whatever it is, but for what a pass does to it all the same.
        """
        if self.suspension and self.step.cause not in _UNKNOWN and not self._is_done_or_refused:
            return Sync.SUSPENDED
        if not self.step.is_drift:
            return Sync.IN_SYNC
        if self.step.held:
            return Sync.HELD
        return Sync.UNKNOWN if self.step.cause in _UNKNOWN else Sync.OUT_OF_SYNC

    @property
    def _is_done_or_refused(self) -> bool:
        return self.step.kind in ACTING and not self.step.is_suspended

    @property
    def is_unhealthy(self) -> bool:
        """Whether a person should look: degraded or missing, and wanted or still there."""
        return self.health.status in (HealthStatus.DEGRADED, HealthStatus.MISSING)


def status_rows(judged: JudgedPlan, clients: Iterable[Client], shown: Callable[[Step], bool]) -> list[StatusRow]:
    """Return a row for each step of the plan that is to be shown: by client and algorithm, those of nobody last."""
    client_names = {client.id: client.name for client in clients}
    rows = [
        StatusRow(
            client_name=client_names.get(step.key.client_id, step.client_name) if step.key else step.client_name,
            step=step,
            health=_health(step, judged.facts.now),
            suspension=judged.facts.suspensions.of(step.key),
        )
        for step in judged.plan.steps
        if shown(step)
    ]
    return sorted(
        rows, key=lambda row: (row.step.key is None, row.step.key.place if row.step.key else (), row.step.name)
    )


def _health(step: Step, now: datetime) -> Health:
    if step.observed:
        return pod_health(step.observed, now)
    return STOPPED if step.cause is Cause.STOPPED else MISSING


def summary(rows: Sequence[StatusRow]) -> str:
    """Return how many pods there are of each word of the two axes."""
    sync, health = Counter(row.sync for row in rows), Counter(row.health.status for row in rows)
    axes = (
        [f"{sync[word]} {word}" for word in Sync if sync[word]],
        [f"{health[word]} {word}" for word in HealthStatus if health[word]],
    )
    return f"{names.pods(len(rows))}: {'; '.join(map(', '.join, axes))}"
