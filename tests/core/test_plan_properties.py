"""What holds for every fleet, however hostile: generated rows and pods against a small model of a cluster."""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from syncctl.core import names
from syncctl.core.desired import DesiredState
from syncctl.core.identity import Identities
from syncctl.core.manifest import pod_manifest
from syncctl.core.model import NO_ENVIRONMENT, Algorithm, Client, DesiredPod, ObservedPod, PodKey
from syncctl.core.others import Others
from syncctl.core.plan import _Planner, make_plan
from syncctl.core.steps import ACTING, Cause, Plan, Step, StepKind

from .builders import BEGUN, BLUEPRINT, FLEET, IMAGE, NOW, a_client, as_observed, desired_by, desired_pod, others

LEAVING = "2026-03-02T14:30:30Z"
CLIENT_IDS = range(1, 6)
STATUS_IDS = range(101, 106)
LEFT_ALONE = (Cause.CLIENT_INVALID, Cause.UNIDENTIFIED, Cause.UNREADABLE_SPEC, Cause.IDS_MOVED, Cause.CLAIMED)
ENDS_OR_MAKES = (StepKind.DELETE, StepKind.REPLACE, StepKind.CREATE)
RIGHT_NAMES = [names.pod_name(algorithm, status_id) for algorithm in Algorithm for status_id in STATUS_IDS]

fields = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["acme", "Zoë & Söhne"]),
        "version": st.integers(1, 2),
        "image": st.sampled_from([IMAGE, "desk/vwap:1.5"]),
        "cpu": st.sampled_from(["1500m", "1.5", "1"]),
        "memory": st.sampled_from(["1Gi", "1024Mi"]),
        "priority": st.sampled_from([0.0, 1.0, 7.5]),
        "restart_generation": st.integers(0, 1),
    }
)
flaws = st.sampled_from([{}, {}, {}, {"cpu": "1,5"}, {"image": "UPPER case"}, {"algorithms": None}])
enabled = st.sets(st.sampled_from(Algorithm)).map(" ".join)


@dataclass(frozen=True)
class Fleet:
    """Rows, tombstones, and all that is in the namespace."""

    clients: tuple[Client, ...]
    deleted: tuple[int, ...]
    pods: tuple[ObservedPod, ...]
    foreign: tuple[str, ...]
    begun: frozenset[PodKey]

    @property
    def desired(self) -> DesiredState:
        return desired_by(*self.clients, deleted=self.deleted, begun=dict.fromkeys(self.begun, BEGUN))

    def plan(self) -> Plan:
        return make_plan(self.desired, self.pods, NOW, others(*self.foreign))

    def claims(self, pod: ObservedPod) -> set[PodKey]:
        return Identities(self.desired).claims(pod)

    def keys(self) -> Counter[PodKey]:
        """Count the pods that may run each key."""
        return Counter(key for pod in self.pods for key in self.claims(pod))

    def says_nothing(self, pod: ObservedPod) -> bool:
        named = Identities(self.desired).named(pod.name)
        return named is None and names.environment_key(pod.environment) is None


