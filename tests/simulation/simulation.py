"""One seed: a fleet, passes over it while everything goes wrong, and then two passes that put it right."""

import json
import math
import random
import shutil
import sqlite3
import uuid
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path

from clocks import drive_database
from sqlalchemy import Engine, event, update

from syncctl.core.errors import LeaseHeld, StalePlan, SyncctlError
from syncctl.core.guard import Policy
from syncctl.core.report import Result
from syncctl.db.engine import connect, writing
from syncctl.db.history import list_passes, list_steps
from syncctl.db.tables import fleet
from syncctl.kube.api import ApiCluster
from syncctl.operations.lease import lease_release
from syncctl.operations.planning import PassOptions, plan_sync
from syncctl.operations.sync import sync_once
from syncctl.sandbox import Kubelet, Store
from syncctl.sandbox.objects import Event
from syncctl.settings import Settings

from .driven import NAMESPACE, Call, DrivenTime, Fault, Wire
from .judge import Judge, PassRun, Violation
from .rows import DEFAULT_IMAGE, read_rows
from .world import NothingThere, World

LEASE_TERM = 60.0
PASS_EVERY = 300.0
_AFTER_ONLY = ("cut",)
_BEFORE_ONLY = ("refused", "429", "401", "403")
_EITHER = ("reset", "timeout", "500", "503", "504")


class Killed(BaseException):
    """The process is no more."""


