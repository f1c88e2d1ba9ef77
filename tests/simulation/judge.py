"""What no pass may ever do: watched at every request and every change of a pod, by rules of its own."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from syncctl.core.exits import exit_code_of_report
from syncctl.core.facts import Policy
from syncctl.core.fleet import FleetSettings
from syncctl.core.holds.guard import is_left_duplicate
from syncctl.core.judge import JudgedPlan
from syncctl.core.report import Outcome, Report, Result
from syncctl.core.shard import WHOLE
from syncctl.core.steps import StepKind
from syncctl.operations.planning import PassOptions
from syncctl.sandbox import PODS, Record, Store
from syncctl.sandbox.objects import Event
from syncctl.settings import Settings

from .driven import NAMESPACE, Call
from .rows import (
    BUCKET,
    BY_HAND,
    FLEET,
    GENERATION,
    INSTANCE,
    MANAGED_BY,
    MIRROR,
    REPLACED,
    SPEC,
    SPEC_HASH,
    Identity,
    Json,
    Key,
    Rows,
    Wanted,
    bucket_of,
    environment,
    image_of,
    key_of,
    key_of_environment,
    read_rows,
    same_image,
    same_resources,
    template_of,
)

PACE_AT_LEAST = 10
BEYOND_DEADLINE = 90.0
"""Seconds after its deadline in which a pass may still make what it has ended."""
BEYOND_SIGNAL = 10.0
LAST_BREATH = 40.0
"""Seconds in which a pass ends that may write no more: a request's limit, and three of the database, which asks whether
the lease is still held, stores the record and takes the lease back."""
GRACE_OF_THE_PASS = 45.0
"""Seconds after a signal at which the process is killed."""
SAME_WORDS = {"quota": 120.0}
"""Seconds for which a successor is tried that is refused with the same words all the time; 60 for the others."""
NOT_OFTEN = ("400", "422")
"""What three attempts are enough for."""
ADMITTED, OVERRIDDEN = "syncctl.io/admitted", "syncctl.io/overridden"
DRY_RUN = "-dry-run"
"""What a name ends in that is only asked about."""
SLACK = 15.0
"""Seconds that lie between two attempts."""
_SHOWN_BY = {
    "generation": GENERATION,
    "hash": SPEC_HASH,
    "client name": "syncctl.io/client-name",
    "version": "syncctl.io/version",
    "manager": MANAGED_BY,
    "instance": INSTANCE,
}
"""The mark by which each difference shows that a policy may make."""
_NEVER = datetime.min.replace(tzinfo=UTC)
_HASH = re.compile(r"[0-9a-f]{16}")
_FINISHED = ("Failed", "Succeeded", "Unknown")


class Violation(AssertionError):
    """A pass has done what no pass may do."""


@dataclass(slots=True)
class PassRun:
    """One pass as the judge sees it. It is the pass's witness."""

    number: int
    settings: Settings
    limits: FleetSettings
    options: PassOptions
    database: str
    rows: Rows = field(default_factory=Rows)
    # What it has read, when the database has lost that since.
    as_read: Rows | None = None
    # What the rows were when it confirmed its lease last, and asked what is said of what it is about to write.
    said: Rows | None = None
    selector: str = ""
    listed: dict[str, Record] = field(default_factory=dict)
    judged: JudgedPlan | None = None
    on_plan: Callable[["PassRun"], None] = lambda _run: None
    moved: dict[Key, Record] | None = None
    # The kinds of deletion that it refuses from now on.
    refuses: set[str] = field(default_factory=set)
    report: Report | None = None
    error: Exception | None = None
    killed: bool = False
    heard: int = 0
    requests: int = 0
    writes: list[tuple[str, str]] = field(default_factory=list)
    created: Counter[str] = field(default_factory=Counter)
    deleted: dict[str, str] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    disruptive: set[str] = field(default_factory=set)
    resize_refused: set[str] = field(default_factory=set)
    started: float = 0.0
    # The same by the database.
    began_at: datetime = _NEVER
    ended: float = 0.0
    # Seconds in which others were at work, or nobody was, and when a signal came: before there was a plan, or later.
    excused: float = 0.0
    told: float | None = None
    told_early: bool = False
    # What was begun: names that were written to before the deadline, and those of pods that were ended for new ones.
    begun: set[str] = field(default_factory=set)
    successors: dict[str, str] = field(default_factory=dict)
    # By name, when a creation was sent and what came of it; "" when it was taken.
    attempts: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    dry_runs: dict[str, str] = field(default_factory=dict)
    # How it lost its lease: "" while it has it.
    lost: str = ""
    asked_since: bool = False
    # Pods that it has made and that do not carry the fleet's label.
    strangers: set[str] = field(default_factory=set)
    # Of its last write.
    phase: str = ""
    rivals: bool = False
    # Whether a failover has taken what it wrote down before its first request that changes anything.
    forgotten: bool = False

    def planned(self, judged: JudgedPlan) -> None:
        """Read the rows as they are at this moment: nothing changes them between the pass's reading and this."""
        self.judged = judged
        self.rows = self.as_read or read_rows(self.database)
        self.rows.at = judged.facts.read_at
        # SQLite knows milliseconds; a saved plan is looked at twice, and the clock may step in between.
        if not self.options.expected_digest and self.rows.at < self.began_at - timedelta(milliseconds=1):
            raise Violation(f"judged suspensions by {self.rows.at}, and the pass began at {self.began_at}")
        self.on_plan(self)

    def settled(self, outcome: Outcome) -> None:
        """Count."""
        self.heard += 1

    def reported(self, report: Report) -> None:
        """Keep it, for a pass that ends with an error after it."""
        self.report = report