@st.composite
def a_pod(draw: st.DrawFn, status_ids: dict[int, int]) -> ObservedPod:
    """Return a pod that syncctl made once, and to which anything may have happened since."""
    client_id = draw(st.sampled_from([*CLIENT_IDS, 6]))
    algorithm = draw(st.sampled_from(Algorithm))
    row: dict[str, Any] = draw(fields)
    made_for = a_client(client_id, enabled=algorithm, status_id=status_ids.get(client_id, 106), **row)
    pod = as_observed(pod_manifest(BLUEPRINT, desired_pod(made_for)))
    name = draw(st.sampled_from([pod.name] * 4 + [*RIGHT_NAMES, "twap-9"]))
    mishap = draw(
        st.sampled_from(
            [
                *[{}] * 6,
                {"deleted_at": LEAVING},
                {"phase": "Failed", "reason": "Evicted"},
                {"phase": "Succeeded", "deleted_at": LEAVING},
                {"image": "desk/vwap:hotfix"},
                {"resizing": "Deferred: no room", "resizing_since": LEAVING},
                {"annotations": {}},
                {"labels": {**pod.labels, "extra": "label"}},
                {"labels": {**pod.labels, names.INSTANCE: "another"}},
                {"labels": {**pod.labels, names.CLIENT_ID: "007"}},
                {"labels": {names.FLEET: FLEET}},
                {"labels": {**pod.labels, names.CLIENT_ID: "1"}},
                {"annotations": {**pod.annotations, names.SPEC_HASH: "edited"}},
                {"environment": NO_ENVIRONMENT},
                {"environment": pod.environment._replace(spec=None)},
                {"environment": pod.environment._replace(spec=None), "annotations": {}},
                {"environment": pod.environment._replace(spec="x")},
                {"environment": pod.environment._replace(algorithm="vmap")},
            ]
        )
    )
    return replace(pod, **{"name": name, "uid": f"uid-of-{name}", **mishap})


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    status_ids = dict(zip(CLIENT_IDS, draw(st.permutations(STATUS_IDS)), strict=True))
    clients = tuple(
        a_client(client_id, enabled=draw(enabled), status_id=status_ids[client_id], **{**draw(fields), **draw(flaws)})
        for client_id in sorted(draw(st.sets(st.sampled_from(CLIENT_IDS))))
    )
    present = {client.id for client in clients}
    deleted = tuple(draw(st.sets(st.sampled_from([*CLIENT_IDS, 6]))) - present)
    pods = tuple(draw(st.lists(a_pod(status_ids), max_size=10, unique_by=lambda pod: pod.name)))
    free = [name for name in RIGHT_NAMES if name not in {pod.name for pod in pods}]
    foreign = tuple(draw(st.sets(st.sampled_from(free), max_size=2)))
    begun = draw(st.frozensets(st.builds(PodKey, st.sampled_from([*CLIENT_IDS, 6]), st.sampled_from(Algorithm))))
    return Fleet(clients, deleted, pods, foreign, begun)


class ModelCluster:
    """A namespace. It refuses what an API server refuses, and asserts what must never be asked of one."""

    def __init__(self, fleet: Fleet, *, replaces_in_one_pass: bool) -> None:
        self.pods = {pod.name: pod for pod in fleet.pods}
        self._fleet = fleet
        self._replaces_in_one_pass = replaces_in_one_pass

    def apply(self, plan: Plan) -> None:
        for step in plan.steps:
            if step.kind in (StepKind.DELETE, StepKind.REPLACE):
                self._tell_to_go(step)
            elif step.kind is StepKind.UPDATE:
                self._update(step)
            elif step.cause is Cause.RESIZING:
                # The node comes to have room.
                self.pods[step.name] = replace(self.pods[step.name], resizing="", resizing_since="")
        for step in plan.steps:
            if step.kind is StepKind.CREATE:
                self._create(step)
        self.finish_terminations()
        if self._replaces_in_one_pass:
            for step in plan.steps:
                if step.kind is StepKind.REPLACE:
                    self._create(step)

    def finish_terminations(self) -> None:
        self.pods = {name: pod for name, pod in self.pods.items() if not pod.terminating}

    def _tell_to_go(self, step: Step) -> None:
        assert step.observed is not None
        assert self.pods[step.name] == step.observed
        assert not step.observed.terminating
        self.pods[step.name] = replace(step.observed, deleted_at=LEAVING)

    def _update(self, step: Step) -> None:
        assert step.observed is not None
        assert step.desired is not None
        fresh = as_observed(pod_manifest(BLUEPRINT, step.desired))
        self.pods[step.name] = replace(
            step.observed,
            labels={**step.observed.labels, **fresh.labels},
            annotations={**step.observed.annotations, **fresh.annotations},
            image=fresh.image,
            resources=fresh.resources,
        )

    def _create(self, step: Step) -> None:
        wanted = step.desired
        assert wanted is not None
        running = (pod for pod in self.pods.values() if not pod.finished)
        assert not any(wanted.key in self._fleet.claims(pod) for pod in running)
        if wanted.name not in self.pods and wanted.name not in self._fleet.foreign:
            self.pods[wanted.name] = as_observed(pod_manifest(BLUEPRINT, wanted))


