"""Desired beside observed, as the next pass would judge it. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from syncctl.core.health import MISSING, Health, pod_health
from syncctl.core.judge import JudgedPlan
from syncctl.core.model import Client
from syncctl.core.steps import Step


@dataclass(frozen=True, slots=True)
class StatusRow:
    """What should be beside what is, for one (client, algorithm)."""

    client_name: str
    step: Step
    health: Health


def status_rows(judged: JudgedPlan, clients: Iterable[Client], shown: Callable[[Step], bool]) -> list[StatusRow]:
    """Return a row for each step of the plan that is to be shown: by client and algorithm, those of nobody last."""
    client_names = {client.id: client.name for client in clients}
    rows = [
        StatusRow(
            client_name=client_names.get(step.key.client_id, step.client_name) if step.key else step.client_name,
            step=step,
            health=pod_health(step.observed, judged.facts.now) if step.observed else MISSING,
        )
        for step in judged.plan.steps
        if shown(step)
    ]
    return sorted(
        rows, key=lambda row: (row.step.key is None, row.step.key.place if row.step.key else (), row.step.name)
    )
