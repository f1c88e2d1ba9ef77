"""A warmed process that forks passes on request: python -m tests.crashes.child

Reads an order a line, answers with the child's pid, and with its exit status when it has ended. A child may be ordered
to kill itself at a commit; at a request, the other side does.
"""

import json
import os
import signal
import sys
from typing import Any

# Everything a pass imports, so that a fork has it.
import kubernetes.client
import kubernetes.config  # noqa: F401
import psycopg2  # noqa: F401

from syncctl.core.exits import exit_code_of_report
from syncctl.core.judge import JudgedPlan
from syncctl.core.report import Outcome, Report
from syncctl.db.engine import Engine
from syncctl.operations.connect import open_cluster, open_engine
from syncctl.operations.planning import PassOptions
from syncctl.operations.sync import sync_once
from syncctl.sources import load_settings


class Nobody:
    """Whom nothing is told."""

    def planned(self, judged: JudgedPlan) -> None: ...

    def settled(self, outcome: Outcome) -> None: ...

    def reported(self, report: Report) -> None: ...


def die_at_commit(engine: Engine, number: int, after: bool) -> None:
    """Kill this process before or after the commit of this number."""
    commit = engine.dialect.do_commit
    commits = 0

    def counted(connection: Any) -> None:
        nonlocal commits
        commits += 1
        if commits == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(connection)
        if commits == number and after:
            os.kill(os.getpid(), signal.SIGKILL)

    engine.dialect.do_commit = counted  # type: ignore[method-assign]


def run(order: dict[str, Any]) -> int:
    """Run one pass and return its exit code."""
    settings = load_settings(order["settings"]).values
    engine = open_engine(settings)
    if order["commit"]:
        die_at_commit(engine, order["commit"], order["after"])
    report = sync_once(engine, open_cluster(settings), settings, PassOptions(adopt=True), Nobody())
    return exit_code_of_report(report)


def main() -> None:
    """Fork a child for each order."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                code = run(json.loads(line))
            finally:
                sys.stderr.flush()
                os._exit(code)
        _tell(pid)
        _, status = os.waitpid(pid, 0)
        _tell(os.waitstatus_to_exitcode(status))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
