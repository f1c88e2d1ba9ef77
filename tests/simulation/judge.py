"""What no pass may ever do: watched at every request and every change of a pod, by rules of its own."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncctl.core.exits import exit_code_of_report
from syncctl.core.guard import Policy
from syncctl.core.report import Outcome, Report, Result
from syncctl.core.steps import Step, StepKind
from syncctl.operations.planning import JudgedPlan, PassOptions
from syncctl.sandbox import PODS, Record, Store
from syncctl.sandbox.objects import Event
from syncctl.settings import Settings

from .driven import NAMESPACE, Call
from .rows import (
    FLEET,
    GENERATION,
    REPLACED,
    Json,
    Key,
    Rows,
    Wanted,
    go_service_names,
    key_of,
    read_rows,
    same_image,
    same_resources,
    template_of,
)

PACE_AT_LEAST = 10
_FINISHED = ("Failed", "Succeeded", "Unknown")


class Violation(AssertionError):
    """A pass has done what no pass may do."""


@dataclass(slots=True)
class PassRun:
    """One pass as the judge sees it. It is the pass's witness."""

    number: int
    settings: Settings
    options: PassOptions
    template: str
    database: str
    rows: Rows = field(default_factory=Rows)
    listed: dict[str, Record] = field(default_factory=dict)
    judged: JudgedPlan | None = None
    on_plan: Callable[["PassRun"], None] = lambda _run: None
    refused: bool = False
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
    # How it lost its lease: "" while it has it.
    lost: str = ""
    asked_since: bool = False
    # Of its last write.
    phase: str = ""
    rivals: bool = False

    def planned(self, judged: JudgedPlan) -> None:
        """Read the rows as they are at this moment: nothing changes them between the pass's reading and this."""
        self.judged = judged
        self.rows = read_rows(self.database)
        self.on_plan(self)

    def settled(self, outcome: Outcome) -> None:
        """Count."""
        self.heard += 1

    def reported(self, report: Report) -> None:
        """Keep it, for a pass that ends with an error after it."""
        self.report = report