@settings(max_examples=300)
@given(fleets(), st.booleans())
def test_two_passes_bring_any_fleet_to_rest(fleet: Fleet, replaces_in_one_pass: bool) -> None:
    cluster = ModelCluster(fleet, replaces_in_one_pass=replaces_in_one_pass)
    for _ in range(3):
        cluster.apply(make_plan(fleet.desired, cluster.pods.values(), NOW, others(*fleet.foreign)))
    plan = make_plan(fleet.desired, cluster.pods.values(), NOW, others(*fleet.foreign))
    frozen = {step.name for step in plan.steps if step.cause is Cause.IDS_MOVED}
    for step in plan.steps:
        event(f"at rest: {step.kind}, {step.cause}")
        if step.cause is Cause.CLIENT_BACK:
            # The former client's pod is of a key that nobody may touch.
            assert any(name in step.reason for name in frozen)
        elif step.cause is Cause.NAME_TAKEN:
            assert step.desired is not None
            assert step.desired.name in fleet.foreign
        elif step.cause not in LEFT_ALONE:
            assert (step.kind, step.cause) == (StepKind.KEEP, Cause.IN_SYNC)


@given(fleets())
def test_a_healthy_fleet_comes_to_all_keep_from_an_empty_cluster(fleet: Fleet) -> None:
    valid = dataclasses.replace(fleet, pods=(), foreign=())
    cluster = ModelCluster(valid, replaces_in_one_pass=True)
    cluster.apply(valid.plan())
    plan = make_plan(valid.desired, cluster.pods.values(), NOW, Others())
    in_sync = [step for step in plan.steps if step.cause is not Cause.CLIENT_INVALID]
    assert {step.key for step in in_sync} == set(valid.desired.pods)
    assert all(step.kind is StepKind.KEEP for step in in_sync)


