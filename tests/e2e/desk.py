"""A database, a cluster, and a person who runs passes: what the tests of whole passes are made of."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from kit.clocks import drive_database
from kit.clusters import FINALIZER, IMAGE, Json, RealCluster, SandboxCluster
from kit.fleet_settings import of_the_fleet, set_fleet
from kit.witnesses import Silence
from sqlalchemy import Engine, event, text

from syncctl.core import names
from syncctl.core.exits import ExitCode, exit_code_of_report
from syncctl.core.model import Algorithm, Client, ClientChanges, NewClient
from syncctl.core.report import Outcome, Report, Result
from syncctl.db.engine import writing
from syncctl.db.snapshot import read_snapshot
from syncctl.operations import algorithms, clients, suspensions
from syncctl.operations.author import Author, written_by
from syncctl.operations.planning import PassOptions
from syncctl.operations.sync import Witness, sync_once
from syncctl.settings import Settings


class Desk:
    def __init__(self, engine: Engine, cluster: SandboxCluster | RealCluster, folder: Path) -> None:
        self.engine = engine
        self.cluster = cluster
        self.api = cluster.api()
        self.fleet = read_snapshot(engine, consume_restarts=False).fleet
        self.later = timedelta()
        self.host_ahead = timedelta()
        drive_database(engine, self.now)
        self.set(default_cpu="20m", default_memory="32Mi", default_image=IMAGE, concurrency=4)
        # A sandbox's time may be long ago by the database's own clock, by which the history is purged.
        self.set(history_days=3650)

    def set(self, **settings: Any) -> None:
        """Change settings, be they the fleet's or the process's; the others stay."""
        if of_fleet := of_the_fleet(settings):
            self.fleet_settings = set_fleet(self.engine, **of_fleet)
        known = self.settings if hasattr(self, "settings") else Settings()
        self.settings = msgspec.structs.replace(known, **settings)

    def template(self, content: str) -> None:
        """Give the pods a template, in YAML from `spec:` on."""
        self.set(pod_template=f"apiVersion: v1\nkind: Pod\n{content}")

    # What a person does

    def add(self, name: str = "acme", /, enabled: str = "vwap", **fields: Any) -> Client:
        chosen = frozenset(Algorithm(word) for word in enabled.split())
        return clients.add_client(self.engine, NewClient(name, algorithms=chosen, **fields))

    def change(self, client: str = "acme", /, **changes: Any) -> Client:
        return clients.update_client(self.engine, client, ClientChanges(**changes))

    def switch(self, name: str = "acme", **flags: bool) -> None:
        algorithms.set_algorithms(self.engine, name, {Algorithm(word): on for word, on in flags.items()})

    def switch_off(self) -> None:
        """Switch the only algorithm of the usual client off."""
        self.switch(vwap=False)

    def restart(self, name: str = "acme") -> None:
        clients.restart_client(self.engine, name)

    def delete(self, name: str = "acme") -> None:
        clients.delete_client(self.engine, name)

    def suspend(
        self, client: str | None = "acme", *algorithms: str, hours: float | None = 2, stops: bool = False
    ) -> None:
        """Suspend a client, or the fleet, for so many hours, None for ever."""
        engine = written_by(self.engine, Author("anna@desk7", "test", "the exchange asked"))
        chosen = [Algorithm(word) for word in algorithms]
        target = suspensions.find_target(engine, client, chosen)[0] if client else suspensions.Target()
        suspensions.suspend(
            engine, target, lambda _: self.now() + timedelta(hours=hours) if hours else None, stops=stops
        )

    def resume(self, client: str | None = "acme") -> None:
        target = suspensions.find_suspended(self.engine, client, ()) if client else suspensions.Target()
        suspensions.resume(self.engine, suspensions.to_resume(self.engine, target))

    def sql(self, statement: str, **values: Any) -> None:
        """Write to the database behind everybody's back."""
        with writing(self.engine) as connection:
            connection.execute(text(statement), values)

    def run(self, witness: Witness | None = None, **options: Any) -> Report:
        """Run one pass, `later` than it is, on a host whose clock is so far `host_ahead`."""
        shifted = replace(self.cluster.clock, now=lambda: self.now() + self.host_ahead)
        return sync_once(self.engine, self.api, self.settings, PassOptions(**options), witness or Silence(), shifted)

    def now(self) -> datetime:
        """Return the time by which the database goes, and hosts whose clocks are right."""
        return self.cluster.clock.now() + self.later

    def started(self, **options: Any) -> dict[str, Json]:
        """Run one pass in which nothing fails, let its pods come to run, and return them."""
        report = self.run(**options)
        assert exit_code_of_report(report) is ExitCode.DONE, results(report)
        self.until_running()
        return self.cluster.pods()

    # What the cluster does

    def until_running(self) -> None:
        """Wait until all pods run; of the Go service's no registry has the image."""

        def runs(pod: Json) -> bool:
            return pod["status"].get("phase") == "Running" or pod["spec"]["containers"][0]["image"] == names.GO_IMAGE

        self.cluster.until(lambda: all(map(runs, self.cluster.pods().values())))

    def until_gone(self, *pods: str) -> None:
        self.cluster.until(lambda: not set(pods) & self.cluster.pods().keys())

    def uid(self, name: str) -> str:
        return str(self.cluster.pods()[name]["metadata"]["uid"])

    def hold(self, name: str) -> None:
        """Let a pod not go until it is let go."""
        self.api.patch_pod(name, self.uid(name), {"metadata": {"finalizers": [FINALIZER]}})

    def let_go(self, name: str) -> None:
        self.api.patch_pod(name, self.uid(name), {"metadata": {"finalizers": None}})
        self.until_gone(name)

    def remove(self, name: str) -> None:
        """Tell a pod to go, as a person with kubectl does."""
        self.api.delete_pod(name, self.uid(name))

    def refuse_resize(self, name: str, answer: str = "Infeasible") -> None:
        """Let the node say that it cannot do what it was asked, or not yet."""
        if isinstance(self.cluster, SandboxCluster):
            self.cluster.answer_resize(name, answer)
            return
        conditions = self.cluster.pods()[name]["status"]["conditions"]
        pending = {"type": "PodResizePending", "status": "True", "reason": answer, "message": "no room"}
        self.cluster.set_status(name, conditions=[*conditions, pending])