class Judge:
    """The rules. `hand_edited` holds the uids of pods whose identity somebody has changed by hand."""

    def __init__(self, store: Store, fleet: str, database_time: Callable[[], datetime]) -> None:
        self._store = store
        self._fleet = fleet
        self._database_time = database_time
        # What each digest of a back-off stands for, by the rows that were there when it was stored.
        self._makes: dict[str, tuple[Any, ...]] = {}
        # Whether orphans were refused and no pass has seen the end of it, and the uids that a person has let go.
        self._latched = False
        self._allowed: set[str] = set()
        self.hand_edited: set[str] = set()
        # Keys whose pod a pass has stopped for something new, and that are not back; with the number of the pass.
        self.stopped: dict[Key, int] = {}
        self.checks = 0

    def pods(self) -> list[Record]:
        """Return all pods there are."""
        return self._store.list(PODS, NAMESPACE).records

    def ours(self, labels: dict[str, str]) -> bool:
        """Whether a pod carries our fleet's label."""
        return labels.get(FLEET) == self._fleet

    # Before a request

    def request(self, run: PassRun, call: Call, *, on_its_way: bool) -> None:
        """Look at a request before it has its effect. One that is on its way when the lease is lost is let go."""
        run.requests += 1
        if call.verb == "list":
            if run.judged is None and "continue" not in call.request.query and f"{FLEET}=" in _selector(call):
                run.listed = {record.uid: record for record in self.pods()}
            return
        if call.verb == "get":
            return
        self.checks += 1
        if run.judged is None:
            raise Violation(f"{call.verb} before there was a plan")
        body = json.loads(call.request.body)
        name = call.target.name or body["metadata"]["name"]
        if call.verb == "delete":
            if not (body.get("preconditions") or {}).get("uid"):
                raise Violation(f"delete of {name} without a uid")
            if "gracePeriodSeconds" in body or "gracePeriodSeconds" in call.request.query:
                raise Violation(f"delete of {name} with a grace that is not the pod's own: {body}")
        if call.verb == "patch" and not body["metadata"].get("uid"):
            raise Violation(f"patch of {name} without a uid")
        run.writes.append((call.verb, name))
        before, run.phase = run.phase, self._phase(run, call, body)
        if not on_its_way:
            self._has_lease(run, f"{call.verb} of {name}", before)

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
            return next(
                (f"{step.kind}" for step in _steps(run) if step.observed is not None and step.observed.uid == uid), "?"
            )
        if verb == "create":
            name = body["metadata"]["name"]
            kinds = {step.kind for step in _steps(run) if step.desired is not None and step.desired.name == name}
            if "dryRun" in call.request.query:
                # To ask whether a successor would be taken is a part of telling the old pod to go.
                return next((f"{kind}" for kind in (StepKind.REPLACE, StepKind.UPDATE) if kind in kinds), "?")
            return "create" if StepKind.CREATE in kinds else "create again"
        # A note of what admission made of a pod is a part of making it.
        noted = body.get("metadata", {}).get("annotations", {}).keys() == {"syncctl.io/admitted"}
        return run.phase if noted else verb

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
        key = key_of(record.labels)
        wanted = run.rows.wanted.get(key) if key else None
        if not self.ours(record.labels) or wanted is None or wanted.name != record.name:
            raise Violation(f"created {record.name}, for which no row asks")
        names = go_service_names(wanted.name)
        for other in self.pods():
            same_key = self.ours(other.labels) and key_of(other.labels) == key
            same_by_go = FLEET not in other.labels and other.name in names
            if other.uid != record.uid and (same_key or same_by_go):
                state = "terminating" if other.terminating else "alive"
                raise Violation(f"created {record.name} while {other.name} of the same key is {state}")
        run.created[record.name] += 1
        if self.stopped.pop(wanted.key, 0) and REPLACED not in record.content["metadata"]["annotations"]:
            raise Violation(f"created {record.name} for one that was stopped for it, and does not say so")

    def _deleted(self, run: PassRun, previous: Record) -> None:
        cause = self._why(run, previous)
        run.deleted[previous.uid] = cause
        if cause in ("orphan", "switched off"):
            self._guarded(run, previous.uid)
        if cause not in ("orphan", "switched off", "second", "finished"):
            self._disrupted(run, previous.name)
            key = next(step.key for step in _steps(run) if step.observed and step.observed.uid == previous.uid)
            if not run.lost:
                # Another pass may have seen it alive, and so know nothing of it.
                self.stopped[key] = run.number

    def _why(self, run: PassRun, pod: Record) -> str:
        """Explain a deletion by the rows and the list of this pass, or raise."""
        rows, name = run.rows, pod.name
        if run.options.policy is not Policy.SYNC and run.options.policy is not Policy.UPSERT_ONLY:
            raise Violation(f"deleted {name} under --policy {run.options.policy}")
        seen = run.listed.get(pod.uid)
        if seen is None:
            raise Violation(f"deleted {name}, a pod that was not there when the pods were listed")
        if not self.ours(pod.labels):
            return self._adopted(run, seen)
        key = key_of(pod.labels)
        if key is None:
            raise Violation(f"deleted {name}, whose labels name nobody")
        if key in rows.invalid:
            raise Violation(f"deleted {name} of an invalid client")
        if rows.switched_off(key) or rows.orphaned(key):
            if run.options.policy is not Policy.SYNC:
                raise Violation(f"deleted {name} under --policy {run.options.policy}")
            return "orphan" if rows.orphaned(key) else "switched off"
        return self._replaced(run, seen, rows.wanted[key])

    def _adopted(self, run: PassRun, seen: Record) -> str:
        names = {
            name: client
            for client, status in run.rows.known.items()
            for name in (f"vwap-{status}", f"vmap-{status}", f"twap-{status}", f"hft-{status}")
        }
        content = seen.content
        owned = FLEET in seen.labels or content["metadata"].get("ownerReferences")
        if not run.options.adopt or owned or seen.name not in names:
            raise Violation(f"deleted {seen.name}, a pod of somebody else")
        client = names[seen.name]
        if any(key[0] == client for key in run.rows.invalid):
            raise Violation(f"deleted {seen.name} of an invalid client")
        wanted = next((one for one in run.rows.wanted.values() if seen.name in go_service_names(one.name)), None)
        if wanted is None:
            return "switched off"
        return "second" if len(self._of_key(run, wanted)) > 1 else "adopted"

    def _of_key(self, run: PassRun, wanted: Wanted) -> list[Record]:
        names = go_service_names(wanted.name) if run.options.adopt else ()
        return [
            record
            for record in run.listed.values()
            if (self.ours(record.labels) and key_of(record.labels) == wanted.key)
            or (FLEET not in record.labels and record.name in names)
        ]

    def _replaced(self, run: PassRun, seen: Record, wanted: Wanted) -> str:
        pod = seen.content
        if len(self._of_key(run, wanted)) > 1 and seen.name != wanted.name:
            return "second"
        if seen.name != wanted.name:
            return "misnamed"
        if seen.phase in _FINISHED or pod["status"].get("reason") == "NodeLost":
            self._backed_off(run, seen, wanted)
            return "finished"
        if seen.uid in self.hand_edited:
            return "edited"
        if pod["metadata"]["annotations"].get(GENERATION) != str(wanted.generation):
            return "restart"
        if template_of(pod) != run.template:
            return "template"
        if not same_resources(wanted, pod):
            if not same_image(wanted, pod):
                return "image and resources"
            if seen.name in run.resize_refused:
                return "resize refused"
        if any(one.get("reason") == "Infeasible" for one in _resizes(pod)):
            return "resize infeasible"
        raise Violation(f"deleted {seen.name}, which was as the rows ask")

    def _backed_off(self, run: PassRun, seen: Record, wanted: Wanted) -> None:
        """A pod that keeps ending waits, unless it is made of something else by now, or its end was never answered."""
        back_off = run.rows.back_offs.get(wanted.key)
        waits = back_off is not None and back_off.until > self._database_time()
        if (
            back_off
            and waits
            and back_off.pod != seen.uid
            and self._makes[back_off.made_of] == wanted.make(run.template)
        ):
            raise Violation(f"replaced {seen.name}, which has to wait until {back_off.until}")

    def _note_makes(self, run: PassRun) -> None:
        """Learn what the digests of new back-offs stand for; one stands for one thing."""
        for key, back_off in read_rows(run.database).back_offs.items():
            if back_off != run.rows.back_offs.get(key) and (wanted := run.rows.wanted.get(key)) and not run.rivals:
                make = wanted.make(run.template)
                if self._makes.setdefault(back_off.made_of, make) != make:
                    raise Violation(f"the back-off of {wanted.name} takes {make} for {self._makes[back_off.made_of]}")

    def weigh(self, run: PassRun) -> None:
        """Note what a pass that has its plan refuses from now on, and what a person lets through from now on."""
        orphans, switched_off, over, too_many_off = self._groups(run)
        suspicious = (orphans if over else set()) | (switched_off if too_many_off else set())
        allowed = run.options.allow_deletions
        if run.options.policy is not Policy.SYNC:
            return
        if allowed is not None and len(suspicious) <= allowed:
            self._allowed |= suspicious
        elif over:
            self._latched = run.refused = True

    def _settled(self, run: PassRun, report: Report) -> None:
        """Note what a pass has seen the end of; one that lost its lease has settled nothing."""
        if run.lost or run.killed or run.error:
            return
        orphans, switched_off, _ = self._suspects(run)
        deleted = any(step.cause == "orphan" and result is Result.DELETED for step, result in _results(report))
        if not run.refused and (deleted or not orphans):
            self._latched = False
        self._allowed &= orphans | switched_off

    def _groups(self, run: PassRun) -> tuple[set[str], set[str], bool, bool]:
        """Return orphans and switched-off pods that nobody has allowed, and whether either are too many."""
        orphans, switched_off, live = self._suspects(run)
        orphans, switched_off, settings = orphans - self._allowed, switched_off - self._allowed, run.settings
        number = len(orphans)
        over = number > settings.orphan_limit or number * 100 > settings.orphan_percent * live or self._latched
        return orphans, switched_off, bool(orphans) and over, 0 < settings.switch_off_limit < len(switched_off)

    def _guarded(self, run: PassRun, uid: str) -> None:
        orphans, switched_off, over, too_many_off = self._groups(run)
        if (uid in orphans and over) or (uid in switched_off and too_many_off):
            latched = " Orphans are refused until further notice." if self._latched else ""
            numbers = f"{len(orphans)} orphans and {len(switched_off)} switched-off pods that nobody has allowed"
            raise Violation(f"deleted a pod though the guard should have refused it: {numbers}.{latched}")

    def _suspects(self, run: PassRun) -> tuple[set[str], set[str], int]:
        """Return the uids of orphans and of pods that a person has switched off, and how many pods there are."""
        orphans: set[str] = set()
        switched_off: set[str] = set()
        live = 0
        go = {
            f"{word}-{status}": client
            for client, status in run.rows.known.items()
            for word in ("vmap", "vwap", "twap", "hft")
        }
        for record in run.listed.values():
            if record.terminating:
                continue
            if self.ours(record.labels):
                live += 1
                key = key_of(record.labels)
                if key and key not in run.rows.invalid:
                    orphans |= {record.uid} if run.rows.orphaned(key) else set()
                    switched_off |= {record.uid} if run.rows.switched_off(key) else set()
            elif run.options.adopt and record.name in go and FLEET not in record.labels:
                live += 1
                wanted = [one for one in run.rows.wanted.values() if record.name in go_service_names(one.name)]
                switched_off |= set() if wanted else {record.uid}
        return orphans, switched_off, live

    def _disrupted(self, run: PassRun, name: str) -> None:
        run.disruptive.add(name)
        away = sum(not self._is_back(run, key) for key, number in self.stopped.items() if number != run.number)
        share = int((self._suspects(run)[2] + away) * run.settings.replace_percent / 100)
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
        of_key = self._of_key(run, wanted) if wanted else [
            record for record in run.listed.values() if self.ours(record.labels) and key_of(record.labels) == key
        ]  # fmt: skip
        return any(not record.terminating for record in of_key)

    def _patched(self, run: PassRun, previous: Record, record: Record) -> None:
        if not self.ours(previous.labels):
            raise Violation(f"patched {previous.name}, a pod of somebody else")
        key = key_of(previous.labels)
        if key is None or key_of(record.labels) != key or key not in run.rows.wanted:
            raise Violation(f"patched {previous.name}, for which no row asks, or made it another's")
        if run.options.policy is Policy.CREATE_ONLY:
            raise Violation(f"patched {previous.name} under --policy create-only")
        before, after = previous.content["spec"], record.content["spec"]
        if before != after:
            self._disrupted(run, record.name)

    # After a pass

    def verdict(self, run: PassRun) -> None:
        """Look at a pass that has ended."""
        self._note_makes(run)
        report = run.report
        if report is None or run.judged is None:
            if run.writes and not run.killed:
                raise Violation(f"ended with {run.error!r} after {len(run.writes)} writes, and without a report")
            return
        plan = run.judged.plan
        self._settled(run, report)
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
        shown[Result.UNCHANGED] += len(plan.in_sync)
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
        expected = sum(outcome.result in (Result.CREATED, Result.REPLACED) for outcome in report.outcomes)
        uncertain = sum(outcome.result is Result.FAILED for outcome in report.outcomes)
        if not run.rivals and not expected <= sum(run.created.values()) <= expected + uncertain:
            raise Violation(f"{expected} pods said to be created and {dict(run.created)} were")

    def _complete(self, run: PassRun) -> None:
        """Every pod of ours and every key that is wanted has its step."""
        steps = _steps(run)
        named = Counter(step.observed.uid for step in steps if step.observed is not None)
        for record in run.listed.values():
            if self.ours(record.labels) and named[record.uid] != 1:
                raise Violation(f"{record.name} has {named[record.uid]} steps")
        wanted = Counter(step.key for step in steps if step.desired is not None or step.observed is None)
        for key in [*run.rows.wanted, *run.rows.invalid]:
            has_pod = any(self.ours(one.labels) and key_of(one.labels) == key for one in run.listed.values())
            if wanted[key] > 1 or (wanted[key] == 0 and not has_pod):  # type: ignore[index]
                raise Violation(f"{key} has {wanted[key]} steps")  # type: ignore[index]

    def _true(self, run: PassRun, outcome: Outcome) -> None:
        """What is said of a step has happened, and what is said to be left alone was."""
        step, result = outcome.step, outcome.result
        if step.held is not None and result not in (Result.REFUSED, Result.DEFERRED):
            raise Violation(f"{step.name} was held and is said to be {result}")
        pod = run.listed.get(step.observed.uid) if step.observed is not None else None
        if pod is not None and not pod.terminating and self._is_to_stop(run, pod):
            self._stopped(run, outcome)
        alone = result in (Result.UNCHANGED, Result.REFUSED)
        if alone and step.observed is not None and step.observed.uid in run.deleted:
            raise Violation(f"{step.name} is said to be {result} and was told to go")
        if result is Result.DELETED and step.observed is not None:
            left = next((one for one in self.pods() if one.uid == step.observed.uid), None)
            if left is not None and not left.terminating:
                raise Violation(f"{step.name} is said to be deleted and was not")
        if result in (Result.CREATED, Result.REPLACED) and not run.rivals and not run.created[step.wanted.name]:
            raise Violation(f"{step.wanted.name} is said to be {result} and was not")

    def _is_to_stop(self, run: PassRun, pod: Record) -> bool:
        key = key_of(pod.labels)
        return self.ours(pod.labels) and key is not None and run.rows.switched_off(key)

    def _stopped(self, run: PassRun, outcome: Outcome) -> None:
        """Stop means stop: what a person has switched off or deleted goes at once, however many they are."""
        if outcome.step.kind is not StepKind.DELETE:
            raise Violation(f"{outcome.step.name} is switched off, and the step is {outcome.step.kind}")
        limited = run.settings.switch_off_limit or run.options.policy is not Policy.SYNC
        if outcome.step.held is not None and not limited:
            raise Violation(f"{outcome.step.name} is switched off, and was held: {outcome.step.held.why}")

    def settled(self, rows: Rows, template: str) -> list[str]:
        """Say what is not as the rows ask, after everything has calmed down."""
        problems: list[str] = []
        pods: dict[Key, list[Record]] = {}
        for record in self.pods():
            key = key_of(record.labels)
            if self.ours(record.labels) and key is not None:
                pods.setdefault(key, []).append(record)
            elif self.ours(record.labels):
                problems.append(f"{record.name} has labels that name nobody")
        for key, found in pods.items():
            if len(found) > 1 and key not in rows.invalid:
                problems.append(f"{key} has {len(found)} pods")
            if key not in rows.wanted and key not in rows.invalid:
                problems.append(f"{found[0].name} is there, and no row asks for it")
        for key, wanted in rows.wanted.items():
            if key not in pods:
                problems.append(f"{wanted.name} is missing")
            else:
                problems += _differences(wanted, pods[key][0], template)
        return problems


