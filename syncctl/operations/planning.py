"""From rows and pods to a plan that may be carried out: what a pass and `sync plan` have in common."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from syncctl.core import names
from syncctl.core.desired import DesiredState, PodDefaults, desired_state
from syncctl.core.errors import AccessDenied, StalePlan
from syncctl.core.guard import Counts, GuardLimits, Policy, Refusal, count, guard, keep_home, restrict
from syncctl.core.identity import Identities
from syncctl.core.latch import to_latch
from syncctl.core.manifest import Blueprint
from syncctl.core.model import (
    Allowance,
    BackOff,
    Begun,
    GuardKind,
    Home,
    Latch,
    ObservedPod,
    PodKey,
    Snapshot,
)
from syncctl.core.others import Others
from syncctl.core.pacing import halt, heal, pace
from syncctl.core.plan import make_plan
from syncctl.core.saved import plan_digest
from syncctl.core.shard import WHOLE, Shard
from syncctl.core.steps import Plan, Step, StepKind
from syncctl.core.template import PodTemplate
from syncctl.db.engine import Engine, reading
from syncctl.db.lease import read_counts
from syncctl.db.snapshot import read_snapshot
from syncctl.kube.cluster import Cluster
from syncctl.kube.readonly import ReadOnlyCluster
from syncctl.operations.clock import SYSTEM, Clock
from syncctl.operations.connect import read_template
from syncctl.settings import Settings

log = logging.getLogger("syncctl")


@dataclass(frozen=True, slots=True)
class PassOptions:
    """What a person may say of one run.

    `move_here` makes the namespace of this run the fleet's home, wherever that was. `expected_digest` is that of a
    saved plan: the run does exactly that plan or nothing. `allow_pods` names pods that the guard is to let pass.
    """

    policy: Policy = Policy.SYNC
    allow_deletions: int | None = None
    adopt: bool = False
    shard: Shard = WHOLE
    move_here: bool = False
    expected_digest: str | None = None
    allow_pods: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class JudgedPlan:
    """A plan with its holds, what the guard refused, the back-offs that it will leave, and the cluster it is for.

    `begun` holds what earlier passes have begun, as far as this one knows, and `home` where the fleet's pods were made
    so far. `new_home` is to be stored before the first pod is made; None when there is nothing to store. `latches` and
    `allowances` are those that the guard has gone by; `latch` and `allow` are to be stored before anything is done.
    `read_at` is when all of that was read, by the database's clock.
    """

    plan: Plan
    refusals: tuple[Refusal, ...]
    back_offs: Mapping[PodKey, BackOff | None]
    begun: Mapping[PodKey, Begun]
    cluster: str
    read_at: datetime
    latches: Mapping[GuardKind, Latch]
    allowances: frozenset[Allowance]
    latch: Mapping[GuardKind, frozenset[int]]
    allow: tuple[Step, ...]
    home: Home | None = None
    new_home: Home | None = None

    @property
    def digest(self) -> str:
        """What identifies this plan, for this cluster."""
        return plan_digest(self.plan, self.cluster)


def plan_sync(
    engine: Engine, cluster: Cluster, settings: Settings, options: PassOptions, clock: Clock = SYSTEM
) -> JudgedPlan:
    """Return what a pass would do now. Nothing is written, to neither side.

    Raises:
        StalePlan: the plan is not the one that was expected.
    """
    with reading(engine) as connection:
        elsewhere = read_counts(connection, options.shard)
    fleet = Planner(ReadOnlyCluster(cluster), settings, options, clock, lambda _mine: elsewhere)
    return fleet.judged(read_snapshot(engine, consume_restarts=False, shard=options.shard, accept=fleet.accept))


class Planner:
    """What turns a snapshot into a judged plan: the settings, the options, and the pods, listed once."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        options: PassOptions,
        clock: Clock,
        count_elsewhere: Callable[[Counts], Counts],
    ) -> None:
        self._count_elsewhere = count_elsewhere
        self._cluster = cluster
        self._settings = settings
        self._options = options
        self._clock = clock
        self._template = read_template(settings.pod_template)
        self._observed: list[ObservedPod] | None = None
        self._others: Others | None = None
        self._outside: list[tuple[ObservedPod, set[PodKey]]] | None = None
        self._here: Home | None = None
        self._knows_here = False

    def judged(self, snapshot: Snapshot) -> JudgedPlan:
        """Plan, and hold what may not be done now."""
        now = self._clock.now()
        settings, options = self._settings, self._options
        limits = GuardLimits(settings.orphan_limit, settings.orphan_percent, settings.switch_off_limit)
        plan = restrict(self._plan(snapshot, now), options.policy)
        here = self._read_here() if self._needs_home(plan, snapshot.home) else None
        plan, astray = keep_home(plan, None if options.move_here else snapshot.home, here)
        latches, allowances = snapshot.latches, snapshot.allowances
        elsewhere = self._count_elsewhere(count(plan, allowances))
        guarded = guard(
            plan,
            limits,
            options.allow_deletions,
            elsewhere,
            latches=latches,
            allowances=allowances,
            named=options.allow_pods,
        )
        plan, back_offs = heal(guarded.plan, snapshot.back_offs, snapshot.now)
        plan = pace(halt(plan, settings.halt_percent, now), settings.replace_percent)
        new_home = None if astray or (here and snapshot.home and here.uid == snapshot.home.uid) else here
        return JudgedPlan(
            plan,
            astray + guarded.refusals,
            back_offs,
            snapshot.begun,
            self._cluster.address,
            snapshot.now,
            latches,
            allowances,
            to_latch(guarded.refused, latches, options.shard),
            guarded.allowed,
            home=snapshot.home,
            new_home=new_home,
        )

    def expect(self, snapshot: Snapshot) -> None:
        """Return when the plan is the one that was expected.

        Raises:
            StalePlan
        """
        if self._options.expected_digest not in (None, self.judged(snapshot).digest):
            raise StalePlan(
                "the plan was saved for other rows, other pods or another cluster; nothing was written",
                "make a new one: `syncctl sync plan --out FILE`",
            )

    def accept(self, snapshot: Snapshot) -> None:
        """As expect, when a plan is expected at all."""
        if self._options.expected_digest is not None:
            self.expect(snapshot)

    def _plan(self, snapshot: Snapshot, now: datetime) -> Plan:
        desired = read_desired(snapshot, self._settings, self._template, self._options.shard)
        if self._observed is None:
            self._observed = self._read_own(snapshot.fleet)
        plan = make_plan(desired, self._observed, now, self._others or Others())
        if self._others is None and (self._options.adopt or snapshot.go_service or _makes_pods(plan)):
            self._others = self._read_others(snapshot.fleet)
        created = {step.key for step in plan.drifted if step.kind is StepKind.CREATE}
        if self._outside is None and created and desired.shard != WHOLE:
            self._outside = self._read_outside(desired)
        claiming = [pod for pod, claims in self._outside or () if not claims.isdisjoint(created)]
        if self._others or claiming:
            plan = make_plan(desired, [*self._observed, *claiming], now, self._others or Others())
        return plan

    def _read_own(self, fleet: str) -> list[ObservedPod]:
        """List the pods of this shard; one of them also takes those whose bucket is none."""
        shard = self._options.shard
        pods = self._cluster.list_pods(names.fleet_selector(fleet, shard))
        if shard != WHOLE and shard.index == 0:
            pods += _not_among(pods, self._cluster.list_pods(names.outside_selector(fleet, WHOLE)))
        return pods

    def _read_outside(self, desired: DesiredState) -> list[tuple[ObservedPod, set[PodKey]]]:
        """List the fleet's pods that other shards look after, and return those that may run a key of this one's.

        The label by which they are shared out anybody can edit: what seems to be missing here may be running there.
        """
        identities = Identities(desired)
        pods = self._cluster.list_pods(names.outside_selector(desired.blueprint.fleet, desired.shard))
        found = ((pod, identities.claims(pod)) for pod in _not_among(self._observed or (), pods))
        return [(pod, keys) for pod, keys in found if any(desired.shard.has(key.client_id) for key in keys)]

    def _needs_home(self, plan: Plan, home: Home | None) -> bool:
        """Whether it matters where this is: only to who makes pods, and once to a fleet whose pods are here already."""
        unsettled = self._options.move_here or (home is None and plan.live > 0)
        return unsettled or any(step.may_make_pod and step.held is None for step in plan.drifted)

    def _read_here(self) -> Home | None:
        """Return where this is; None, with a warning, when the cluster's administrator lets nobody know."""
        if not self._knows_here:
            try:
                self._here = Home(self._cluster.home(), self._cluster.address)
            except AccessDenied as error:
                if error.status != 403:
                    raise
                log.warning(
                    "whether this is the fleet's home is not checked, so pods may be made twice: %s",
                    error.message,
                    extra={"hint": "let its Role get namespaces, as in k8s-cronjob.yaml: a pass reads its own by name"},
                )
            self._knows_here = True
        return self._here

    def _read_others(self, fleet: str) -> Others:
        """Look up who holds which name: only a new pod needs one, so only then."""
        pods = tuple(self._cluster.list_others(names.foreign_selector(fleet)))
        if not self._options.adopt:
            return Others(pods)
        unowned = _not_among(self._observed or (), self._cluster.list_pods(names.unowned_selector()))
        return Others(pods, tuple(pod for pod in unowned if _of_the_go_service(pod)))


def _not_among(known: Iterable[ObservedPod], pods: Iterable[ObservedPod]) -> list[ObservedPod]:
    """Return those of a later list that an earlier one has not found: labels may be edited in between.

    Found twice, a pod would be taken for a second one of its key, and be ended.
    """
    uids = {pod.uid for pod in known}
    return [pod for pod in pods if pod.uid not in uids]


def _of_the_go_service(pod: ObservedPod) -> bool:
    """Whether the pod may be one of its: it labels nothing, and has no controller."""
    return not pod.controlled and names.owner(pod.labels) == names.NOT_OURS


def read_desired(snapshot: Snapshot, settings: Settings, template: PodTemplate, shard: Shard = WHOLE) -> DesiredState:
    """Return what the snapshot asks for under these settings."""
    blueprint = Blueprint(template, snapshot.fleet, settings.fleet_name)
    defaults = PodDefaults(settings.default_image, settings.default_cpu, settings.default_memory)
    return desired_state(snapshot, blueprint, defaults, shard)


def _makes_pods(plan: Plan) -> bool:
    return any(step.may_make_pod for step in plan.drifted)