def vwap(client: Client) -> str:
    """Return the name of the client's vwap pod."""
    return pod_of(client, "vwap")


def pod_of(client: Client, algorithm: str) -> str:
    assert client.algorithms is not None
    return names.pod_name(Algorithm(algorithm), client.algorithms.id)


def outcome_of(report: Report, pod: str, kind: str = "") -> Outcome:
    """Return what became of a pod's step; of the one of this kind, if there may be two."""
    of_pod = [outcome for outcome in all_outcomes(report) if outcome.step.name == pod]
    (found,) = [outcome for outcome in of_pod if not kind or outcome.step.kind == kind] or of_pod
    return found


def results(report: Report) -> dict[str, str]:
    """Return what became of each pod's step, and why if it is not well."""
    outcomes = all_outcomes(report)
    return {outcome.step.name: ": ".join(filter(None, (outcome.result, outcome.detail))) for outcome in outcomes}


def all_outcomes(report: Report) -> list[Outcome]:
    """Return what became of each pod, of those in sync too: nothing."""
    return [*report.outcomes, *(Outcome(step, Result.UNCHANGED) for step in report.plan.in_sync)]


@contextmanager
def counted_transactions(engine: Engine) -> Iterator[Counter[str]]:
    """Count how transactions end while this is open."""
    ended: Counter[str] = Counter()

    def committed(_connection: object) -> None:
        ended["commit"] += 1

    def rolled_back(_connection: object) -> None:
        ended["rollback"] += 1

    event.listen(engine, "commit", committed)
    event.listen(engine, "rollback", rolled_back)
    try:
        yield ended
    finally:
        event.remove(engine, "commit", committed)
        event.remove(engine, "rollback", rolled_back)