class Simulation:
    """Everything follows from the seed."""

    def __init__(self, seed: int, folder: Path, template: Path) -> None:
        self.seed = seed
        self.trace: deque[str] = deque(maxlen=200)
        self.covered: Counter[str] = Counter()
        self._chance = random.Random(seed)
        random.seed(seed)  # syncctl's own jitter
        self._path = folder / f"{seed}.db"
        shutil.copy(template, self._path)
        self._engine = _engine(self._path)
        # As long as one connection is open, closing another does not clean up the journal: ten times as fast.
        self._kept = sqlite3.connect(self._path, check_same_thread=False)
        self._kept.execute("SELECT 1 FROM fleet").fetchone()
        fleet_id = str(uuid.UUID(int=self._chance.getrandbits(128)))
        with writing(self._engine) as connection:
            connection.execute(update(fleet).values(uuid=fleet_id))
        self._time = DrivenTime()
        drive_database(self._engine, self._time.database)
        self._store = Store(self._time.cluster, namespaces=(NAMESPACE,), history_limit=100)
        self._kubelet = Kubelet(self._store, start_delay=0.5, stop_delay=0.5)
        self._time.on_advance = self._kubelet.tick
        self._judge = Judge(self._store, fleet_id, self._time.database)
        self._world = World(self._chance, self._engine, self._store, self._kubelet, self._judge, self._time, folder)
        self._running: list[PassRun] = []
        self._serving: PassRun | None = None
        self._lease_then: list[tuple[object, ...]] = []
        self._store.subscribe(self._heard)
        event.listen(self._engine, "before_cursor_execute", self._executed)
        self._numbers = 0
        self._settings = Settings(
            database_url=f"sqlite:///{self._path}",
            pod_template=self._world.template_file,
            default_image=DEFAULT_IMAGE,
            concurrency=1,
            page_size=self._chance.choice((3, 7, 500)),
            orphan_limit=self._chance.choice((10, 2, 0)),
            orphan_percent=self._chance.choice((30.0, 10.0, 100.0)),
            switch_off_limit=self._chance.choice((0, 0, 0, 8)),
            replace_percent=self._chance.choice((25.0, 5.0, 50.0)),
            pass_deadline=self._chance.choice((150.0, 150.0, 12.0)),
            history_days=1,
        )

    def run(self) -> None:
        """Run it all.

        Raises:
            Violation: a pass has done what no pass may do.
        """
        for _ in range(self._chance.choice((2, 4, 6, 12, 16))):
            self._say(self._world.add_client())
        for _ in range(self._chance.randint(4, 16)):
            for _ in range(self._chance.choice((0, 1, 1, 2, 3, 6))):
                self._happen()
            self._one_pass()
            self._let_time_pass()
        self._settle()

    @property
    def checks(self) -> int:
        """How many requests and changes the judge has looked at."""
        return self._judge.checks

    def close(self) -> None:
        """Give everything back."""
        self._kept.close()
        self._engine.dispose()
        for path in self._path.parent.glob(f"{self._path.name}*"):
            path.unlink()

    # Passes

    def _one_pass(self) -> None:
        weather = Weather(self._chance)
        incidents = {self._chance.choice((1, 2, 3, 4, 5, 7, 10, 15, 25)): self._chance.choice(_INCIDENTS)
                     for _ in range(self._chance.choice((0, 0, 1, 1, 2, 3)))}  # fmt: skip
        options = PassOptions(
            policy=self._chance.choice((*[Policy.SYNC] * 8, Policy.UPSERT_ONLY, Policy.CREATE_ONLY)),
            adopt=self._chance.random() < 0.2,
            allow_deletions=self._chance.randint(0, 12) if self._chance.random() < 0.1 else None,
        )
        if self._chance.random() < 0.1:
            options = self._saved_plan(options)
        self._pass(options, weather, incidents)

    def _saved_plan(self, options: PassOptions) -> PassOptions:
        judged = plan_sync(
            self._engine, self._cluster(self._new_run(options), Weather(None), {}), self._settings, options,
            self._time.clock(),
        )  # fmt: skip
        if self._chance.random() < 0.4:
            self._happen()
        return replace(options, expected_digest=judged.digest)

    def _new_run(self, options: PassOptions) -> PassRun:
        self._numbers += 1
        return PassRun(
            self._numbers, self._settings, options, self._world.template, str(self._path), on_plan=self._judge.weigh
        )

    def _cluster(self, run: PassRun, weather: "Weather", incidents: dict[int, str]) -> ApiCluster:
        def before(call: Call) -> Fault | None:
            return self._before(run, call, weather, incidents)

        def after(call: Call, status: int) -> None:
            self._serving = None
            if call.target.route.subresource == "resize" and 400 <= status < 500:
                run.resize_refused.add(call.target.name)

        return ApiCluster(
            Wire(self._store, before, after).connection(),
            page_size=self._settings.page_size,
            request_timeout=10.0,
            sleep=self._time.advance,
        )

    def _pass(self, options: PassOptions, weather: "Weather", incidents: dict[int, str]) -> PassRun:
        run = self._new_run(options)
        self._say(f"pass {run.number} begins: {options}, {weather.mood}, {incidents}")
        self._running.append(run)
        cluster = self._cluster(run, weather, incidents)
        try:
            run.report = sync_once(self._engine, cluster, self._settings, options, run, self._time.clock())
        except Killed:
            run.killed = True
            self._unrelease()
        except SyncctlError as error:
            run.error = error
        finally:
            self._running.remove(run)
        self.covered["passes"] += 1
        self._say(f"pass {run.number} ends: {run.report.summary if run.report else run.error or 'killed'}")
        for outcome in run.report.outcomes if run.report else ():
            if outcome.result is not Result.UNCHANGED:
                self._say(f"  {run.number}: {outcome.step.kind} {outcome.step.name} ({outcome.step.reason}): "
                          f"{outcome.result} {outcome.detail}")  # fmt: skip
        self._judge_pass(run)
        self._world.image_fates()
        return run

    def _judge_pass(self, run: PassRun) -> None:
        self._judge.verdict(run)
        rows = read_rows(str(self._path))
        for client, generation in rows.generations.items():
            asked = self._world.generations[client]
            if generation + (client in rows.asked) != asked:
                raise Violation(f"client {client} has generation {generation}, and {asked} restarts were asked for")
        if isinstance(run.error, LeaseHeld | StalePlan) and run.writes:
            raise Violation(f"{type(run.error).__name__}, and there were writes")
        if isinstance(run.error, LeaseHeld):
            self.covered["passes kept out by the lease"] += 1
            if run.requests:
                raise Violation("asked the cluster without a lease")
        elif run.error is not None:
            self.covered["passes that ended with an error"] += 1
        elif run.killed:
            self.covered["passes killed"] += 1
        elif run.report is not None:
            self._recorded(run)
        if run.lost:
            self.covered["leases lost"] += 1
        if run.report:
            for outcome in run.report.outcomes:
                self.covered[f"steps {outcome.step.kind} {outcome.step.cause} {outcome.result}"] += 1
            self.covered["steps keep in-sync unchanged"] += len(run.report.plan.in_sync)

    def _recorded(self, run: PassRun) -> None:
        (last,) = list_passes(self._engine, 1)
        assert run.report is not None
        if last.outcome != run.report.summary:
            raise Violation(f'history says "{last.outcome}" and the report "{run.report.summary}"')
        told = Counter((step.pod, step.uid, step.step, step.cause, step.result)
                       for step in list_steps(self._engine, last.id))  # fmt: skip
        outcomes = [(outcome.step, outcome.result) for outcome in run.report.outcomes]
        if told != Counter((step.name, step.observed.uid if step.observed else None, step.kind, step.cause, result)
                           for step, result in outcomes):  # fmt: skip
            raise Violation("history has other steps than the report")

    # What happens in the middle of a pass

    def _before(self, run: PassRun, call: Call, weather: "Weather", incidents: dict[int, str]) -> Fault | None:
        if run.killed:
            raise Killed
        self._time.advance(self._chance.choice((0.002, 0.01, 0.05)))
        incident = incidents.pop(run.requests + 1, None)
        if incident:
            self._incident(run, incident)
        self._judge.request(run, call, on_its_way=incident is not None)
        self.covered["API calls"] += 1
        fault = weather.draw(call)
        if fault:
            self.covered["faults"] += 1
            self.covered[f"fault {fault.kind} {'after' if fault.after else 'before'}"] += 1
            if fault.kind == "timeout":
                self._time.advance(10.0)
        self._say(f"  {run.number}: {_told(call)} {fault or ''}")
        if not fault or fault.after:
            self._serving = run
        return fault

    def _incident(self, run: PassRun, incident: str) -> None:
        self._say(f"  in the middle of pass {run.number}: {incident}")
        self.covered["incidents"] += 1
        self.covered[f"incident {incident}"] += 1
        if incident == "kill":
            run.killed = True
            self._lease_then = self._kept.execute("SELECT holder, expires_at, name FROM lease").fetchall()
            raise Killed
        if incident == "second pass":
            if run.lost:
                self._rivals()
            second = self._pass(PassOptions(), Weather(None), {})
            if run.lost == "" and not isinstance(second.error, LeaseHeld):
                raise Violation(f"pass {second.number} ran beside pass {run.number}, which has the lease")
        elif incident in ("freeze", "freeze, second pass"):
            self._stand_still(run)
            if incident == "freeze, second pass":
                self._rivals()
                self._pass(PassOptions(), Weather(self._chance), {})
        elif incident in ("release", "release, second pass"):
            self._release(run)
            if incident == "release, second pass":
                self._rivals()
                self._pass(PassOptions(), Weather(self._chance), {})
        elif run.judged is not None or incident == "fate":
            happen = self._chance.choice(World.DURING_A_PASS if run.judged else [World.play_fate, World.delete_pod])
            self._happen(happen)

    def _rivals(self) -> None:
        for run in self._running:
            run.rivals = True

    def _stand_still(self, run: PassRun) -> None:
        """The process of the pass does not run for longer than its lease lasts; all others do."""
        self._time.frozen += LEASE_TERM + 1
        self._expire_lease()
        self._time.advance(LEASE_TERM + 1)
        for one in self._running:
            one.lost = "expired"

    def _release(self, run: PassRun) -> None:
        lease_release(self._engine)
        run.lost = run.lost or "released"

    def _expire_lease(self) -> None:
        self._lease_sql("UPDATE lease SET expires_at = datetime(expires_at, '-61 seconds') WHERE holder IS NOT NULL")

    def _unrelease(self) -> None:
        """Who is killed neither gives its lease back nor ends it."""
        self._kept.executemany("UPDATE lease SET holder = ?, expires_at = ? WHERE name = ?", self._lease_then)
        self._kept.commit()

    def _lease_sql(self, statement: str) -> None:
        self._kept.execute(statement)
        self._kept.commit()

    def _heard(self, change: Event) -> None:
        if self._serving is not None:
            self._judge.effect(self._serving, change)

    def _executed(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if self._running and statement.startswith("UPDATE lease SET expires_at") and self._running[-1].lost:
            self._running[-1].asked_since = True

    # Between passes

    def _happen(self, what: object = None) -> None:
        if what is None:
            weights, happenings = zip(*World.BETWEEN_PASSES, strict=True)
            what = self._chance.choices(happenings, weights)[0]
        try:
            self._say(what(self._world))  # type: ignore[operator]
        except NothingThere:
            return
        self.covered["happenings"] += 1

    def _let_time_pass(self) -> None:
        if self._chance.random() < 0.8:
            # Who was killed is succeeded when its lease has expired.
            self._expire_lease()
        self._time.advance(self._chance.choice((1.0, 20.0, 300.0, 300.0, 4000.0)))
        self._kubelet.tick()
        self._world.image_fates()

    def _settle(self) -> None:
        """After the faults stop and the kubelet has had time, two passes put everything right."""
        self._say("calm")
        self._world.calm_down()
        self._expire_lease()
        self._time.advance(4000.0)
        self._settings = self._settings.model_copy(update={"pass_deadline": 3600.0})
        for left in range(self._passes_needed(), -1, -1):
            # A person has looked at what the guard refuses.
            run = self._pass(PassOptions(allow_deletions=10_000), Weather(None), {})
            if run.report is None:
                raise Violation(f"a pass failed in calm weather: {run.error}")
            self._time.advance(PASS_EVERY)
            problems = self._judge.settled(read_rows(str(self._path)), self._world.template)
            if not problems:
                break
            if left == 0:
                raise Violation(f"not converged: {'; '.join(problems)}")
        quiet = self._pass(PassOptions(), Weather(None), {})
        if quiet.writes:
            raise Violation(f"a pass over a fleet that is as it should be wrote {quiet.writes}")
        rows = read_rows(str(self._path))
        # What an invalid row asks for is not made, and stays known until somebody mends the row.
        if left := rows.begun - rows.invalid:
            raise Violation(f"replacements are remembered that are seen through: {left}")

    def _passes_needed(self) -> int:
        """Two, one more while what was begun is made, and those for which pacing and back-off put replacements off."""
        rows = read_rows(str(self._path))
        wanted = len(rows.wanted)
        budget = max(10, int(wanted * self._settings.replace_percent / 100)) - len(rows.begun & rows.invalid)
        longest = [back_off.longest_wait(self._time.database()) for key, back_off in rows.back_offs.items()
                   if key in rows.wanted]  # fmt: skip
        waits = math.ceil(max(longest, default=0.0) / PASS_EVERY)
        return 2 + bool(rows.begun) + math.ceil(wanted / max(1, budget)) - 1 + waits

    def _say(self, line: str) -> None:
        self.trace.append(line)


_INCIDENTS = (
    "second pass", "second pass", "freeze", "freeze, second pass", "release", "release, second pass", "kill", "change",
    "change", "change", "change", "fate", "fate",
)  # fmt: skip


class Weather:
    """Which requests of one pass fail, and how. Without chance, none does."""

    def __init__(self, chance: random.Random | None) -> None:
        self._chance = chance
        self.mood = chance.choice(("calm", "calm", "calm", "drizzle", "storm", "outage", "lost answers", "denial")) if (
            chance
        ) else "calm"  # fmt: skip
        self._from = chance.randint(1, 25) if chance else 0
        self._verb = chance.choice(("create", "delete", "patch", "list")) if chance else ""
        self._seen = 0

    def draw(self, call: Call) -> Fault | None:
        """Say what goes wrong with this request."""
        self._seen += 1
        chance = self._chance
        if chance is None or self.mood == "calm":
            return None
        if self.mood == "outage":
            return Fault(chance.choice(("refused", "503", "timeout"))) if self._seen >= self._from else None
        if self.mood == "denial":
            return Fault("403") if call.verb == self._verb else None
        if self.mood == "lost answers":
            lost = call.verb not in ("list", "get") and chance.random() < 0.6
            return Fault(chance.choice(("reset", "timeout", "cut")), after=True) if lost else None
        if chance.random() > {"drizzle": 0.06, "storm": 0.4}[self.mood]:
            return None
        if call.verb == "list" and chance.random() < 0.2:
            return Fault("410")
        kind = chance.choice((*_AFTER_ONLY, *_BEFORE_ONLY, *_EITHER))
        after = kind in _AFTER_ONLY or (kind in _EITHER and chance.random() < 0.5)
        return Fault(kind, after)


def _told(call: Call) -> str:
    name = call.target.name or call.request.query.get("labelSelector", "")
    if call.verb == "create":
        name = json.loads(call.request.body)["metadata"]["name"]
    return f"{call.target.route.subresource or call.verb} {name}"


def _engine(path: Path) -> Engine:
    return connect(f"sqlite:///{path}")
