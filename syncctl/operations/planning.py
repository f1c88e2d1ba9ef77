"""From rows and pods to a plan that may be carried out: what a pass, `sync plan` and `status` have in common."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from msgspec.structs import replace

from syncctl.core import names
from syncctl.core.changes import Change, how_they_went
from syncctl.core.desired import DesiredState, desired_state
from syncctl.core.errors import DatabaseError, InvalidInput, StalePlan
from syncctl.core.facts import NOBODY_ELSE, Counts, Facts, Policy, Rules
from syncctl.core.fleet import Claim, FleetSettings, as_claimed, is_the_same
from syncctl.core.judge import JudgedPlan, count, home_matters, judge
from syncctl.core.manifest import Blueprint
from syncctl.core.model import ObservedPod
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.saved import SavedStep, what_differs
from syncctl.core.shard import WHOLE, Shard
from syncctl.core.snapshot import Snapshot
from syncctl.core.steps import Cause, Plan, StepKind
from syncctl.core.template import template_of
from syncctl.db.changelog import removals
from syncctl.db.engine import Engine, reading
from syncctl.db.lease import read_counts
from syncctl.db.snapshot import read_snapshot
from syncctl.kube.cluster import Cluster
from syncctl.kube.readonly import ReadOnlyCluster
from syncctl.operations.clock import SYSTEM, Clock
from syncctl.operations.world import World
from syncctl.settings import Settings

log = logging.getLogger("syncctl")


@dataclass(frozen=True, slots=True)
class PassOptions:
    """What a person may say of one run.

    `move_here` makes the namespace of this run the fleet's home, wherever that was. `expected_digest` is that of a
    saved plan, whose steps are `expected_steps`: the run does exactly that plan or nothing. `allow_pods` names pods
    that the guard is to let pass, `adopt_pods` pods of the Go service that are not as it makes them. `reason` is
    for the change log, should the run give the fleet another home.
    """

    policy: Policy = Policy.SYNC
    allow_deletions: int | None = None
    adopt: bool = False
    shard: Shard = WHOLE
    move_here: bool = False
    expected_digest: str | None = None
    expected_steps: tuple[SavedStep, ...] = ()
    allow_pods: frozenset[str] = frozenset()
    adopt_pods: frozenset[str] = frozenset()
    reason: str = ""


def plan_sync(
    engine: Engine, cluster: Cluster, settings: Settings, options: PassOptions, clock: Clock = SYSTEM
) -> JudgedPlan:
    """Return what a pass would do now. Nothing is written, to neither side.

    Raises:
        StalePlan: the plan is not the one that was expected.
    """

    def count_elsewhere(_mine: Counts) -> Counts:
        with reading(engine) as connection:
            return read_counts(connection, options.shard)

    planning = Planning(ReadOnlyCluster(cluster), settings, options, clock, count_elsewhere, removals_in(engine))
    return planning.judged(read_snapshot(engine, consume_restarts=False, shard=options.shard))


def removals_in(engine: Engine) -> Callable[[Collection[int]], list[Change]]:
    """Return what tells how the rows of clients went. Whoever may not read the change log is told nothing."""

    def look(client_ids: Collection[int]) -> list[Change]:
        try:
            with reading(engine) as connection:
                return removals(connection, client_ids)
        except DatabaseError as error:
            log.warning("how these clients vanished is not known: %s", error.message)
            return []

    return look


class Planning:
    """How one run comes to its judged plan: by its settings and options, reading each thing of the cluster once."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        options: PassOptions,
        clock: Clock,
        count_elsewhere: Callable[[Counts], Counts] = lambda _mine: NOBODY_ELSE,
        removals: Callable[[Collection[int]], list[Change]] = lambda _client_ids: [],
    ) -> None:
        self._count_elsewhere = count_elsewhere
        self._removals = removals
        self._claims = settings.claims
        self._options = options
        self._clock = clock
        self._world = World(cluster, options.shard, adopt=options.adopt, adopt_pods=options.adopt_pods)

    def observed(self, rows: Snapshot) -> list[ObservedPod]:
        """Return the pods that the run is to look after."""
        return self._world.pods(rows.fleet)

    def plan(self, rows: Snapshot, pods: list[ObservedPod]) -> Plan:
        """Compare what the rows ask for with the pods; who else holds names is looked up where that matters."""
        options, now = self._options, self._clock.now()
        desired = read_desired(rows, self._settings(rows), options.shard)
        plan = make_plan(desired, pods, now, Others())
        looks = (
            options.adopt or options.adopt_pods or rows.go_service or any(step.may_make_pod for step in plan.drifted)
        )
        others = self._world.others(rows.fleet) if looks else Others()
        created = (step.key for step in plan.drifted if step.kind is StepKind.CREATE and step.key)
        claiming = self._world.claiming(created, desired)
        if looks or claiming:
            plan = make_plan(desired, [*pods, *claiming], now, others)
        return replace(plan, guests=frozenset(pod.uid for pod in claiming)) if claiming else plan

    def hold(self, plan: Plan, rows: Snapshot, *, find_home: bool | None = None) -> JudgedPlan:
        """Hold what may not be done now.

        Where this is, and what other shards count, is asked where that matters, unless `find_home` says whether.

        Raises:
            NamespaceNotFound
        """
        facts = Facts(
            read_at=rows.now,
            now=self._clock.now(),
            cluster=self._world.address,
            namespace=self._world.namespace,
            shard=self._options.shard,
            home=rows.home,
            go_service=rows.go_service,
            back_offs=rows.back_offs,
            begun=rows.begun,
            suspensions=rows.suspensions,
            latches=rows.latches,
            allowances=rows.allowances,
            allowed_stops=rows.allowed_stops,
            settings=rows.settings,
            claims=self._claims,
        )
        if agreeing := [claim.origin for key, claim in self._claims.items() if _agrees(key, claim, rows.settings)]:
            log.warning("read no more, for the fleet has it set by itself: %s", ", ".join(agreeing))
        rules = _rules(self._settings(rows), self._options)
        if home_matters(plan, facts, rules) if find_home is None else find_home:
            facts = replace(facts, here=self._world.here())
        if orphans := {step.key.client_id for step in plan.drifted if step.cause is Cause.ORPHAN and step.key}:
            facts = replace(facts, vanished=how_they_went(self._removals(orphans), orphans))
        if facts.shard != WHOLE:
            facts = replace(facts, elsewhere=self._count_elsewhere(count(plan, facts, rules)))
        return judge(plan, facts, rules)

    def _settings(self, rows: Snapshot) -> FleetSettings:
        """The fleet's own; while they are unset, by what this process knows: then nothing comes of them but words."""
        if rows.settings is not None:
            return rows.settings
        claimed = as_claimed(self._claims)
        try:
            template_of(claimed.pod_template)
        except InvalidInput:
            # Of use to nobody, and no reason to keep a pod running that a person has stopped.
            claimed = replace(claimed, pod_template="")
        return claimed

    def judged(self, rows: Snapshot) -> JudgedPlan:
        """Observe, plan and hold.

        Raises:
            StalePlan: a plan was saved, and this is another one.
        """
        judged = self.hold(self.plan(rows, self.observed(rows)), rows)
        if self._options.expected_digest not in (None, judged.digest):
            found = what_differs(self._options.expected_steps, judged.plan)
            differs = f": {names.listed(found)}" if found else ""
            raise StalePlan(
                f"the plan was saved for other rows, other pods or another cluster; nothing was written{differs}",
                "make a new one: `syncctl sync plan --out FILE`",
            )
        return judged


def read_desired(rows: Snapshot, settings: FleetSettings, shard: Shard = WHOLE) -> DesiredState:
    """Return what the rows ask for by these settings.

    Raises:
        InvalidInput: the stored template is no pod template.
    """
    blueprint = Blueprint(template_of(settings.pod_template), rows.fleet, settings.fleet_name)
    return desired_state(rows, blueprint, settings, shard)


def _agrees(key: str, claim: Claim, settings: FleetSettings | None) -> bool:
    return settings is not None and is_the_same(key, claim, settings)


def _rules(limits: FleetSettings, options: PassOptions) -> Rules:
    return Rules(
        orphan_limit=limits.orphan_limit,
        orphan_percent=limits.orphan_percent,
        switch_off_limit=limits.switch_off_limit,
        replace_percent=limits.replace_percent,
        halt_percent=limits.halt_percent,
        policy=options.policy,
        allow_deletions=options.allow_deletions,
        allow_pods=options.allow_pods,
        move_here=options.move_here,
    )
