"""A fleet of many pods in a sandbox, and counters around the passes over it."""

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from kit.clusters import IMAGE, SandboxCluster
from kit.witnesses import Silence
from sqlalchemy import Engine, event, insert, update

from syncctl.core.judge import JudgedPlan
from syncctl.core.report import Report
from syncctl.db.engine import writing
from syncctl.db.tables import algorithm_status, clients
from syncctl.kube.api import ApiCluster
from syncctl.kube.config import connect
from syncctl.operations.planning import PassOptions
from syncctl.operations.sync import sync_once
from syncctl.settings import Settings

ALGORITHMS = 3


class Fleet:
    """Clients with all three algorithms switched on, and passes over them."""

    def __init__(self, engine: Engine, cluster: SandboxCluster) -> None:
        self.engine = engine
        self.cluster = cluster
        # By the sandbox's clock, a pass began long ago: to the database it would be one to forget.
        self.settings = Settings(concurrency=16, history_days=36500)
        self._api = ApiCluster(connect(str(cluster.kubeconfig), None, None, 16), sleep=cluster.pass_time)

    def grow(self, pods: int, start: int = 1) -> None:
        """Add clients for so many pods, numbered from `start` on."""
        now = datetime.now(UTC)
        numbers = range(start, start + pods // ALGORITHMS)
        shared = {"version": 1, "image": IMAGE, "cpu": "20m", "memory": "32Mi", "priority": 1.0}
        rows = [
            {"id": n, "client_name": f"Client {n}", "created_at": now, "updated_at": now, **shared} for n in numbers
        ]
        flags = [{"id": n, "client_id": n, "vwap": True, "twap": True, "hft": True} for n in numbers]
        with writing(self.engine) as connection:
            connection.execute(insert(clients), rows)
            connection.execute(insert(algorithm_status), flags)

    def switch_off(self) -> None:
        """Switch everything off."""
        with writing(self.engine) as connection:
            connection.execute(update(algorithm_status).values(vwap=False, twap=False, hft=False))

    def restart(self) -> None:
        """Ask for a restart of everything."""
        with writing(self.engine) as connection:
            connection.execute(update(clients).values(need_restart=True))

    def sync(self, witness: Any = None) -> Report:
        """Run a pass, and let its pods get where they are going."""
        witness = witness or Silence()
        report = sync_once(self.engine, self._api, self.settings, PassOptions(), witness, self.cluster.clock)
        self.cluster.pass_time(5)
        return report

    @contextmanager
    def listening(self) -> Iterator[list[list[str]]]:
        """Yield the transactions of the block, each a list of its statements."""
        transactions: list[list[str]] = []
        statements: list[str] = []

        def sent(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            statements.append(" ".join(statement.split()))

        def ended(_connection: Any) -> None:
            transactions.append(statements[:])
            statements.clear()

        listeners = (("before_cursor_execute", sent), ("commit", ended), ("rollback", ended))
        for name, listener in listeners:
            event.listen(self.engine, name, listener)
        try:
            yield transactions
        finally:
            for name, listener in listeners:
                event.remove(self.engine, name, listener)


class Scales(Silence):
    """Weighs what is held when the plan is made: rows, desired and observed pods, steps, all of them at once."""

    def __init__(self) -> None:
        self.held = 0

    def planned(self, judged: JudgedPlan) -> None:
        # What is garbage already is held by nobody, and when it is collected depends on what ran before.
        gc.collect()
        self.held = tracemalloc.get_traced_memory()[0]
