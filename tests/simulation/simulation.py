"""One seed: a fleet, passes over it while everything goes wrong, and then two passes that put it right."""

import json
import math
import random
import shutil
import signal
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from kit.fleet_settings import set_fleet
from msgspec.structs import asdict
from sqlalchemy import Engine, event, update

from syncctl.core.errors import LeaseHeld, StalePlan, SyncctlError
from syncctl.core.facts import Policy
from syncctl.core.fleet import FleetSettings
from syncctl.core.report import Result
from syncctl.core.shard import WHOLE, Shard
from syncctl.db.engine import connect, writing
from syncctl.db.history import list_passes, list_steps
from syncctl.db.tables import fleet
from syncctl.kube.api import ApiCluster
from syncctl.operations.brake import Brake
from syncctl.operations.lease import revoke_lease
from syncctl.operations.planning import PassOptions, plan_sync
from syncctl.operations.sync import sync_once
from syncctl.sandbox import Kubelet, Store
from syncctl.sandbox.objects import Event
from syncctl.settings import Secret, Settings

from .database import Database
from .driven import NAMESPACE, Call, DrivenTime, Fault, Wire
from .judge import Judge, PassRun, Violation
from .rows import DEFAULT_IMAGE, read_rows
from .world import NothingThere, World

LEASE_TERM = 60.0
PASS_EVERY = 300.0
_AFTER_ONLY = ("cut",)
_BEFORE_ONLY = ("refused", "429", "401", "403")
_EITHER = ("reset", "timeout", "500", "502", "503", "504")
_OF_CREATIONS = (
    "400", "403", "404", "408", "410", "413", "422", "429 for long", "429 without", "500", "502", "503", "504",
    "conflict", "quota conflict", "quota", "limit range", "webhook",
)  # fmt: skip


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
        fleet_id = str(uuid.UUID(int=self._chance.getrandbits(128)))
        with writing(self._engine) as connection:
            connection.execute(update(fleet).values(uuid=fleet_id))
        self._running: list[PassRun] = []
        # Whether it is not a pass that is at work, but something in the middle of it.
        self._aside = False
        self._time = DrivenTime()
        self._database = Database(self._engine, self._path, self._time, self._in_a_pass)
        self._kept = self._database.kept
        self._store = Store(self._time.cluster, namespaces=(NAMESPACE,), history_limit=100)
        self._kubelet = Kubelet(self._store, start_delay=0.5, stop_delay=0.5)
        self._time.on_advance = self._kubelet.tick
        self._judge = Judge(self._store, fleet_id, self._database.time)
        self._world = World(self._chance, self._engine, self._store, self._kubelet, self._judge, self._time)
        self._serving: PassRun | None = None
        # Whose each lease is, by its name; since when and by which skew passes are kept out by one that nobody holds;
        # what was held in the last pass that had it; and what a failover puts back.
        # By nonce: a commit that is lost, and a failover, bring back the row of another pass.
        self._owners: dict[str, int] = {}
        self._kept_out: tuple[float, float] | None = None
        self._held: dict[tuple[int, str], tuple[object, ...]] = {}
        self._leases_before: dict[str, list[Any]] = {}
        self._put_back: list[Callable[[], None]] = []
        self._lease_then: list[tuple[object, ...]] = []
        self._store.subscribe(self._heard)
        self._store.subscribe(self._world.hear)
        event.listen(self._engine, "before_cursor_execute", self._executed)
        event.listen(self._engine, "after_cursor_execute", self._has_executed)
        self._numbers = 0
        self._settings = Settings(
            database_url=Secret(f"sqlite:///{self._path}"),
            concurrency=1,
            page_size=self._chance.choice((3, 7, 500)),
            pass_deadline=self._chance.choice((150.0, 150.0, 12.0)),
            history_days=1,
        )
        self._limits = FleetSettings(
            default_image=DEFAULT_IMAGE,
            orphan_limit=self._chance.choice((10, 2, 0)),
            orphan_percent=self._chance.choice((30.0, 10.0, 100.0)),
            switch_off_limit=self._chance.choice((0, 0, 0, 8)),
            replace_percent=self._chance.choice((25.0, 5.0, 50.0)),
        )

    def run(self) -> None:
        """Run it all.

        Raises:
            Violation: a pass has done what no pass may do.
        """
        for _ in range(self._chance.choice((2, 4, 6, 12, 16))):
            self._say(self._world.add_client())
        if self._chance.random() < 0.3:
            self._world.adopt_database()
            self.covered["adopted fleets"] += 1
        set_fleet(self._engine, **asdict(self._limits))
        self._say(self._world.change_template())
        for _ in range(self._chance.randint(4, 16)):
            for _ in range(self._chance.choice((0, 1, 1, 2, 3, 6))):
                self._happen()
            if self._world.go_service_runs:
                self._say(self._world.let_go_service_work())
                self.covered["work of the Go service"] += 1
            for shard in self._shards():
                self._one_pass(shard)
                self._let_time_pass()
        self._settle()

    @property
    def checks(self) -> int:
        """How many requests and changes the judge has looked at."""
        return self._judge.checks

    def close(self) -> None:
        """Give everything back."""
        self._database.close()
        self._engine.dispose()
        for path in self._path.parent.glob(f"{self._path.name}*"):
            path.unlink()

    # Passes

    def _shards(self) -> list[Shard]:
        """Return what the next round of passes is made of: the whole fleet, or all shards of some number."""
        number = self._chance.choice((1, 1, 1, 1, 1, 2, 3))
        if number > 1:
            self.covered["rounds of shards"] += 1
        return [Shard(index, number) for index in range(number)]

    def _one_pass(self, shard: Shard) -> None:
        weather = Weather(self._chance)
        incidents = {self._chance.choice((1, 2, 3, 4, 5, 7, 10, 15, 25)): self._chance.choice(_INCIDENTS)
                     for _ in range(self._chance.choice((0, 0, 1, 1, 2, 3)))}  # fmt: skip
        self._put_back.clear()
        if self._chance.random() < 0.1:
            # The standby does not hear of the pass at all, which then has the lease of nobody.
            self._replicate()
            incidents[self._chance.choice((2, 4, 8, 16))] = "failover"
        options = PassOptions(
            policy=self._chance.choice((*[Policy.SYNC] * 8, Policy.UPSERT_ONLY, Policy.CREATE_ONLY)),
            adopt=self._chance.random() < 0.2,
            allow_deletions=self._chance.randint(0, 12) if self._chance.random() < 0.1 else None,
            shard=shard,
        )
        # A plan of a shard cannot be saved, as the command line says.
        if self._chance.random() < 0.1 and options.shard == WHOLE:
            options = self._saved_plan(options)
        if self._pass(options, weather, incidents).killed and self._chance.random() < 0.9:
            # In mid-replacement, as often as not.
            self._happen(World.suspend)

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
        return PassRun(self._numbers, self._settings, self._limits, options, str(self._path), on_plan=self._judge.weigh)

    def _cluster(self, run: PassRun, weather: "Weather", incidents: dict[int, str]) -> ApiCluster:
        def before(call: Call) -> Fault | None:
            return self._before(run, call, weather, incidents)

        def after(call: Call, said: str) -> None:
            self._serving = None
            self._judge.answered(run, call, self._time.cluster(), said)

        return ApiCluster(
            Wire(self._store, before, after, self._world.admit).connection(),
            page_size=self._settings.page_size,
            request_timeout=10.0,
            sleep=self._time.advance,
        )

    def _pass(self, options: PassOptions, weather: "Weather", incidents: dict[int, str]) -> PassRun:
        run = self._new_run(options)
        self._say(f"pass {run.number} begins: {options}, {weather.mood}, {incidents}")
        aside, self._aside = self._aside, False
        run.started, run.began_at = self._time.cluster(), self._database.time()
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
            self._aside = aside
            self._database.calm_down()
        self.covered["passes"] += 1
        self._say(f"pass {run.number} ends: {run.report.summary if run.report else run.error or 'killed'}")
        for outcome in run.report.outcomes if run.report else ():
            if outcome.result is not Result.UNCHANGED:
                self._say(f"  {run.number}: {outcome.step.kind} {outcome.step.name} ({outcome.step.reason}): "
                          f"{outcome.result} {outcome.detail}")  # fmt: skip
        self._judge_pass(run)
        if not self._running:
            self._time.catch_up()
        self._world.image_fates()
        return run

    def _judge_pass(self, run: PassRun) -> None:
        self._judge.verdict(run, self._time.cluster())
        self._is_not_kept_out(run)
        rows = read_rows(str(self._path))
        for client, generation in rows.generations.items():
            asked = self._world.generations[client]
            if generation + (client in rows.asked) != asked:
                raise Violation(f"client {client} has generation {generation}, and {asked} restarts were asked for")
        if self._database.hung:
            self.covered["statements that hung"] += self._database.hung
            self._database.hung = 0
        if isinstance(run.error, LeaseHeld | StalePlan) and run.writes:
            raise Violation(f"{type(run.error).__name__}, and there were writes")
        if isinstance(run.error, LeaseHeld):
            self.covered["passes kept out by the lease"] += 1
            if run.requests:
                raise Violation("asked the cluster without a lease")
        elif run.error is not None:
            self.covered["passes that ended with an error"] += 1
            if run.report is not None:
                # Nobody knows whether its record was made, and so what is held as it was.
                self._held = {key: row for key, row in self._held.items() if not run.options.shard.has(key[0])}
        elif run.killed:
            self.covered["passes killed"] += 1
        elif run.report is not None:
            self._recorded(run)
        if run.lost:
            self.covered["leases lost"] += 1
        if run.report:
            for outcome in run.report.outcomes:
                self.covered[f"steps {outcome.step.kind} {outcome.step.cause} {outcome.result}"] += 1
                if outcome.result is Result.CREATED and run.rows.suspended(outcome.step.key):
                    self.covered["replacements finished while suspended"] += 1
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
        self._stored_once(run, last.id)

    def _stored_once(self, run: PassRun, number: int) -> None:
        """What is held as it was is not stored again."""
        columns = "uid, pod, step, cause, result, reason"
        stored = set(self._kept.execute(f"SELECT {columns} FROM standing_steps WHERE first_pass = ?", (number,)))
        held: dict[tuple[int, str], tuple[object, ...]] = {}
        for each in run.report.outcomes if run.report else ():
            step, uid = each.step, each.step.observed.uid if each.step.observed else None
            if step.held is None or step.key is None or not run.options.shard.has(step.key.client_id):
                continue
            reason = ": ".join(filter(None, (step.reason, each.detail)))
            row = (uid, step.name, step.kind.value, step.cause.value, each.result.value, reason)
            held[step.key.client_id, step.name] = row
            if row in stored and self._held.get((step.key.client_id, step.name)) == row:
                raise Violation(f"history has once more what is held as it was: {row}")
        # Of its own clients, what a pass does not hold is held no longer.
        others = {key: row for key, row in self._held.items() if not run.options.shard.has(key[0])}
        self._held = {**others, **held}

    # What happens in the middle of a pass

    def _before(self, run: PassRun, call: Call, weather: "Weather", incidents: dict[int, str]) -> Fault | None:
        if run.killed:
            raise Killed
        self._time.advance(self._chance.choice((0.002, 0.01, 0.05)))
        begun = self._time.cluster()
        incident = incidents.pop(run.requests + 1, None)
        if incident:
            self._aside = True
            try:
                self._incident(run, incident, incidents)
            finally:
                self._aside = False
            aside = self._time.cluster() - begun
            for one in self._running:
                one.excused += aside
        self._judge.request(run, call, begun, on_its_way=incident is not None)
        self.covered["API calls"] += 1
        fault = weather.draw(call) or self._refusal(call)
        if fault:
            self.covered["faults"] += 1
            self.covered[f"fault {fault.kind} {'after' if fault.after else 'before'}"] += 1
            if fault.kind == "timeout":
                self._time.advance(10.0)
        self._say(f"  {run.number}: {_told(call)} {fault or ''}")
        if not fault or fault.after:
            self._serving = run
        return fault

    def _refusal(self, call: Call) -> Fault | None:
        """Say what the cluster itself refuses a creation for: its webhook, then its quota."""
        if call.verb != "create":
            return None
        dry, world = "dryRun" in call.request.query, self._world
        if self._time.cluster() < world.webhook_away and world.webhook_of != ("creations" if dry else "dry runs"):
            return Fault("webhook")
        over = world.over_quota()
        return Fault(over) if over else None

    def _incident(self, run: PassRun, incident: str, incidents: dict[int, str]) -> None:
        self._say(f"  in the middle of pass {run.number}: {incident}")
        self.covered["incidents"] += 1
        self.covered[f"incident {incident}"] += 1
        if incident == "kill":
            run.killed = True
            self._lease_then = self._kept.execute("SELECT holder, expires_at, name FROM lease").fetchall()
            raise Killed
        if incident == "second pass":
            self._notice_losses()
            if run.lost:
                self._rivals()
            second = self._pass(PassOptions(), Weather(None), {})
            if run.lost == "" and second.requests:
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
        elif incident in _OF_THE_DATABASE:
            self._trouble(run, incident, incidents)
        elif incident == "signal":
            self._signal(run)
        elif run.judged is not None or incident == "fate":
            happen = self._chance.choice(World.DURING_A_PASS if run.judged else [World.play_fate, World.delete_pod])
            self._happen(happen)

    def _rivals(self) -> None:
        for run in self._running:
            run.rivals = True

    def _stand_still(self, run: PassRun) -> None:
        """The process of the pass does not run for longer than its lease lasts; all others do."""
        self._time.stand_still(LEASE_TERM + 1)
        for one in self._running:
            one.lost = "expired"

    def _release(self, run: PassRun) -> None:
        revoke_lease(self._engine, run.options.shard)
        run.lost = run.lost or "released"

    def _trouble(self, run: PassRun, incident: str, incidents: dict[int, str]) -> None:
        """Let something happen to the database, and see which leases are none any more."""
        if incident == "hang":
            self._database.hangs = self._chance.choice((1, 1, 2, 4, 1000))
        elif incident == "lost commit":
            self._database.loses_commit = self._chance.choice(("there", "back"))
        elif incident == "clock step":
            self._say(self._world.step_database_clock())
        elif incident == "standby falls behind":
            self._replicate()
            incidents[run.requests + self._chance.choice((2, 3, 5, 9))] = "failover"
        else:
            self._fail_over()
        self._notice_losses()

    def _notice_losses(self) -> None:
        """See whose lease has run out or is another's by what the database says."""
        now = self._database.now()
        for one in self._running:
            holder, _, expires_at = self._leases().get(str(one.options.shard), _NOBODYS)[:3]
            if one.lost == "" and (holder is None or str(expires_at) <= now or self._owner(one) != one.number):
                one.lost = "of the database"

    def _owner(self, run: PassRun) -> int | None:
        return self._owners.get(self._leases().get(str(run.options.shard), _NOBODYS)[3])

    def _replicate(self) -> None:
        """From here on the standby hears of nothing."""
        self._database.replicate()
        held = dict(self._held)
        world, judge = self._world.remember(), self._judge.remember()

        def put_back() -> None:
            world()
            judge()
            self._held = held

        self._put_back = [put_back]

    def _fail_over(self) -> None:
        """The primary is lost, and with it the last seconds."""
        if not self._put_back:
            return
        for one in self._running:
            one.forgotten = one.judged is not None
            if one.judged is None and one.options.expected_digest is None:
                one.as_read = one.as_read or read_rows(str(self._path))
        self._database.fail_over()
        self.covered["failovers"] += 1
        self._put_back.pop()()
        self._kept_out = None

    def _signal(self, run: PassRun) -> None:
        """SIGTERM, to the pass that can hear it: the outermost, in the main thread."""
        handler = signal.getsignal(signal.SIGTERM)
        if run is not self._running[0] or not isinstance(getattr(handler, "__self__", None), Brake):
            return
        run.told, run.told_early = self._time.cluster(), run.judged is None
        self.covered["signals"] += 1
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        while signal.getsignal(signal.SIGTERM) == handler:
            time.sleep(0.0001)

    def _unrelease(self) -> None:
        """Who is killed neither gives its lease back nor ends it."""
        self._kept.executemany("UPDATE lease SET holder = ?, expires_at = ? WHERE name = ?", self._lease_then)
        self._kept.commit()

    def _heard(self, change: Event) -> None:
        # Not while it is looked at, and not after it was too bad: what else happens then is nobody's.
        run, self._serving = self._serving, None
        if run is not None:
            self._judge.effect(run, change)
            self._serving = run

    def _in_a_pass(self) -> bool:
        """Whether it is a pass that asks the database, and nobody else in the middle of it."""
        return bool(self._running) and not self._aside

    def _leases(self) -> dict[str, list[Any]]:
        rows = self._kept.execute(_LEASES).fetchall()
        return {name: rest for name, *rest in rows}

    def _executed(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("UPDATE lease"):
            return
        self._leases_before = self._leases()
        if self._running and statement.startswith("UPDATE lease SET expires_at") and self._running[-1].judged:
            said = read_rows(str(self._path))
            said.at = self._database.time()
            self._running[-1].said = said
        if self._running and statement.startswith("UPDATE lease SET expires_at") and self._running[-1].lost:
            self._running[-1].asked_since = True

    def _has_executed(self, _connection: object, cursor: Any, statement: str, *_: object) -> None:
        """Nobody changes a lease that is another's, but who takes one that nobody holds."""
        if not statement.startswith("UPDATE lease") or not self._running:
            return
        run, now = self._running[-1], self._database.now()
        if "lease.expires_at > " in statement and cursor.rowcount == 1:
            # A failover may bring back what a release has taken: whose nonce is in the row has the lease again.
            run.lost, run.asked_since = "", False
        term = str(datetime.fromisoformat(now) + timedelta(seconds=LEASE_TERM + 1))
        # SQLite's clock knows milliseconds.
        soon = str(datetime.fromisoformat(now) + timedelta(milliseconds=1))
        for name, *after in cursor.connection.execute(_LEASES).fetchall():
            before = self._leases_before.get(name, _NOBODYS)
            if after == before or self._aside:
                continue
            held, owner = before[0] is not None and str(before[2]) > soon, self._owners.get(before[3])
            if held and owner != run.number and not str(before[2]) > term >= str(after[2]):
                raise Violation(f"pass {run.number} changed the lease of pass {owner}: {statement}")
            if after[0] is not None and after[3] != before[3]:
                self._owners[after[3]] = run.number

    def _is_not_kept_out(self, run: PassRun) -> None:
        """A lease that nobody holds keeps nobody out for more than a term, whatever the database's clock has done."""
        if not isinstance(run.error, LeaseHeld):
            self._kept_out = None
        elif not self._running:
            now, skew = self._time.machine(), self._time.database_skew
            if self._kept_out is None or self._kept_out[1] != skew:
                self._kept_out = now, skew
            if now - self._kept_out[0] > LEASE_TERM + 1:
                raise Violation(f"kept out by a lease that nobody has held for {now - self._kept_out[0]:.0f} s")

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
        self.covered[f"happening {what.__name__}"] += 1  # type: ignore[attr-defined]

    def _let_time_pass(self) -> None:
        self._time.advance(self._chance.choice((1.0, 20.0, 300.0, 300.0, 300.0, 4000.0)))
        self._time.catch_up()
        self._kubelet.tick()
        self._world.image_fates()

    def _settle(self) -> None:
        """After the faults stop and the kubelet has had time, two passes put everything right."""
        self._say("calm")
        self._put_back.clear()
        self._world.calm_down()
        self._world.forget_go_service()
        self._time.advance(4000.0)
        self._time.catch_up()
        self._settings = msgspec.structs.replace(self._settings, pass_deadline=3600.0)
        number = self._chance.choice((1, 1, 2))
        for left in range(self._passes_needed() + 1, -1, -1):
            for index in range(number):
                # A person has looked at what the guard refuses.
                run = self._pass(PassOptions(allow_deletions=10_000, shard=Shard(index, number)), Weather(None), {})
                if isinstance(run.error, LeaseHeld) and left:
                    # The database's clock went back after a pass was killed: the next one ends that.
                    continue
                if run.report is None:
                    raise Violation(f"a pass failed in calm weather: {run.error}")
            self._time.advance(PASS_EVERY)
            self._time.catch_up()
            problems = self._judge.settled(read_rows(str(self._path)), run)
            if not problems:
                break
            if left == 0:
                raise Violation(f"not converged: {'; '.join(problems)}")
        for index in range(number):
            quiet = self._pass(PassOptions(shard=Shard(index, number)), Weather(None), {})
            if quiet.writes:
                raise Violation(f"a pass over a fleet that is as it should be wrote {quiet.writes}")
        rows = read_rows(str(self._path))
        if rows.allowed_stops:
            raise Violation(f"stops are allowed that are carried out: {rows.allowed_stops}")
        # What an invalid row asks for is not made, and stays known until somebody mends the row.
        if begun := rows.begun.keys() - rows.invalid:
            raise Violation(f"replacements are remembered that are seen through: {begun}")

    def _passes_needed(self) -> int:
        """Two, one more while what was begun is made, and those for which pacing and back-off put replacements off."""
        rows = read_rows(str(self._path))
        wanted = len(rows.wanted)
        budget = max(10, int(wanted * self._limits.replace_percent / 100)) - len(rows.begun.keys() & rows.invalid)
        longest = [back_off.longest_wait(self._database.time()) for key, back_off in rows.back_offs.items()
                   if key in rows.wanted]  # fmt: skip
        waits = math.ceil(max(longest, default=0.0) / PASS_EVERY)
        return 2 + bool(rows.begun) + math.ceil(wanted / max(1, budget)) - 1 + waits

    def _say(self, line: str) -> None:
        self.trace.append(line)


_LEASES = "SELECT name, holder, token, expires_at, nonce FROM lease"
_NOBODYS: list[Any] = [None, 0, None, None]
_OF_THE_DATABASE = ("hang", "lost commit", "clock step", "standby falls behind", "failover")
_INCIDENTS = (
    "second pass", "second pass", "freeze", "freeze, second pass", "release", "release, second pass", "kill", "change",
    "change", "change", "change", "fate", "fate", "hang", "lost commit", "clock step", "standby falls behind", "signal",
)  # fmt: skip
_MOODS = (
    "calm", "calm", "calm", "calm", "drizzle", "storm", "outage", "lost answers", "denial", "refusals", "wall",
)  # fmt: skip


EVERYTHING = frozenset(
    {f"happening {happening.__name__}" for _, happening in World.BETWEEN_PASSES}
    | {f"happening {happening.__name__}" for happening in World.DURING_A_PASS}
    | {f"incident {incident}" for incident in (*_INCIDENTS, "failover")}
    | {f"fault {kind} before" for kind in (*_BEFORE_ONLY, *_EITHER, *_OF_CREATIONS)}
    | {f"fault {kind} after" for kind in (*_AFTER_ONLY, *_EITHER)}
    | {"rounds of shards", "failovers", "signals", "statements that hung", "leases lost", "passes killed"}
    | {"adopted fleets", "work of the Go service", "passes kept out by the lease"}
    | {"steps create missing suspended", "steps create stopped suspended", "steps delete stopped deleted"}
    | {"steps replace finished suspended", "steps delete orphan suspended"}
)
"""What is to have come to pass in a run over many seeds."""


class Weather:
    """Which requests of one pass fail, and how. Without chance, none does."""

    def __init__(self, chance: random.Random | None) -> None:
        self._chance = chance
        self.mood = chance.choice(_MOODS) if chance else "calm"
        self._from = chance.randint(1, 25) if chance else 0
        self._verb = chance.choice(("create", "delete", "patch", "list")) if chance else ""
        self._seen = 0
        self._words = chance.choice(_OF_CREATIONS) if chance else ""

    def draw(self, call: Call) -> Fault | None:
        """Say what goes wrong with this request."""
        self._seen += 1
        chance = self._chance
        if chance is None or self.mood == "calm":
            return None
        if self.mood == "outage":
            return Fault(chance.choice(("refused", "503", "timeout"))) if self._seen >= self._from else None
        if self.mood in ("refusals", "wall"):
            # After the dry run, as a rule: it was taken, and then the pod is not.
            if call.verb != "create" or ("dryRun" in call.request.query and chance.random() < 0.8):
                return None
            if self.mood == "wall":
                return Fault(self._words)
            return Fault(chance.choice(_OF_CREATIONS)) if chance.random() < 0.6 else None
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