class Judge:
    """The rules. `looks_for_go` tells that the fleet was adopted and nobody has said that the Go service is gone."""

    def __init__(self, store: Store, fleet: str, database_time: Callable[[], datetime]) -> None:
        self._store = store
        self._fleet = fleet
        self._database_time = database_time
        # What each digest of a back-off stands for, by the rows that were there when it was stored.
        self._makes: dict[str, tuple[Any, ...]] = {}
        # In which buckets what was refused is refused until further notice, by kind; and the uids that a person let go.
        self._latched: dict[str, set[int]] = {"orphan": set(), "unsure": set()}
        self._allowed: set[str] = set()
        self.looks_for_go = False
        # Which mark of ours a policy of the cluster takes away.
        self.takes_away = ""
        # By the hash of a spec, the generation and the template's revision that pods of it were made by.
        self._specs: dict[str, tuple[str, str]] = {}
        self._environments: dict[str, Key | None] = {}
        # Keys whose pod a pass has stopped for something new, and that are not back; with the number of the pass.
        self.stopped: dict[Key, int] = {}
        self.checks = 0

    def pods(self) -> list[Record]:
        """Return all pods there are."""
        return self._store.list(PODS, NAMESPACE).records

    def ours(self, labels: dict[str, str]) -> bool:
        """Whether a pod carries our fleet's label."""
        return labels.get(FLEET) == self._fleet

    def identity(self, rows: Rows, record: Record) -> Identity:
        """Say whose a pod is."""
        if record.uid not in self._environments:
            # Nobody can change it while the pod runs.
            self._environments[record.uid] = key_of_environment(record.content)
        return Identity(rows.named(record.name), self._environments[record.uid], key_of(record.labels))

    def remember(self) -> Callable[[], None]:
        """Return what puts back all that passes have written down: for a database that loses the last seconds."""
        latched, stopped = {kind: set(buckets) for kind, buckets in self._latched.items()}, dict(self.stopped)

        def put_back() -> None:
            # What a person let go meanwhile stays let go: the pass that was told so may be at it.
            self._latched, self.stopped = latched, stopped

        return put_back

    def selected(self, run: PassRun, record: Record) -> bool:
        """Whether a pod of ours is one of those that a pass lists."""
        if not self.ours(record.labels):
            return False
        shard, bucket = run.options.shard, bucket_of(record.labels)
        return shard == WHOLE or (shard.index == 0 if bucket is None else bucket % shard.of == shard.index)

    def _claims(self, run: PassRun, record: Record) -> set[Key]:
        """Return the keys of which no pod may be made beside this one."""
        rows, ended = run.rows, record.phase in ("Failed", "Succeeded")
        if self.ours(record.labels):
            who = self.identity(rows, record)
            return set() if ended and not who.agrees else who.claims
        if FLEET in record.labels or ended:
            return set()
        claims = {rows.named(record.name)}
        if record.labels.get(MANAGED_BY) == "syncctl":
            claims.add(key_of(record.labels))
        word, _, number = record.name.partition("-")
        if former := rows.former.get(int(number)) if number.isdigit() else None:
            algorithm = "vwap" if word == "vmap" else word
            claims |= {key for key, one in rows.wanted.items() if one.client_name == former and key[1] == algorithm}
        return claims - {None}  # type: ignore[return-value]

    def _moved(self, run: PassRun, key: Key) -> Record | None:
        """Return a pod that this pass has listed, and whose name and environment disagree whether it is of this key."""
        if run.moved is None or run.judged is None:
            run.moved = {}
            for record in run.listed.values():
                who = self.identity(run.rows, record)
                if who.disagrees and self.selected(run, record) and not _has_ended(record):
                    run.moved |= dict.fromkeys(who.claims, record)
        return run.moved.get(key)

    def _mine(self, run: PassRun, key: Key) -> bool:
        shard = run.options.shard
        return key[0] % 256 % shard.of == shard.index

    # Before a request

    def request(self, run: PassRun, call: Call, now: float, *, on_its_way: bool) -> None:
        """Look at a request before it has its effect. One that is on its way when the lease is lost is let go."""
        run.requests += 1
        if call.verb == "list":
            if run.judged is None and "continue" not in call.request.query and f"{FLEET}=" in _selector(call):
                # The first is of what it looks after; that may begin again. Others look for more of what it has shown.
                run.selector = run.selector or _selector(call)
                if _selector(call) == run.selector:
                    run.listed = {record.uid: record for record in self.pods()}
                elif f"{BUCKET} notin (0,1," in _selector(call):
                    # Pods without a bucket are listed by themselves, and later.
                    run.listed = {uid: one for uid, one in run.listed.items() if bucket_of(one.labels) is not None}
                    run.listed |= {one.uid: one for one in self.pods() if bucket_of(one.labels) is None}
                elif f"{BUCKET} notin (" in _selector(call):
                    # So are those of the other shards; what it has listed as its own it knows as it was then.
                    mine = {uid for uid, one in run.listed.items() if self.selected(run, one)}
                    theirs = (one for one in self.pods() if self.ours(one.labels) and not self.selected(run, one))
                    run.listed |= {one.uid: one for one in theirs if one.uid not in mine}
            elif run.judged is None and "continue" not in call.request.query and _selector(call) == f"!{FLEET}":
                # So are the pods of the Go service, which --adopt takes over.
                run.listed = {uid: one for uid, one in run.listed.items() if FLEET in one.labels}
                run.listed |= {one.uid: one for one in self.pods() if FLEET not in one.labels}
            return
        if call.verb == "get":
            return
        self.checks += 1
        if run.judged is None:
            raise Violation(f"{call.verb} before there was a plan")
        body = json.loads(call.request.body)
        name = (call.target.name or body["metadata"]["name"]).removesuffix(DRY_RUN)
        if run.rows.unset and call.verb != "delete":
            raise Violation(f"{call.verb} of {name} while the fleet's settings are unset")
        if call.verb == "delete":
            if not (body.get("preconditions") or {}).get("uid"):
                raise Violation(f"delete of {name} without a uid")
            if "gracePeriodSeconds" in body or "gracePeriodSeconds" in call.request.query:
                raise Violation(f"delete of {name} with a grace that is not the pod's own: {body}")
        if call.verb == "patch" and not body["metadata"].get("uid"):
            raise Violation(f"patch of {name} without a uid")
        self._in_time(run, call, name, now)
        self._latch(run)
        run.writes.append((call.verb, name))
        before, run.phase = run.phase, self._phase(run, call, body)
        if not on_its_way:
            self._has_lease(run, f"{call.verb} of {name}", before)

    def answered(self, run: PassRun, call: Call, now: float, said: str) -> None:
        """Hear what came of a request; "" when all went well."""
        if call.target.route.subresource == "resize" and said.startswith("4"):
            run.resize_refused.add(call.target.name)
        if call.verb == "create":
            name = json.loads(call.request.body)["metadata"]["name"].removesuffix(DRY_RUN)
            is_dry = "dryRun" in call.request.query
            if is_dry:
                run.dry_runs[name] = said
            # A successor that is asked about is tried: what refuses the question is heard as what refuses the pod.
            if not is_dry or (said and name in run.successors):
                run.attempts.setdefault(name, []).append((now, said))

    def _in_time(self, run: PassRun, call: Call, name: str, now: float) -> None:
        """Nothing is begun after the deadline, and what was begun is not seen through for ever."""
        deadline = run.started + run.settings.pass_deadline
        over = now - deadline
        due = {
            step.name
            for step in _steps(run)
            if step.kind is StepKind.CREATE and step.held is None and step.key in run.rows.begun
        }
        # What an earlier pass has ended is gone on with after a signal, but for one that came before there was a plan.
        known = name in run.begun or name in run.successors or (name in due and not run.told_early)
        if not known and over > 0.2:
            raise Violation(f"began {call.verb} of {name} {over:.1f} s after the deadline")
        if not known and run.told is not None and now - run.told > 0.2:
            raise Violation(f"began {call.verb} of {name} {now - run.told:.1f} s after a signal")
        if over - run.excused > BEYOND_DEADLINE + 1:
            raise Violation(f"{call.verb} of {name} {over:.1f} s after the deadline")
        if run.told is not None and now - run.told - run.excused > BEYOND_SIGNAL + 1:
            raise Violation(f"{call.verb} of {name} {now - run.told:.1f} s after a signal")
        run.begun.add(name)
        made = call.verb == "create" and "dryRun" not in call.request.query and name not in run.successors
        if made and name not in due and (waiting := due - run.attempts.keys() - run.dry_runs.keys()):
            raise Violation(f"made {name}, which was merely missing, before {min(waiting)}, which a pass has ended")

    def _has_lease(self, run: PassRun, what: str, before: str) -> None:
        if run.lost == "expired":
            raise Violation(f"{what} after the lease had expired")
        if not run.lost:
            return
        if run.asked_since:
            raise Violation(f"{what}, and the database has said that the lease is lost")
        if run.phase != before:
            raise Violation(f"{what} in another batch ({run.phase}) than the lease was lost in ({before or 'none'})")

    def _phase(self, run: PassRun, call: Call, body: Json) -> str:
        """Say which part of a pass a request is of."""
        verb = call.verb
        if verb == "delete":
            uid = body["preconditions"]["uid"]
            if uid in run.strangers:
                return run.phase
            return next(
                (f"{step.kind}" for step in _steps(run) if step.observed is not None and step.observed.uid == uid), "?"
            )
        if verb == "create":
            name = body["metadata"]["name"].removesuffix(DRY_RUN)
            kinds = {step.kind for step in _steps(run) if step.desired is not None and step.desired.name == name}
            if "dryRun" in call.request.query and name not in run.successors:
                # To ask whether a successor would be taken is a part of telling the old pod to go, and what becomes of
                # a change, a part of making it.
                return next((f"{kind}" for kind in (StepKind.REPLACE, StepKind.UPDATE) if kind in kinds), "create")
            return "create" if StepKind.CREATE in kinds else "create again"
        # A note of what admission made of a pod is a part of making it.
        noted = body.get("metadata", {}).get("annotations", {}).keys() <= {ADMITTED, OVERRIDDEN}
        return run.phase if noted and "labels" not in body["metadata"] and "spec" not in body else f"{StepKind.UPDATE}"

    # The effect of a request

    def effect(self, run: PassRun, event: Event) -> None:
        """Look at a change of a pod that a request of this pass has made."""
        self.checks += 1
        record, previous = event.record, event.previous
        if record.resource is not PODS:
            raise Violation(f"changed {record.key}, which is no pod")
        run.touched.add(record.name)
        if previous is None:
            self._created(run, record)
        elif record.terminating and not previous.terminating:
            self._deleted(run, previous)
        elif event.type == "MODIFIED":
            self._patched(run, previous, record)

    def _created(self, run: PassRun, record: Record) -> None:
        key, pod = key_of(record.labels), record.content
        if self.takes_away == FLEET and FLEET not in record.labels:
            # Nobody could know: the question had no answer. It has to go at once.
            run.strangers.add(record.uid)
            return
        wanted = run.rows.wanted.get(key) if key else None
        if key is None or not self.ours(record.labels) or wanted is None or wanted.name != record.name:
            raise Violation(f"created {record.name}, for which no row asks")
        if run.rows.suspended(key) and not self._finishes(run, key):
            raise Violation(f"created {record.name}, which is suspended")
        if run.said is not None and (run.said.switched_off(key) or run.said.orphaned(key)):
            raise Violation(f"created {record.name}, and the rows had not asked for it a batch before")
        if self.identity(run.rows, record).by_environment != key:
            raise Violation(f"created {record.name} with the environment of {self.identity(run.rows, record)}")
        for other in self.pods():
            if other.uid == record.uid or key not in self._claims(run, other):
                continue
            if self.ours(other.labels) and not self.selected(run, other) and record.name in run.successors:
                # A shard that ends a pod for a new one does not look for others of its key in other buckets.
                continue
            state = "terminating" if other.terminating else "alive"
            raise Violation(f"created {record.name} while {other.name} of the same key is {state}")
        run.created[record.name] += 1
        annotations = pod["metadata"]["annotations"]
        for spec in {environment(pod).get(SPEC), annotations.get(SPEC_HASH)} - {None}:
            self._specs[spec] = annotations[GENERATION], template_of(pod)
        if self.stopped.pop(wanted.key, 0) and REPLACED not in annotations:
            raise Violation(f"created {record.name} for one that was stopped for it, and does not say so")

    def _deleted(self, run: PassRun, previous: Record) -> None:
        if previous.uid in run.strangers:
            run.strangers.discard(previous.uid)
            return
        cause, guarded = self._why(run, previous)
        run.deleted[previous.uid] = cause
        self._leaves_alone(run, previous, "deleted")
        if guarded or cause == "switched off":
            self._guarded(run, previous, cause)
        if cause in ("orphan", "switched off", "second", "ended"):
            return
        step = next(step for step in _steps(run) if step.observed and step.observed.uid == previous.uid)
        if step.desired is None:
            raise Violation(f"deleted {previous.name} for good ({step.reason}), and the rows ask for it")
        self._quota_allows(run, previous.name)
        run.successors[step.wanted.name] = previous.uid
        if cause != "finished":
            self._disrupted(run, previous.name)
            if not run.lost and not run.forgotten:
                # Another pass may have seen it alive, and so know nothing of it.
                self.stopped[step.key] = run.number

    def _quota_allows(self, run: PassRun, name: str) -> None:
        for other in run.successors:
            if (tried := run.attempts.get(other)) and tried[-1][1] == "quota":
                raise Violation(f"ended {name} for something new while {other} is refused for the quota")

    def _why(self, run: PassRun, pod: Record) -> tuple[str, bool]:
        """Explain a deletion by the rows and the list of this pass, or raise; and whether it counts for the guard."""
        rows, name = run.rows, pod.name
        if run.options.policy is not Policy.SYNC and run.options.policy is not Policy.UPSERT_ONLY:
            raise Violation(f"deleted {name} under --policy {run.options.policy}")
        seen = run.listed.get(pod.uid)
        if self._is_off_by_now(run, pod) and (seen is not None or run.created[name]):
            if run.options.policy is not Policy.SYNC:
                raise Violation(f"deleted {name} under --policy {run.options.policy}")
            return "switched off", False
        if seen is None:
            raise Violation(f"deleted {name}, a pod that was not there when the pods were listed")
        who, ended = self.identity(rows, seen), seen.phase in ("Failed", "Succeeded")
        key = who.key if self.ours(pod.labels) else rows.named(name)
        if rows.unset and (key is None or not rows.switched_off(key)):
            raise Violation(f"deleted {name}, which nobody has stopped, while the fleet's settings are unset")
        if not self.ours(pod.labels):
            return self._adopted(run, seen), False
        if who.disagrees:
            if _has_ended(seen):
                return "ended", False
            raise Violation(f"deleted {name}, which is {who.by_name} by name and {who.by_environment} by environment")
        if who.key is None:
            raise Violation(f"deleted {name}, of which nothing says whose it is")
        if not self._mine(run, who.key):
            raise Violation(f"deleted {name} of a client of another shard")
        if who.key in rows.invalid and not rows.stopped(who.key):
            raise Violation(f"deleted {name} of an invalid client")
        if other := self._moved(run, who.key):
            raise Violation(f"deleted {name}, and {other.name} may be of {who.key} too")
        if rows.switched_off(who.key) or rows.orphaned(who.key):
            if run.options.policy is not Policy.SYNC:
                raise Violation(f"deleted {name} under --policy {run.options.policy}")
            if ended:
                return "ended", False
            sure = who.agrees and rows.switched_off(who.key)
            return ("switched off", False) if sure else ("orphan", True)
        return self._replaced(run, seen, rows.wanted[who.key], who)

    def _finishes(self, run: PassRun, key: Key) -> bool:
        """Whether what was told to go for this one is known by its uid, and has gone; and nothing has it stopped."""
        uids = run.rows.begun.get(key, set())
        there = {record.uid for record in run.listed.values()}
        return bool(uids) and uids.isdisjoint(there) and not run.rows.stopped(key)

    def _leaves_alone(self, run: PassRun, pod: Record, done: str) -> None:
        """What is suspended is touched by no pass, but for what a person has stopped, by a suspension or by its row."""
        rows, ours = run.rows, self.ours(pod.labels)
        who = self.identity(rows, pod)
        keys = who.claims if ours else {rows.named(pod.name)}
        if not any(map(rows.suspended, keys)):
            return
        key = who.key if ours else rows.named(pod.name)
        if done == "deleted" and self._is_off_by_now(run, pod):
            return
        if key is None or done != "deleted" or not rows.switched_off(key):
            raise Violation(f"{done} {pod.name}, which is suspended")
        if not (rows.stopped(key) or who.agrees or not ours or _has_ended(pod)):
            raise Violation(f"deleted {pod.name}, which is suspended, and not surely switched off")

    def _is_off_by_now(self, run: PassRun, pod: Record) -> bool:
        """Whether somebody has said, since this pass has read the rows, that this pod is to go; and surely that one."""
        now = read_rows(run.database)
        now.at = self._database_time()
        who = self.identity(now, pod)
        key = who.key
        was = key is not None and (run.rows.switched_off(key) or run.rows.orphaned(key))
        return key is not None and not was and now.switched_off(key) and self._mine(run, key)

    def _adopted(self, run: PassRun, seen: Record) -> str:
        rows, key = run.rows, run.rows.named(seen.name)
        if not run.options.adopt or not _is_adoptable(seen) or key is None:
            raise Violation(f"deleted {seen.name}, a pod of somebody else")
        if key in rows.invalid and not rows.stopped(key):
            raise Violation(f"deleted {seen.name} of an invalid client")
        if not self._mine(run, key):
            raise Violation(f"deleted {seen.name} of a client of another shard")
        if key not in rows.wanted or rows.stopped(key):
            if not rows.switched_off(key):
                raise Violation(f"deleted {seen.name}, whose client nobody knows")
            return "switched off"
        return "second" if len(self._of_key(run, rows.wanted[key])) > 1 else "adopted"

    def _of_key(self, run: PassRun, wanted: Wanted) -> list[Record]:
        """Return the listed pods that are of a key: ours, and with --adopt those of the Go service."""
        found = []
        for record in run.listed.values():
            if self.ours(record.labels):
                found += [record] if self.identity(run.rows, record).key == wanted.key else []
            elif run.options.adopt and _is_adoptable(record) and run.rows.named(record.name) == wanted.key:
                found.append(record)
        return found

    def _replaced(self, run: PassRun, seen: Record, wanted: Wanted, who: Identity) -> tuple[str, bool]:
        pod, ended = seen.content, _has_ended(seen)
        if seen.name != wanted.name:
            beside = len(self._of_key(run, wanted)) > 1
            return "second" if beside else "misnamed", not (who.agrees or ended)
        if ended:
            self._backed_off(run, seen, wanted)
            return "finished", False
        said, hashed = environment(pod).get(SPEC), pod["metadata"].get("annotations", {}).get(SPEC_HASH, "")
        if self._other_spec(run, wanted, said, hashed):
            return "spec", said is None
        if not same_image(wanted, pod) and f" -> {MIRROR}" in pod["metadata"].get("annotations", {}).get(ADMITTED, ""):
            return "image that admission rewrites", False
        if not same_resources(wanted, pod):
            # An image that admission has rewritten is another's, where a note says nothing and the API server neither.
            unanswered = bool(run.dry_runs.get(seen.name)) and image_of(pod) != wanted.image
            if unanswered or not same_image(wanted, pod):
                return "image and resources", False
            if seen.name in run.resize_refused:
                return "resize refused", False
        if any(one.get("reason") == "Infeasible" for one in _resizes(pod)):
            return "resize infeasible", False
        raise Violation(f"deleted {seen.name}, which was as the rows ask")

    def _other_spec(self, run: PassRun, wanted: Wanted, said: str | None, hashed: str) -> bool:
        """Whether a pod was made of something else; what it was made of says its environment, else its annotation."""
        if said is not None and not _HASH.fullmatch(said):
            return False
        return self._specs.get(hashed if said is None else said) != (str(wanted.generation), run.rows.template)

    def _backed_off(self, run: PassRun, seen: Record, wanted: Wanted) -> None:
        """A pod that keeps ending waits, unless it is made of something else by now, or its end was never answered."""
        back_off = run.rows.back_offs.get(wanted.key)
        if back_off is None or back_off.pod == seen.uid or back_off.until <= self._database_time():
            return
        if self._makes.get(back_off.made_of) == wanted.make(run.rows.template):
            raise Violation(f"replaced {seen.name}, which has to wait until {back_off.until}")

    def _note_makes(self, run: PassRun) -> None:
        """Learn what the digests of new back-offs stand for; one stands for one thing."""
        for key, back_off in read_rows(run.database).back_offs.items():
            if back_off != run.rows.back_offs.get(key) and (wanted := run.rows.wanted.get(key)) and not run.rivals:
                make = wanted.make(run.rows.template)
                if self._makes.setdefault(back_off.made_of, make) != make:
                    raise Violation(f"the back-off of {wanted.name} takes {make} for {self._makes[back_off.made_of]}")

    def weigh(self, run: PassRun) -> None:
        """Note what a pass that has its plan refuses from now on, and what a person lets through from now on."""
        kinds, switched_off, _ = self._groups(run)
        refused = set[str]().union(*kinds.values(), switched_off)
        allowed = run.options.allow_deletions
        if allowed is not None and len(refused) <= allowed:
            # What a shard alone would let go the orphans of the others may have held: that was let go, too.
            self._allowed |= refused.union(*self._suspects(run)[0].values(), self._guests(run))
        else:
            run.refuses = set(kinds)

    def _guests(self, run: PassRun) -> set[str]:
        """Return whom nobody's word ends of the pods that another shard lists, by their labels, and this one judges."""
        found = set()
        for record in run.listed.values():
            if self.ours(record.labels) and not self.selected(run, record) and not record.terminating:
                who = self.identity(run.rows, record)
                if who.key is not None and self._mine(run, who.key) and not _has_ended(record):
                    found |= {record.uid} if self._suspicion(run, record, who) else set()
        return found

    def _settled(self, run: PassRun) -> None:
        """Note what a pass has seen the end of; whether one settled it that lost its lease only the rows tell."""
        if run.killed or run.error:
            return
        kinds, switched_off, _ = self._suspects(run)
        for kind, buckets in self._latched.items():
            if kind not in run.refuses and (not kinds[kind] or run.deleted.keys() & kinds[kind]):
                settled = set(run.options.shard.buckets)
                buckets.difference_update(settled - self._latched_by_rows(run, kind) if run.lost else settled)
        if run.options.shard == WHOLE and not run.lost:
            self._allowed &= set[str]().union(*kinds.values(), switched_off)

    def _latch(self, run: PassRun) -> None:
        """Remember what a pass has refused that has come so far as to have written it down."""
        for kind in run.refuses:
            buckets = set(run.options.shard.buckets)
            if run.rivals or run.forgotten:
                # Another pass may have seen the end of it since: which of the two came last only the rows tell.
                buckets &= self._latched_by_rows(run, kind)
            self._latched[kind].update(buckets)

    def _latched_by_rows(self, run: PassRun, kind: str) -> set[int]:
        name = {"orphan": "orphans"}.get(kind, kind)
        return {bucket for stored, bucket in read_rows(run.database).latched if stored == name}

    def _groups(self, run: PassRun) -> tuple[dict[str, set[str]], set[str], int]:
        """Return what is refused unless a person allows it, by kind; what somebody's word ends; and how many live."""
        kinds, switched_off, live = self._suspects(run)
        kinds = {kind: uids - self._allowed for kind, uids in kinds.items()}
        switched_off -= self._allowed
        # Nobody knows the limits of a fleet whose settings are unset; what a person stops is stopped all the same.
        number, limits = sum(map(len, kinds.values())), FleetSettings() if run.rows.unset else run.limits
        over = number > limits.orphan_limit or number * 100 > limits.orphan_percent * live
        mine = set(run.options.shard.buckets)
        refused = {kind: uids for kind, uids in kinds.items() if uids and (over or self._latched[kind] & mine)}
        return refused, switched_off if 0 < limits.switch_off_limit < len(switched_off) else set(), live

    def _guarded(self, run: PassRun, pod: Record, cause: str) -> None:
        kinds, switched_off, live = self._groups(run)
        for kind, uids in {**kinds, "switched off": switched_off}.items():
            if pod.uid in uids:
                raise Violation(f"deleted {pod.name} ({cause}), one of {len(uids)} of {live} pods ({kind})")

    def _suspects(self, run: PassRun) -> tuple[dict[str, set[str]], set[str], int]:
        """Return whom nobody's word ends, by kind, and whom somebody's does; of what runs, and at the least.

        The former whatever its policy leaves alone, and whatever is suspended: it has found that all the same.
        The last number is how many pods live, at the most.
        """
        kinds: dict[str, set[str]] = {"orphan": set(), "unsure": set()}
        switched_off: set[str] = set()
        live = 0
        for record in run.listed.values():
            if record.terminating:
                continue
            if self.selected(run, record):
                live += 1
                who = self.identity(run.rows, record)
                if who.key is None or not self._mine(run, who.key) or _has_ended(record):
                    continue
                if kind := self._suspicion(run, record, who):
                    kinds[kind].add(record.uid)
                elif who.agrees and run.rows.switched_off(who.key) and run.options.policy is Policy.SYNC:
                    switched_off |= set() if who.key[0] in run.rows.allowed_stops else {record.uid}
            elif run.options.adopt and _is_adoptable(record) and (key := run.rows.named(record.name)):
                live += 1
                mine = self._mine(run, key) and run.rows.switched_off(key) and not self._moved(run, key)
                mine = mine and key[0] not in run.rows.allowed_stops
                switched_off |= {record.uid} if mine else set()
        return kinds, switched_off, live

    def _suspicion(self, run: PassRun, record: Record, who: Identity) -> str:
        """Say what kind of deletion that of this pod would be, "" when it is none or is somebody's word."""
        key = who.key
        assert key is not None
        if self._moved(run, key):
            return ""
        if run.rows.orphaned(key) or (run.rows.switched_off(key) and not who.agrees):
            return "orphan" if run.rows.orphaned(key) else "unsure"
        wanted = run.rows.wanted.get(key)
        if wanted is None or run.rows.stopped(key):
            return ""
        if run.rows.unset and any(step.key == key and step.cause == "client-invalid" for step in _steps(run)):
            # Without the fleet's settings a client that names no image is invalid.
            return ""
        others = [one for one in run.listed.values() if one.uid != record.uid]
        # Whether a pod of the Go service has ended its metadata do not tell.
        claiming = any(key in {*self._claims(run, one), run.rows.named(one.name)} for one in others)
        conflicts = (step.observed for step in _steps(run) if step.kind is StepKind.CONFLICT)
        kept = any(pod is not None and pod.uid == record.uid for pod in conflicts)
        if claiming and (kept or len(self._of_key(run, wanted)) == 1):
            # A replacement does not begin beside another that may be the same.
            return ""
        if record.name != wanted.name:
            return "" if who.agrees else "unsure"
        pod = record.content
        if environment(pod).get(SPEC) is not None:
            return ""
        hashed = pod["metadata"].get("annotations", {}).get(SPEC_HASH, "")
        return "unsure" if self._other_spec(run, wanted, None, hashed) else ""

    def _disrupted(self, run: PassRun, name: str) -> None:
        run.disruptive.add(name)
        away = sum(
            self._mine(run, key) and not self._is_back(run, key)
            for key, number in self.stopped.items()
            if number != run.number and not run.rows.suspended(key)
        )
        share = int((self._suspects(run)[2] + away) * run.limits.replace_percent / 100)
        budget = max(0, max(PACE_AT_LEAST, share) - away)
        if len(run.disruptive) > budget:
            raise Violation(
                f"stopped {len(run.disruptive)} pods for something new, and {budget} are allowed: {away} are not back"
            )

    def _is_back(self, run: PassRun, key: Key) -> bool:
        """Whether a pod of the key lived when this pass listed them, or nobody asked for one."""
        wanted = run.rows.wanted.get(key)
        if wanted is None and key not in run.rows.invalid:
            return True
        return any(not record.terminating and key in self._claims(run, record) for record in run.listed.values())

    def _patched(self, run: PassRun, previous: Record, record: Record) -> None:
        if not self.ours(previous.labels):
            raise Violation(f"patched {previous.name}, a pod of somebody else")
        who = self.identity(run.rows, previous)
        if who.key is None:
            raise Violation(f"patched {previous.name}, which is of {sorted(who.claims) or 'nobody'}")
        before, after = previous.content, record.content
        # A note on what it has made itself.
        if run.options.policy is Policy.CREATE_ONLY and not run.created[record.name]:
            raise Violation(f"patched {previous.name} under --policy create-only")
        if not self._mine(run, who.key):
            for one in (before, after):
                one["metadata"].get("labels", {}).pop(BUCKET, "")
            if any(
                before["metadata"].get(part) != after["metadata"].get(part) for part in ("labels", "annotations")
            ) or (before["spec"] != after["spec"]):
                raise Violation(f"patched more than the bucket of {previous.name} of a client of another shard")
            return
        if not run.created[record.name]:
            self._leaves_alone(run, previous, "patched")
        # A resize comes before the patch that puts edited labels back: what it left alone it did not make another's.
        relabelled = key_of(record.labels) != key_of(previous.labels)
        if who.key not in run.rows.wanted or (relabelled and key_of(record.labels) != who.key):
            raise Violation(f"patched {previous.name}, for which no row asks, or made it another's")
        if other := self._moved(run, who.key):
            raise Violation(f"patched {previous.name}, and {other.name} may be of {who.key} too")
        if before["spec"] != after["spec"]:
            self._disrupted(run, record.name)

    # After a pass

    def verdict(self, run: PassRun, now: float) -> None:
        """Look at a pass that has ended."""
        took = now - run.started - run.excused
        if took > run.settings.pass_deadline + BEYOND_DEADLINE + LAST_BREATH:
            raise Violation(f"took {took:.0f} s, and its deadline is {run.settings.pass_deadline:.0f}")
        if run.told is not None and now - run.told - run.excused > GRACE_OF_THE_PASS:
            raise Violation(f"ended {now - run.told:.0f} s after a signal")
        run.ended = now
        self._note_makes(run)
        report = run.report
        if report is None or run.judged is None:
            if run.writes and not run.killed:
                raise Violation(f"ended with {run.error!r} after {len(run.writes)} writes, and without a report")
            return
        plan = run.judged.plan
        refused = any(said for tries in run.attempts.values() for _, said in tries)
        if run.strangers and not (run.lost or refused or exit_code_of_report(report) != 6):
            raise Violation(f"{len(run.strangers)} pods of nobody were made and left")
        self._latch(run)
        self._settled(run)
        if not report.lease_lost:
            self.stopped = {
                key: number
                for key, number in self.stopped.items()
                if number == run.number or not self._is_back(run, key)
            }
        if [outcome.step for outcome in report.outcomes] != list(plan.drifted):
            raise Violation("the outcomes are not those of the plan's drifted steps, one each")
        counts = report.counts()
        if sum(counts.values()) != len(plan.steps) or sum(plan.counts().values()) != len(plan.steps):
            raise Violation("the numbers do not add up")
        shown = Counter(outcome.result for outcome in report.outcomes)
        left = sum(run.rows.suspended(step.key) for step in plan.in_sync)
        shown[Result.UNCHANGED] += len(plan.in_sync) - left
        shown[Result.SUSPENDED] += left
        if any(counts[result] != shown[result] for result in Result):
            raise Violation("the counts are not those of the outcomes")
        accounted = Counter(id(step) for step in plan.steps)
        if any(times > 1 for times in accounted.values()):
            raise Violation("a step is there twice")
        self._complete(run)
        for step in plan.in_sync:
            if (pod := run.listed.get(step.pod.uid)) and _resizes(pod.content):
                raise Violation(f"{step.name} is said to be in sync, and its node has not resized it")
        for outcome in report.outcomes:
            self._true(run, outcome)
        if report.refusals and exit_code_of_report(report) not in (4, 5, 130, 143):
            raise Violation("something was refused, and the exit code does not say so")
        self._exits(run, report)
        for name, uid in run.successors.items():
            self._brought_back(run, report, name, uid)
        expected = sum(outcome.result in (Result.CREATED, Result.REPLACED) for outcome in report.outcomes)
        # What is stopped in the end was made as well as not.
        unsure = (Result.FAILED, Result.DELETED)
        uncertain = sum(outcome.result in unsure and outcome.step.desired is not None for outcome in report.outcomes)
        # A name counts once: when the answer was lost, and somebody has removed the pod since, it is made once more.
        if not run.rivals and not expected <= len(run.created) <= expected + uncertain:
            raise Violation(f"{expected} pods said to be created and {dict(run.created)} were")

    def _complete(self, run: PassRun) -> None:
        """Every pod of ours and every key that is wanted has its step."""
        steps = _steps(run)
        named = Counter(step.observed.uid for step in steps if step.observed is not None)
        # What a suspension stops has a step for each pod of it, the Go service's and another shard's too.
        claimed: set[Key] = {step.key for step in steps if step.key and run.rows.stopped(step.key)}
        for record in run.listed.values():
            if self.selected(run, record):
                claimed |= self.identity(run.rows, record).claims
                if named[record.uid] != 1:
                    raise Violation(f"{record.name} has {named[record.uid]} steps")
        # A conflict may be of a pod that is not ours, and name the key that it may be of.
        wanted = Counter(step.key for step in steps if step.desired is not None or step.cause == "client-invalid")
        for key in filter(lambda key: self._mine(run, key), [*run.rows.wanted, *run.rows.invalid]):
            # Without the fleet's settings a client that names no image is invalid, and each of its pods is told.
            doubled = wanted[key] > 1 and key in run.rows.wanted and not run.rows.unset
            if doubled or (wanted[key] == 0 and key not in claimed):
                raise Violation(f"{key} has {wanted[key]} steps")

    def _exits(self, run: PassRun, report: Report) -> None:
        """What is not done and waits for somebody, and what is down and held, makes the pass exit with 6."""
        code, results = exit_code_of_report(report), {}
        if run.rows.unset and code not in (4, 5, 130, 143):
            raise Violation(f"exit code {int(code)} while the fleet's settings are unset")
        for outcome in report.outcomes:
            if outcome.step.observed is not None:
                results[outcome.step.observed.uid] = outcome
        self._names_what_is_down(run, report)
        for record in run.listed.values():
            why = self._waits_for_somebody(run, record, results.get(record.uid))
            if why and code not in (4, 5, 6, 130, 143):
                raise Violation(f"exit code {int(code)}, and {record.name} {why}")

    def _names_what_is_down(self, run: PassRun, report: Report) -> None:
        """A frozen process that is not there is a problem of the pass; one that was stopped is none."""
        claimed: set[Key] = set()
        for record in run.listed.values():
            claimed |= self._claims(run, record)
        # What has ended and may be either of two keys is left where one is suspended, and that is said of it.
        said = {each.step.observed.uid for each in report.problems if each.step.observed is not None}
        blocked: set[Key] = set()
        for record in run.listed.values():
            blocked |= self.identity(run.rows, record).claims if record.uid in said else set()
        for outcome in report.outcomes:
            step = outcome.step
            if step.key is None or step.observed is not None or not run.rows.suspended(step.key):
                continue
            down = step.key in run.rows.wanted and step.key not in claimed and not run.rows.stopped(step.key)
            # What was begun another pass may have seen through since this one has read of it.
            named = outcome in report.problems or outcome.result is Result.REFUSED
            # Under a policy that deletes nothing, what has to go first stays as ever.
            left = outcome.result is Result.WAITING and run.options.policy is not Policy.SYNC
            named = named or run.rivals or step.key in blocked or left
            if down and not self._finishes(run, step.key) and not named:
                raise Violation(f"{step.name} is suspended and not there, and that is no problem: {outcome}")
            if run.rows.stopped(step.key) and outcome.result is Result.SUSPENDED and outcome in report.problems:
                raise Violation(f"{step.name} was stopped by a suspension, and that is a problem: {outcome}")

    def _waits_for_somebody(self, run: PassRun, record: Record, outcome: Outcome | None) -> str:
        rows, ended = run.rows, _has_ended(record)
        if record.terminating:
            return ""
        if not self.selected(run, record):
            key = rows.named(record.name) if not _is_owned(record) and not run.options.adopt else None
            if ended or not self.looks_for_go or key not in rows.wanted or not self._mine(run, key):
                return ""
            ours = [
                one for one in self._of_key(run, rows.wanted[key]) if not one.terminating and self.selected(run, one)
            ]
            return f"of the Go service runs beside {ours[0].name}" if ours else ""
        who = self.identity(rows, record)
        if who.key is None:
            if not ended and (outcome is None or outcome.result is not Result.CONFLICT):
                raise Violation(f"{record.name} is of {sorted(who.claims)}, and that is not said: {outcome}")
            return "" if ended else f"is of {sorted(who.claims)}"
        if outcome is not None and outcome.result is Result.SUSPENDED:
            down = ended and who.key in rows.wanted and rows.suspended(who.key)
            return "has ended and is suspended" if down else ""
        if rows.stopped(who.key):
            return ""
        held = outcome is not None and outcome.step.held is not None and outcome.result is Result.DEFERRED
        if not held or not ended or not who.agrees or run.options.policy is Policy.CREATE_ONLY:
            return ""
        outcomes = run.report.outcomes if run.report else ()
        if any(one.step.key == outcome.step.key and is_left_duplicate(one.step) for one in outcomes):
            # A second pod of the key runs, and is left to a person: nothing is made beside it.
            return "has ended, and another of its key is left"
        wanted = rows.wanted.get(who.key)
        if wanted is not None and record.name == wanted.name and self._other_pod(run, record, wanted):
            raise Violation(f"{record.name} has ended and is held, though its row asks for another: {outcome}")
        back_off = rows.back_offs.get(who.key)
        if wanted is not None and (back_off is None or back_off.until <= run.began_at):
            raise Violation(f"{record.name} has ended and is held, and has nothing to wait for: {outcome}")
        return "has ended and is held" if wanted is not None else ""

    def _other_pod(self, run: PassRun, record: Record, wanted: Wanted) -> bool:
        """Whether the rows ask for something else than this pod was made of; what a person did to it is not theirs."""
        pod = record.content
        said, hashed = environment(pod).get(SPEC), pod["metadata"].get("annotations", {}).get(SPEC_HASH, "")
        other_image = not same_image(wanted, pod) and not same_image(replace(wanted, image=BY_HAND), pod)
        return (
            other_image
            or not same_resources(wanted, pod)
            or ((said or hashed) in self._specs and self._other_spec(run, wanted, said, hashed))
        )

    def _brought_back(self, run: PassRun, report: Report, name: str, uid: str) -> None:
        """What was ended for something new is tried as long as there is time, whatever refuses it for the moment."""
        tried = run.attempts.get(name)
        if any(each.step.name == name and "meanwhile" in each.detail for each in report.outcomes):
            # Nobody wants it any more.
            return
        gone = not any(one.uid == uid for one in self.pods())
        if not tried or not tried[-1][1] or not gone or run.rivals or report.lease_lost or run.created[name]:
            return
        said = tried[-1][1]
        since = next(at for at, words in tried if all(later == said for when, later in tried if when >= at))
        enough = (
            run.told is not None
            or said == "409 AlreadyExists"
            or (said in NOT_OFTEN and len(tried) >= 3)
            or run.ended - run.started >= run.settings.pass_deadline + BEYOND_DEADLINE - SLACK
            or run.ended - since >= SAME_WORDS.get(said, 60.0) - SLACK
        )
        if not enough:
            took = f"{len(tried)} attempts in {run.ended - tried[0][0]:.1f} s"
            raise Violation(f"gave up {name}, whose pod it has ended, after {took}: {said}")

    def _true(self, run: PassRun, outcome: Outcome) -> None:
        """What is said of a step has happened, and what is said to be left alone was."""
        step, result = outcome.step, outcome.result
        if step.held is not None and result not in (Result.REFUSED, Result.DEFERRED, Result.SUSPENDED):
            raise Violation(f"{step.name} was held and is said to be {result}")
        pod = run.listed.get(step.observed.uid) if step.observed is not None else None
        if pod is not None and not pod.terminating and self._is_to_stop(run, pod):
            self._stopped(run, outcome)
        # A change in place does not hang on what is said of a new pod.
        hangs = step.kind is not StepKind.UPDATE or outcome.detail.startswith("cannot create pod")
        refused = hangs and run.dry_runs.get(step.name, "") not in ("", "409 AlreadyExists", "quota")
        left = result is Result.FAILED and pod is not None and pod.uid not in run.deleted
        if left and refused and "left as it is" not in outcome.detail:
            raise Violation(f"{step.name} was left as it is, and that is not said: {outcome.detail}")
        alone = result in (Result.UNCHANGED, Result.REFUSED, Result.SUSPENDED)
        if alone and step.observed is not None and step.observed.uid in run.deleted:
            raise Violation(f"{step.name} is said to be {result} and was told to go")
        if result is Result.DELETED and step.observed is not None:
            there = next((one for one in self.pods() if one.uid == step.observed.uid), None)
            if there is not None and not there.terminating:
                raise Violation(f"{step.name} is said to be deleted and was not")
        if result in (Result.CREATED, Result.REPLACED) and not run.rivals and not run.created[step.wanted.name]:
            raise Violation(f"{step.wanted.name} is said to be {result} and was not")

    def _is_to_stop(self, run: PassRun, pod: Record) -> bool:
        if not self.selected(run, pod):
            return False
        who = self.identity(run.rows, pod)
        return (
            who.agrees
            and who.key is not None
            and self._mine(run, who.key)
            and run.rows.switched_off(who.key)
            and self._moved(run, who.key) is None
        )

    def _stopped(self, run: PassRun, outcome: Outcome) -> None:
        """Stop means stop: what a person has switched off or deleted goes at once, however many they are."""
        if outcome.step.kind is not StepKind.DELETE:
            raise Violation(f"{outcome.step.name} is switched off, and the step is {outcome.step.kind}")
        key = outcome.step.key
        passes = run.rows.unset or (key is not None and key.client_id in run.rows.allowed_stops)
        limited = (run.limits.switch_off_limit and not passes) or run.options.policy is not Policy.SYNC
        if outcome.step.held is not None and not limited:
            raise Violation(f"{outcome.step.name} is switched off, and was held: {outcome.step.held.why}")

    def settled(self, rows: Rows, run: PassRun) -> list[str]:
        """Say what is not as the rows ask, after everything has calmed down."""
        problems: list[str] = []
        pods: dict[Key, list[Record]] = {}
        for record in self.pods():
            if not self.ours(record.labels):
                continue
            key = self.identity(rows, record).key
            if key is None:
                problems.append(f"{record.name} says of nobody that it is theirs")
            else:
                pods.setdefault(key, []).append(record)
        for key, found in pods.items():
            if len(found) > 1 and key not in rows.invalid:
                problems.append(f"{key} has {len(found)} pods")
            if key not in rows.wanted and key not in rows.invalid:
                problems.append(f"{found[0].name} is there, and no row asks for it")
        for key, wanted in rows.wanted.items():
            if key not in pods:
                problems.append(f"{wanted.name} is missing")
            else:
                problems += self._differences(wanted, pods[key][0], rows.template, run)
        return problems

    def _differences(self, wanted: Wanted, record: Record, template: str, run: PassRun) -> list[str]:
        pod = record.content
        annotations, labels = pod["metadata"].get("annotations", {}), record.labels
        said = environment(pod).get(SPEC, annotations.get(SPEC_HASH))
        checks: dict[str, Any] = {
            "name": record.name == wanted.name,
            "running": record.phase == "Running" and not record.terminating,
            "image": same_image(wanted, pod),
            "resources": same_resources(wanted, pod),
            "generation": annotations.get(GENERATION) == str(wanted.generation),
            "template": template_of(pod) == template,
            "spec": self._specs.get(said or "") == (str(wanted.generation), template),
            "hash": annotations.get(SPEC_HASH) == said,
            "client name": annotations.get("syncctl.io/client-name") == wanted.client_name,
            "version": annotations.get("syncctl.io/version") == str(wanted.version),
            "key": key_of(labels) == wanted.key,
            "bucket": bucket_of(labels) == wanted.key[0] % 256,
            "manager": labels.get(MANAGED_BY) == "syncctl",
            "instance": labels.get(INSTANCE) == run.limits.fleet_name,
            "resized": not _resizes(pod),
        }
        # What a policy sets otherwise is told once, and left as long as it is asked to be the same.
        noted = json.loads(annotations.get(OVERRIDDEN, "{}")).values()
        left = {
            key for pairs in noted for key, (_, made) in pairs.items() if {**labels, **annotations}.get(key) == made
        }
        kept = {what for what, key in _SHOWN_BY.items() if key in left}
        return [f"{record.name}: {what} differs" for what, fits in checks.items() if not fits and what not in kept]


def _is_owned(record: Record) -> bool:
    """Whether the pod is a fleet's or a controller's: the Go service labels nothing, and has none."""
    return FLEET in record.labels or bool(record.content["metadata"].get("ownerReferences"))


def _is_adoptable(record: Record) -> bool:
    """Whether the pod is as the Go service makes them."""
    containers = [(one["name"], one["image"]) for one in record.content["spec"]["containers"]]
    plain = not record.labels and not record.content["metadata"].get("ownerReferences")
    return plain and containers == [("algorithm-container", "algorithm-image")]


def _has_ended(record: Record) -> bool:
    """Whether a pod will never run again by itself; one whose node is lost counts, though its process may still run."""
    lost = b"NodeLost" in record.blob and record.content["status"].get("reason") == "NodeLost"
    return lost or record.phase in _FINISHED


def _resizes(pod: Json) -> list[Json]:
    """Return what the node says of a resize that it has not made."""
    return [one for one in pod["status"].get("conditions", ()) if one["type"].startswith("PodResize")]


def _steps(run: PassRun) -> tuple[Any, ...]:
    return run.judged.plan.steps if run.judged else ()


def _selector(call: Call) -> str:
    return call.request.query.get("labelSelector", "")
