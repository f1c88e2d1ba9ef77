"""What the rows have to be told after a pass: of which clients pods were made, and which ids pods carry. Pure."""

from datetime import datetime

from syncctl.core import names
from syncctl.core.report import Report, Result
from syncctl.core.steps import Cause, Plan


def clients_made(report: Report) -> set[int]:
    """Return the clients of which a pod was made."""
    return {
        outcome.step.key.client_id
        for outcome in report.outcomes
        if outcome.result in (Result.CREATED, Result.REPLACED) and outcome.step.key
    }


def newest_pods(plan: Plan) -> dict[int, datetime]:
    """Return when the newest pod of each client was made, of those that were there when the pass began.

    A pod that has to go counts as well: it was made all the same. One of the Go service does not, for no pass made it.
    """
    pods = [(wanted.key, pod) for wanted, pod in plan.matches]
    pods += [
        (step.key, step.observed)
        for step in plan.drifted
        if step.key and step.observed and step.observed.labels.get(names.FLEET) == plan.blueprint.fleet
    ]
    newest: dict[int, datetime] = {}
    for key, pod in pods:
        if pod.created_at:
            made = datetime.fromisoformat(pod.created_at)
            newest[key.client_id] = max(made, newest.get(key.client_id, made))
    return newest


_STRANGE = (Cause.ORPHAN, Cause.MISNAMED, Cause.DUPLICATE, Cause.IDS_MOVED)


def strange_ids(plan: Plan) -> tuple[set[int], set[int]]:
    """Return the ids of clients, and of status rows, of those pods of the fleet that the tables may know nothing of."""
    pods = [
        (step.key, step.observed.name)
        for step in plan.drifted
        if step.cause in _STRANGE and step.observed and step.observed.labels.get(names.FLEET) == plan.blueprint.fleet
    ]
    client_ids = {key.client_id for key, _ in pods if key}
    return client_ids, {read[1] for _, name in pods if (read := names.read_name(name))}
