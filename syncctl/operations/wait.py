"""Wait until clients' pods are as somebody wants them, or never will be."""

from collections.abc import Callable, Sequence

from syncctl.core.errors import ClusterUnavailable, DatabaseUnavailable
from syncctl.core.waiting import Goal, Verdict, verdict
from syncctl.db.engine import Engine, reading
from syncctl.kube.cluster import Cluster
from syncctl.operations.changes import known_client
from syncctl.operations.clock import SYSTEM, Clock
from syncctl.operations.status import look_at
from syncctl.settings import Settings

PAUSE = 1.0
_SHARE = 4
"""A look that takes long is followed by a pause that many times as long: it is work for the server."""


def wait_for(
    engine: Engine,
    cluster: Cluster,
    settings: Settings,
    references: Sequence[str],
    goal: Goal,
    timeout: float,
    on_look: Callable[[Sequence[Verdict]], None],
    clock: Clock = SYSTEM,
) -> list[Verdict]:
    """Look until all pods of these clients are so, one never will be, or the time is over; return the last verdicts.

    A database or a cluster that does not answer for the moment is asked again.

    Raises:
        ClientNotFound: one is not there and never was, or it is gone and that is not what is waited for.
        DatabaseError, ClusterError: what is no matter of time.
    """
    until = clock.monotonic() + timeout
    with reading(engine) as connection:
        ids = {known_client(connection, reference) for reference in references}
    troubled: dict[str, tuple[str, float]] = {}
    while True:
        began = clock.monotonic()
        try:
            verdicts = _look(engine, cluster, settings, ids, goal, troubled, began)
        except (DatabaseUnavailable, ClusterUnavailable) as error:
            if clock.monotonic() >= until:
                raise
            verdicts = [Verdict("", done=False, why=error.message)]
        on_look(verdicts)
        now = clock.monotonic()
        if all(each.done for each in verdicts) or any(each.never for each in verdicts) or now >= until:
            return verdicts
        clock.sleep(min(max(PAUSE, _SHARE * (now - began)), max(0.0, until - now)))


def _look(
    engine: Engine,
    cluster: Cluster,
    settings: Settings,
    ids: set[int],
    goal: Goal,
    troubled: dict[str, tuple[str, float]],
    now: float,
) -> list[Verdict]:
    _, rows = look_at(engine, cluster, settings, None)
    mine = [row for row in rows if row.step.key and row.step.key.client_id in ids]
    verdicts = []
    for row in mine:
        reason, since = troubled.get(row.step.name, ("", now))
        if reason != row.health.reason:
            since = now
        troubled[row.step.name] = (row.health.reason, since)
        verdicts.append(verdict(row, goal, now - since))
    return verdicts
