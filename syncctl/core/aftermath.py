"""What the database has to be told after a pass: whose pods were made, which ids pods carry, what was done. Pure."""

from collections.abc import Iterator
from datetime import datetime

from syncctl.core import names
from syncctl.core.records import StepRecord
from syncctl.core.report import Report, Result
from syncctl.core.shard import Shard
from syncctl.core.steps import Cause, Plan, Step


def clients_made(report: Report) -> set[int]:
    """Return the clients that a pod was made for."""
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
    pods += [(step.key, step.pod) for step in _of_the_fleet(plan) if step.key]
    newest: dict[int, datetime] = {}
    for key, pod in pods:
        if pod.created_at:
            made = datetime.fromisoformat(pod.created_at)
            newest[key.client_id] = max(made, newest.get(key.client_id, made))
    return newest


_STRANGE = (Cause.ORPHAN, Cause.MISNAMED, Cause.DUPLICATE, Cause.IDS_MOVED)


def strange_ids(plan: Plan) -> tuple[set[int], set[int]]:
    """Return the ids of clients, and of status rows, of those pods of the fleet that the tables may know nothing of."""
    strange = [step for step in _of_the_fleet(plan) if step.cause in _STRANGE]
    client_ids = {step.key.client_id for step in strange if step.key}
    return client_ids, {read[1] for step in strange if (read := names.read_name(step.pod.name))}


def step_records(report: Report, shard: Shard) -> tuple[list[StepRecord], dict[str, StepRecord]]:
    """Return what was done, and what was left undone by what tells whether an earlier pass has left it so.

    Of a pod that another shard looks after, it is that shard which tells from pass to pass.
    """
    done: list[StepRecord] = []
    standing: dict[str, StepRecord] = {}
    for outcome in report.outcomes:
        step = outcome.step
        record = StepRecord(
            pod=step.name,
            uid=step.observed.uid if step.observed else None,
            client_id=step.key.client_id if step.key else None,
            algorithm=step.key.algorithm.value if step.key else None,
            step=step.kind.value,
            cause=step.cause.value,
            result=outcome.result.value,
            reason=": ".join(filter(None, (step.reason, outcome.detail))),
        )
        if (left := outcome.standing) and step.key and shard.has(step.key.client_id):
            standing[left] = record
        else:
            done.append(record)
    return done, standing


def _of_the_fleet(plan: Plan) -> Iterator[Step]:
    """Yield the steps of pods that are there and drifted, and carry the fleet's label."""
    fleet = plan.blueprint.fleet
    return (step for step in plan.drifted if step.observed and step.observed.labels.get(names.FLEET) == fleet)