@given(fleets(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_pods_does_not_matter(fleet: Fleet, random: Any) -> None:
    def shuffled(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(random.sample(values, len(values)))

    other = Fleet(
        shuffled(fleet.clients),
        shuffled(fleet.deleted),
        shuffled(fleet.pods),
        shuffled(fleet.foreign),
        fleet.begun,
    )
    assert other.plan() == fleet.plan()


@given(fleets())
def test_every_desired_key_and_every_pod_is_accounted_for_once(fleet: Fleet) -> None:
    plan = fleet.plan()
    wanted = Counter(step.desired.key for step in plan.steps if step.desired is not None)
    assert wanted == Counter(fleet.desired.pods.keys())
    seen = Counter(step.observed.name for step in plan.steps if step.observed is not None)
    assert seen == Counter(pod.name for pod in fleet.pods)
    assert sum(plan.counts().values()) == len(plan.steps)
    assert all(step.reason for step in plan.steps)


@given(fleets())
def test_a1_nothing_is_made_beside_a_pod_that_may_run_the_same_key(fleet: Fleet) -> None:
    pods_of = fleet.keys()
    for step in fleet.plan().steps:
        if step.kind is StepKind.CREATE:
            assert step.observed is None
            assert step.key is not None
            assert pods_of[step.key] == 0
        if step.kind is StepKind.REPLACE:
            assert step.observed is not None
            assert not step.observed.terminating
            assert fleet.claims(step.observed) == {step.key}


@given(fleets(), st.dictionaries(st.sampled_from([names.CLIENT_ID, names.ALGORITHM, names.BUCKET]), st.text()))
def test_a1_an_edited_label_ends_nothing_and_makes_nothing(fleet: Fleet, labels: dict[str, str]) -> None:
    edited = dataclasses.replace(fleet, pods=tuple(replace(pod, labels={**pod.labels, **labels}) for pod in fleet.pods))

    def acts(fleet: Fleet) -> list[tuple[str, str]]:
        # Of pods that say nothing by name and environment, the labels are heard, for blocking alone.
        fleet = dataclasses.replace(fleet, pods=tuple(pod for pod in fleet.pods if not fleet.says_nothing(pod)))
        # A label that is put back is no more than a conflict where a pod with moved ids may be of the key.
        return [(step.kind, step.name) for step in fleet.plan().drifted if step.kind in ENDS_OR_MAKES]

    assert acts(edited) == acts(fleet)


@given(fleets(), st.text())
def test_a1_an_edited_spec_hash_ends_nothing_that_has_it_in_its_environment(fleet: Fleet, spec_hash: str) -> None:
    edited = dataclasses.replace(
        fleet,
        pods=tuple(replace(pod, annotations={**pod.annotations, names.SPEC_HASH: spec_hash}) for pod in fleet.pods),
    )
    before = {step.name: step for step in fleet.plan().steps}
    for step in edited.plan().drifted:
        if step.kind is StepKind.REPLACE and step.pod.environment.spec is not None:
            assert before[step.name].kind is StepKind.REPLACE


@given(fleets())
def test_a1_what_says_nothing_or_two_things_is_never_ended_while_it_runs(fleet: Fleet) -> None:
    for step in fleet.plan().steps:
        if step.observed is not None and not step.observed.finished and len(fleet.claims(step.observed)) > 1:
            assert step.kind in (StepKind.CONFLICT, StepKind.WAIT)
        if step.observed is not None and fleet.says_nothing(step.observed):
            assert step.kind in (StepKind.CONFLICT, StepKind.WAIT)


@given(fleets())
def test_a1_a_step_that_ends_a_process_says_when_it_rests_on_one_thing_alone(fleet: Fleet) -> None:
    identities = Identities(fleet.desired)
    for step in fleet.plan().drifted:
        if step.kind not in ACTING:
            # It ends none, and so is nothing that the guard counts, or that a person can allow.
            assert not step.unsure
        elif step.kind in (StepKind.DELETE, StepKind.REPLACE) and not step.pod.finished:
            both = identities.named(step.pod.name) == names.environment_key(step.pod.environment)
            by_annotation = step.pod.environment.spec is None and step.cause in (
                Cause.SPEC_DIFFERS,
                Cause.RESTART_ASKED,
            )
            assert bool(step.unsure) >= (not both)
            assert bool(step.unsure) <= (not both or by_annotation)


@given(fleets())
def test_what_was_begun_changes_why_a_pod_is_made_and_when_and_nothing_else(fleet: Fleet) -> None:
    with_it, without = fleet.plan(), dataclasses.replace(fleet, begun=frozenset()).plan()
    assert with_it.matches == without.matches
    successors = {step.key: step for step in with_it.drifted if step.cause is Cause.REPLACEMENT_BEGUN}
    missing = {step.key: step for step in without.drifted if step.cause is Cause.MISSING}
    assert successors.keys() == missing.keys() & fleet.begun
    for key, step in successors.items():
        assert replace(step, cause=Cause.MISSING, reason=missing[key].reason) == missing[key]
    made = set(map(id, successors.values())) | {id(missing[key]) for key in successors}
    assert [step for step in with_it.drifted if id(step) not in made] == [
        step for step in without.drifted if id(step) not in made
    ]


@given(fleets())
def test_what_is_away_was_begun_and_is_asked_for_and_has_no_living_pod(fleet: Fleet) -> None:
    asked_for = {
        PodKey(client.id, algorithm)
        for client in fleet.clients
        if client.algorithms
        for algorithm in client.algorithms.on
    }
    may_live = {key for pod in fleet.pods if not pod.terminating for key in fleet.claims(pod)}
    surely_away = (fleet.begun & asked_for) - may_live
    assert surely_away <= fleet.plan().away.keys() <= (fleet.begun & asked_for)


@given(fleets())
def test_no_name_of_somebody_else_is_touched(fleet: Fleet) -> None:
    for step in fleet.plan().steps:
        if step.kind in (StepKind.CREATE, StepKind.REPLACE):
            assert step.desired is not None
            assert step.desired.name not in fleet.foreign
        if step.name in fleet.foreign:
            assert step.kind is StepKind.CONFLICT


@given(fleets())
def test_no_pod_of_an_invalid_client_is_stopped_while_its_algorithm_is_enabled(fleet: Fleet) -> None:
    protected = {
        PodKey(client.client_id, algorithm)
        for client in fleet.desired.invalid.values()
        for algorithm in client.algorithms.on
    }
    for step in fleet.plan().steps:
        if step.kind is StepKind.DELETE and step.cause is Cause.IDS_MOVED:
            # By its name it is another key's: it claims none, and is removed because it has ended, which stops nothing.
            assert step.pod.finished
            assert not step.pod.terminating
        elif step.key in protected:
            assert step.kind in (StepKind.KEEP, StepKind.WAIT, StepKind.CONFLICT)
            assert step.cause in (Cause.CLIENT_INVALID, Cause.TERMINATING, Cause.IDS_MOVED, Cause.UNIDENTIFIED)


@given(fleets())
def test_an_empty_database_deletes_the_living_pods_of_the_fleet_and_no_others(fleet: Fleet) -> None:
    plan = dataclasses.replace(fleet, clients=(), deleted=()).plan()
    deleted = {step.name for step in plan.steps if step.kind is StepKind.DELETE}
    without_rows = dataclasses.replace(fleet, clients=(), deleted=())
    assert deleted == {pod.name for pod in fleet.pods if not without_rows.says_nothing(pod) and not pod.terminating}
    assert {step.cause for step in plan.steps if step.kind is StepKind.DELETE} <= {Cause.ORPHAN}


@given(fleets())
def test_no_terminating_pod_is_told_to_go_again(fleet: Fleet) -> None:
    for step in fleet.plan().steps:
        if step.observed is not None and step.observed.terminating:
            assert step.kind in (StepKind.WAIT, StepKind.CONFLICT)


@given(fleets())
def test_a_plan_is_sorted_by_kind_and_what_is_to_do_by_priority(fleet: Fleet) -> None:
    order = list(StepKind)

    def place(step: Step) -> tuple[int, bool, float]:
        priority = step.desired.priority if step.desired and step.kind is not StepKind.KEEP else 0.0
        return order.index(step.kind), step.cause is not Cause.REPLACEMENT_BEGUN, -priority

    places = [place(step) for step in fleet.plan().steps]
    assert places == sorted(places)


@given(fleets())
def test_a_pod_that_is_kept_is_the_pod_that_would_be_made(fleet: Fleet) -> None:
    for step in fleet.plan().steps:
        if step.cause is Cause.IN_SYNC:
            assert step.desired is not None
            assert step.observed is not None
            assert_equal_pods(step.desired, step.observed)


def assert_equal_pods(wanted: DesiredPod, live: ObservedPod) -> None:
    fresh = as_observed(pod_manifest(BLUEPRINT, wanted))
    assert (live.name, live.image, live.resources) == (fresh.name, fresh.image, fresh.resources)
    assert live.labels.items() >= fresh.labels.items()
    assert live.annotations.items() >= fresh.annotations.items()


@settings(max_examples=300)
@given(fleets())
def test_the_short_way_keeps_only_what_the_table_keeps(fleet: Fleet) -> None:
    planner = _Planner(fleet.desired, NOW, others(*fleet.foreign))
    wanted_of = {wanted.name: wanted for wanted in fleet.desired.pods.values()}
    for pod in fleet.pods:
        wanted = wanted_of.get(pod.name)
        if wanted is not None and planner._is_as_made(wanted, pod):
            event("taken")
            assert planner._existing(wanted, pod) is None