def _differences(wanted: Wanted, record: Record, template: str) -> list[str]:
    pod = record.content
    annotations = pod["metadata"]["annotations"]
    checks: dict[str, Any] = {
        "name": record.name == wanted.name,
        "running": record.phase == "Running" and not record.terminating,
        "image": same_image(wanted, pod),
        "resources": same_resources(wanted, pod),
        "generation": annotations.get(GENERATION) == str(wanted.generation),
        "template": template_of(pod) == template,
        "client name": annotations.get("syncctl.io/client-name") == wanted.client_name,
        "version": annotations.get("syncctl.io/version") == str(wanted.version),
        "manager": record.labels.get("app.kubernetes.io/managed-by") == "syncctl",
        "resized": not _resizes(pod),
    }
    return [f"{record.name}: {what} differs" for what, fits in checks.items() if not fits]


def _resizes(pod: Json) -> list[Json]:
    """Return what the node says of a resize that it has not made."""
    return [one for one in pod["status"].get("conditions", ()) if one["type"].startswith("PodResize")]


def _steps(run: PassRun) -> tuple[Any, ...]:
    return run.judged.plan.steps if run.judged else ()


def _results(report: Report) -> list[tuple[Step, Result]]:
    return [(outcome.step, outcome.result) for outcome in report.outcomes]


def _selector(call: Call) -> str:
    return call.request.query.get("labelSelector", "")
