"""Heal, halt and pace: no more at a time than can be undone. Limits are tested at the limit and one beyond."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from syncctl.core import names
from syncctl.core.holds import back_off
from syncctl.core.holds import halt as halting
from syncctl.core.holds import pace as pacing
from syncctl.core.holds.back_off import HEALED_AFTER
from syncctl.core.holds.pace import AT_LEAST
from syncctl.core.manifest import Blueprint, pod_manifest
from syncctl.core.memory import BackOff, Begun
from syncctl.core.model import Client, ContainerState, ObservedPod, PodKey
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.steps import Cause, Hold, HoldKind, Plan, Step, StepKind
from syncctl.core.template import make_template

from .builders import BLUEPRINT, FLEET, NOW, RULES, a_client, as_observed, desired_by, facts_of, key, pod_of

PERCENT = 25.0
HALT = 20.0
# So many that the percentage is more than AT_LEAST.
MANY = int(AT_LEAST * 100 / PERCENT) * 3
LONG_AGO = "2026-03-01T09:00:00Z"
OTHER_TEMPLATE = Blueprint(
    make_template({"apiVersion": "v1", "kind": "Pod", "spec": {"nodeSelector": {"disk": "ssd"}}}), FLEET, "desk"
)
CRASHING = (ContainerState("algorithm", waiting="CrashLoopBackOff", last_terminated="Error", exit_code=1),)
PULLING = (ContainerState("algorithm", waiting="ImagePullBackOff", message="no such image"),)


def planned(
    wanted: list[Client], pods: list[ObservedPod], *, blueprint: Blueprint = BLUEPRINT, now: datetime = NOW
) -> Plan:
    """Return the plan of these rows and pods."""
    return make_plan(desired_by(*wanted, blueprint=blueprint), pods, now, Others())


def pace(plan: Plan, percent: float) -> Plan:
    """Return the plan at the pace."""
    return plan.holding(pacing.hold(plan, facts_of(), replace(RULES, replace_percent=percent)).holds)


def halt(plan: Plan, percent: float, now: datetime) -> Plan:
    """Return the plan with what is halted."""
    return plan.holding(halting.hold(plan, facts_of(now=now), replace(RULES, halt_percent=percent)).holds)


def heal(
    plan: Plan, back_offs: Mapping[PodKey, BackOff], now: datetime
) -> tuple[Plan, Mapping[PodKey, BackOff | None]]:
    """Return the plan with what backs off, and the back-offs to be stored."""
    found = back_off.hold(plan, facts_of(now=now, back_offs=back_offs), RULES)
    return plan.holding(found.holds), found.notes.back_offs


def held(plan: Plan) -> set[int]:
    """Return the clients whose step is held, none of them by the guard."""
    assert all(step.held is None or step.held.kind is not HoldKind.REFUSED for step in plan.steps)
    return {step.key.client_id for step in plan.steps if step.held and step.key}


def why(plan: Plan) -> str:
    """Return the one reason for all that is held."""
    (reason,) = {step.held.why for step in plan.steps if step.held}
    return reason


# Pace


def to_restart(number: int, kept: int = 0, **fields: Any) -> Plan:
    """Return the plan of a fleet of which so many clients ask for a restart."""
    asking = [a_client(each, **fields) for each in range(1, number + 1)]
    staying = [a_client(each) for each in range(1001, 1001 + kept)]
    return planned(
        [*(replace(one, restart_generation=3) for one in asking), *staying], [*map(pod_of, asking + staying)]
    )


@pytest.mark.parametrize(
    ("live", "budget"),
    [
        pytest.param(AT_LEAST, AT_LEAST, id="a fleet of no more than the least"),
        pytest.param(AT_LEAST + 1, AT_LEAST, id="one more than the least"),
        pytest.param(int(AT_LEAST * 100 / PERCENT) - 1, AT_LEAST, id="where the share is still less than the least"),
        pytest.param(int(AT_LEAST * 100 / PERCENT), AT_LEAST, id="where both are the same"),
        pytest.param(int(AT_LEAST * 100 / PERCENT) + 4, AT_LEAST + 1, id="where the share is one more than the least"),
        pytest.param(MANY, int(MANY * PERCENT / 100), id="a large fleet"),
    ],
)
def test_no_more_than_the_share_is_replaced_in_a_pass_and_ten_at_least(live: int, budget: int) -> None:
    paced = pace(to_restart(live), PERCENT)
    assert len(held(paced)) == live - budget
    if live > budget:
        assert why(paced) == f"{live} to be replaced, {budget} a pass"


def test_what_is_within_the_budget_is_not_held() -> None:
    plan = to_restart(AT_LEAST, kept=5)
    assert pace(plan, PERCENT) == plan


def test_the_share_is_of_the_live_pods() -> None:
    going = [pod_of(a_client(each), deleted_at="2026-03-02T14:30:30Z") for each in range(2001, 2001 + MANY)]
    asking = [a_client(each) for each in range(1, MANY + 1)]
    plan = planned([replace(one, restart_generation=3) for one in asking], [*map(pod_of, asking), *going])
    assert len(held(pace(plan, PERCENT))) == MANY - int(MANY * PERCENT / 100)


def with_away(number: int, asking: int, *, stopped: bool = True, gone: bool = False, kept: int = 0) -> Plan:
    """Return the plan of a fleet of which earlier passes told so many pods to go, and so many ask to be next."""
    away = [a_client(each) for each in range(1, number + 1)]
    next_ones = [a_client(each) for each in range(101, 101 + asking)]
    others = [a_client(each) for each in range(1001, 1001 + kept)]
    wanted = [*away, *(replace(one, restart_generation=3) for one in next_ones), *others]
    going = [] if gone else [pod_of(one, deleted_at="2026-03-02T14:30:30Z") for one in away]
    begun = {key(one.id): Begun(NOW, stopped) for one in away}
    pods = [*going, *map(pod_of, next_ones + others)]
    return make_plan(desired_by(*wanted, begun=begun), pods, NOW, Others())


@pytest.mark.parametrize("gone", [False, True], ids=["still going", "gone"])
@pytest.mark.parametrize(
    ("away", "next_ones"),
    [
        pytest.param(0, AT_LEAST, id="none away"),
        pytest.param(1, AT_LEAST - 1, id="one away"),
        pytest.param(AT_LEAST - 1, 1, id="all but one"),
        pytest.param(AT_LEAST, 0, id="the whole budget"),
        pytest.param(AT_LEAST + 1, 0, id="more than the budget, which was larger once"),
    ],
)
def test_what_earlier_passes_have_begun_is_part_of_the_budget_until_it_is_back(
    away: int, next_ones: int, gone: bool
) -> None:
    paced = pace(with_away(away, AT_LEAST + 2, gone=gone), PERCENT)
    assert len(held(paced)) == AT_LEAST + 2 - next_ones
    if away:
        assert why(paced) == (
            f"{AT_LEAST + 2} to be replaced, {AT_LEAST} a pass,"
            f" less {away} that earlier passes have begun and that are not back"
        )


def test_the_budget_does_not_shrink_by_what_is_away() -> None:
    # A quarter of 80, and not of the 65 that live: else a rollout would go the slower the further it is.
    assert len(held(pace(with_away(15, 20, kept=45), PERCENT))) == 20 - (80 // 4 - 15)


def test_what_was_begun_of_pods_that_had_ended_takes_nothing_from_the_budget() -> None:
    # As when a node with many pods is lost: they stay terminating until somebody forgets the node.
    plan = with_away(AT_LEAST + 5, AT_LEAST, stopped=False)
    assert pace(plan, PERCENT) == plan


@pytest.mark.parametrize("gone", [False, True], ids=["still going", "gone"])
def test_what_is_begun_is_never_held_itself(gone: bool) -> None:
    plan = with_away(5 * AT_LEAST, AT_LEAST, gone=gone)
    after = pace(halt(plan, HALT, NOW), 0.0)
    assert held(after) == set(range(101, 101 + AT_LEAST))
    assert after.count(StepKind.CREATE) == (5 * AT_LEAST if gone else 0)


def test_a_share_of_nothing_still_lets_ten_go_and_all_lets_all_go() -> None:
    assert len(held(pace(to_restart(MANY), 0.0))) == MANY - AT_LEAST
    assert not held(pace(to_restart(MANY), 100.0))


def test_the_lowest_priority_goes_first_and_among_equals_the_name_decides() -> None:
    asking = [a_client(each, priority=float(each % 3)) for each in range(1, 31)]
    plan = planned([replace(one, restart_generation=3) for one in reversed(asking)], [*map(pod_of, asking)])
    assert set(range(1, 31)) - held(pace(plan, PERCENT)) == set(range(3, 31, 3))


def test_pods_that_have_ended_do_not_count() -> None:
    asking = [a_client(each) for each in range(1, AT_LEAST + 1)]
    ended = [a_client(each) for each in range(1001, 1031)]
    plan = planned(
        [*(replace(one, restart_generation=3) for one in asking), *ended],
        [*map(pod_of, asking), *(pod_of(one, phase="Failed") for one in ended)],
    )
    assert pace(plan, PERCENT) == plan


@pytest.mark.parametrize("change", [{"image": "desk/vwap:2"}, {"cpu": "2"}], ids=["image", "resources"])
def test_updates_that_may_stop_a_process_count(change: dict[str, Any]) -> None:
    asking = [a_client(each) for each in range(1, AT_LEAST + 4)]
    plan = planned([replace(one, **change) for one in asking], [*map(pod_of, asking)])
    assert plan.count(StepKind.UPDATE) == AT_LEAST + 3
    assert len(held(pace(plan, PERCENT))) == 3


def test_metadata_creations_and_deletions_do_not_count() -> None:
    renamed = [a_client(each) for each in range(1, 41)]
    missing = [a_client(each) for each in range(101, 141)]
    off = [a_client(each) for each in range(201, 241)]
    wanted = [replace(one, name="other") for one in renamed] + missing
    stopped = [replace(one, algorithms=a_client(one.id, enabled="").algorithms) for one in off]
    plan = planned(wanted + stopped, [*map(pod_of, renamed + off)])
    assert pace(plan, PERCENT) == plan


def test_what_is_held_already_takes_nothing_from_the_budget() -> None:
    plan = to_restart(AT_LEAST + 5)
    before = Hold(HoldKind.DEFERRED, "for another reason")
    first = [step.name for step in plan.steps[:5]]
    paced = pace(plan.holding(dict.fromkeys(first, before)), PERCENT)
    assert {step.name for step in paced.steps if step.held} == set(first)


@given(
    restarts=st.integers(0, 60),
    images=st.integers(0, 30),
    ended=st.integers(0, 30),
    kept=st.integers(0, 60),
    percent=st.sampled_from([0.0, 10.0, 25.0, 50.0, 99.9, 100.0]),
)
def test_no_pass_stops_more_than_its_budget(restarts: int, images: int, ended: int, kept: int, percent: float) -> None:
    bounds = [0, restarts, images, ended, kept]
    groups = [
        [a_client(each, priority=float(each % 5)) for each in range(sum(bounds[:end]) + 1, sum(bounds[: end + 1]) + 1)]
        for end in range(1, 5)
    ]
    wanted = [replace(one, restart_generation=3) for one in groups[0]]
    wanted += [replace(one, image="desk/vwap:2") for one in groups[1]] + groups[2] + groups[3]
    pods = [pod_of(one, phase="Failed" if one in groups[2] else "Running") for group in groups for one in group]
    plan = planned(wanted, pods)
    paced = pace(plan, percent)
    stopping = [step for step in paced.steps if step.cause in (Cause.RESTART_ASKED, Cause.IMAGE_DIFFERS)]
    going = [step for step in stopping if step.held is None]
    assert len(going) == min(len(stopping), max(AT_LEAST, int(len(pods) * percent / 100)))
    # No held step has a lower priority than one that goes, and nothing else is held.
    lowest_held = min((step.wanted.priority for step in stopping if step.held), default=99.0)
    assert all(step.wanted.priority <= lowest_held for step in going)
    assert all(step.held is None for step in paced.steps if step not in stopping)


@given(st.sets(st.integers(1, 40)), st.sampled_from([0.0, 25.0, 100.0]))
def test_pacing_and_halting_never_let_go_of_what_is_held(already: set[int], percent: float) -> None:
    hold = Hold(HoldKind.REFUSED, "by somebody else")
    plan = to_restart(40)
    plan = plan.holding({step.name: hold for step in plan.steps if step.key and step.key.client_id in already})
    after = halt(pace(heal(plan, {}, NOW)[0], percent), HALT, NOW)
    for step in after.steps:
        assert step.key
        assert (step.held == hold) == (step.key.client_id in already)


# Halt


def replaced(
    client: Client, *, blueprint: Blueprint = BLUEPRINT, cause: Cause | None = None, **fields: Any
) -> ObservedPod:
    """Return the pod of a client that was changed for what the client asks for now; for what, it need not tell."""
    (wanted,) = desired_by(client, blueprint=blueprint).pods.values()
    pod = as_observed(pod_manifest(blueprint, wanted), **fields)
    told = {names.CHANGED_FOR: cause.value} if cause else {}
    return replace(pod, annotations={**pod.annotations, names.REPLACED: LONG_AGO, **told})


def a_rollout(change: str, done: int, unhealthy: int, **ill: Any) -> Plan:
    """Return the plan in the midst of a change: so many pods have it, of which so many are ill, and five have not."""
    ill = ill or {"containers": CRASHING}
    clients = [a_client(each) for each in range(1, done + 6)]
    ahead, behind = clients[:done], clients[done:]
    blueprint = OTHER_TEMPLATE if change == "template" else BLUEPRINT
    new: dict[str, Any] = {"image": {"image": "desk/vwap:2"}, "restart": {"restart_generation": 3}}.get(change, {})
    pods = [replaced(replace(one, **new), blueprint=blueprint, **(ill if one.id <= unhealthy else {})) for one in ahead]
    plan = planned([replace(one, **new) for one in clients], [*pods, *map(pod_of, behind)], blueprint=blueprint)
    if ill.get("phase") != "Failed":
        # What has the change must be just as it should be, or the tests below would prove nothing.
        assert plan.counts()[StepKind.KEEP] == done
    return plan


@pytest.mark.parametrize("change", ["template", "image", "restart"])
@pytest.mark.parametrize(
    ("done", "unhealthy", "halted"),
    [
        pytest.param(0, 0, False, id="nothing tried yet"),
        pytest.param(10, 0, False, id="all healthy"),
        pytest.param(10, int(10 * HALT / 100), False, id="exactly the share"),
        pytest.param(10, int(10 * HALT / 100) + 1, True, id="one more than the share"),
        pytest.param(1, 1, True, id="the only one tried"),
        pytest.param(10, 10, True, id="all"),
    ],
)
def test_a_change_whose_first_pods_are_ill_goes_no_further(
    change: str, done: int, unhealthy: int, halted: bool
) -> None:
    plan = a_rollout(change, done, unhealthy)
    assert held(halt(plan, HALT, NOW)) == (set(range(done + 1, done + 6)) if halted else set())


@pytest.mark.parametrize(
    ("cause", "halted"),
    [(Cause.RESTART_ASKED, {3}), (None, {3}), (Cause.FINISHED, set()), (Cause.MISNAMED, set())],
    ids=str,
)
def test_b5_only_what_was_restarted_is_evidence_against_a_restart(cause: Cause | None, halted: set[int]) -> None:
    # Of the first client nothing was asked; its pod was healed, or made again by an older version, and has ended again.
    healed = replaced(a_client(1), cause=cause, containers=CRASHING)
    asking = a_client(3, restart_generation=0)
    plan = planned([a_client(1), replace(asking, restart_generation=1)], [healed, pod_of(asking)])
    ahead = replace(plan, blueprint=BLUEPRINT)
    assert held(halt(ahead, HALT, NOW)) == halted


def test_marks_that_somebody_sets_on_healthy_pods_let_no_change_go_on() -> None:
    asking = [a_client(number, restart_generation=0) for number in range(1, 5)]
    others = [a_client(number, restart_generation=0) for number in range(10, 30)]
    restarted = [replace(one, restart_generation=1) for one in asking]
    ill = replaced(restarted[0], cause=Cause.RESTART_ASKED, containers=CRASHING)
    for causes in (None, Cause.RESTART_ASKED):
        marked = [replaced(one, cause=causes) for one in others]
        plan = planned([*restarted, *others], [ill, *map(pod_of, asking[1:]), *marked])
        assert held(halt(plan, HALT, NOW)) == {2, 3, 4}


@pytest.mark.parametrize("in_place", [True, False])
def test_a7_a_resize_whose_first_pods_are_ill_goes_no_further(in_place: bool) -> None:
    cause = Cause.RESOURCES_DIFFER if in_place else Cause.RESIZE_REFUSED
    small = [a_client(number, memory="16Mi") for number in range(1, 8)]
    ahead = [replaced(one, cause=cause, containers=CRASHING) for one in small[:3]]
    plan = planned(small, [*ahead, *(pod_of(a_client(one.id)) for one in small[3:])])
    assert held(halt(plan, HALT, NOW)) == {4, 5, 6, 7}
    # Another amount is another change.
    other = [replace(one, memory="64Mi") for one in small[3:]]
    pods = [*ahead, *(pod_of(a_client(one.id)) for one in other)]
    assert not held(halt(planned([*small[:3], *other], pods), HALT, NOW))


def test_a7_a_pod_that_was_only_resized_is_no_evidence_against_an_image() -> None:
    small = [a_client(number, memory="16Mi") for number in range(1, 8)]
    ahead = [replaced(one, cause=Cause.RESOURCES_DIFFER, containers=CRASHING) for one in small[:3]]
    new = [replace(one, image="desk/vwap:2") for one in small[3:]]
    plan = planned([*small[:3], *new], [*ahead, *map(pod_of, small[3:])])
    assert plan.count(StepKind.UPDATE) == 4
    assert not held(halt(plan, HALT, NOW))


def test_pods_that_end_at_birth_halt_a_change_as_well() -> None:
    # They are not "as they should be": each is to be replaced, and backs off.
    plan = a_rollout("template", 10, 10, phase="Failed", reason="UnexpectedAdmissionError")
    assert plan.count(StepKind.REPLACE) == 15
    assert held(halt(plan, HALT, NOW)) == set(range(11, 16))


def test_the_ill_pod_of_an_invalid_client_holds_up_nobody() -> None:
    ill = replaced(a_client(1, restart_generation=3), phase="Failed")
    wanted = [a_client(1, restart_generation=3, cpu="1,5"), a_client(2, restart_generation=3)]
    assert not held(halt(planned(wanted, [ill, pod_of(a_client(2))]), HALT, NOW))


def test_pods_that_are_still_starting_halt_a_change_for_the_time_being() -> None:
    assert held(halt(a_rollout("image", 10, 3, phase="Pending"), HALT, NOW))


def test_a_halted_change_says_how_many_and_what_to_look_at() -> None:
    assert why(halt(a_rollout("template", 10, 4), HALT, NOW)) == (
        "4 of 10 pods changed for this are not healthy;"
        " look at vwap-101, which is Degraded: CrashLoopBackOff: last run ended with Error, exit code 1"
    )
    assert why(halt(a_rollout("image", 1, 1, containers=PULLING), HALT, NOW)) == (
        "1 of 1 pods changed for this are not healthy; look at vwap-101, which is Degraded:"
        " ImagePullBackOff: no such image"
    )


def test_e4_a_resize_that_the_node_does_not_make_is_no_evidence_and_hides_none() -> None:
    stuck = {"resizing": "Error: in use"}
    asking = a_client(20, restart_generation=3)
    ahead = [a_client(each, restart_generation=3) for each in range(1, 11)]
    for ill, halted in (({}, set()), ({"containers": CRASHING}, {20})):
        pods = [replaced(one, **stuck, **ill) for one in ahead]
        # What runs in it is well: it is not to be replaced by what has just shown to be bad.
        plan = planned([*ahead, asking], [*pods, pod_of(a_client(20), **stuck)])
        assert plan.count(StepKind.WAIT) == 10
        assert held(halt(plan, HALT, NOW)) == halted


def test_a_share_of_all_never_halts_and_one_of_nothing_halts_at_the_first() -> None:
    assert not held(halt(a_rollout("image", 10, 10), 100.0, NOW))
    assert held(halt(a_rollout("image", 10, 1), 0.0, NOW))
    assert not held(halt(a_rollout("image", 10, 0), 0.0, NOW))


def test_pods_that_are_ill_themselves_may_still_be_replaced() -> None:
    # The bad image is everywhere; a good one mends it, also while the first pods that have it are still starting.
    ill = [pod_of(a_client(each), containers=CRASHING) for each in range(1, 11)]
    new = [replaced(a_client(each, image="desk/vwap:2"), phase="Pending") for each in range(11, 14)]
    healthy = pod_of(a_client(14))
    wanted = [a_client(each, image="desk/vwap:2") for each in range(1, 15)]
    assert held(halt(planned(wanted, [*ill, *new, healthy]), HALT, NOW)) == {14}


def test_a_pod_that_was_not_replaced_is_no_evidence() -> None:
    clients = [a_client(each) for each in range(1, 11)]
    pods = [pod_of(one, containers=CRASHING) for one in clients]
    asking = a_client(11, restart_generation=3)
    assert not held(halt(planned([*clients, asking], [*pods, pod_of(a_client(11))]), HALT, NOW))


def test_old_pods_that_are_well_do_not_outvote_a_new_template() -> None:
    # A hundred pods were replaced for an older template and are healthy; the new one's first three are not.
    old = [a_client(each) for each in range(1, 101)]
    new = [a_client(each) for each in range(101, 104)]
    pods = [replaced(one) for one in old] + [
        replaced(one, blueprint=OTHER_TEMPLATE, containers=CRASHING) for one in new
    ]
    plan = planned(old + new, pods, blueprint=OTHER_TEMPLATE)
    halted = halt(plan, HALT, NOW)
    assert len(held(halted)) == 100
    assert "3 of 3 pods changed for this" in why(halted)


def test_an_ill_image_on_the_old_template_is_no_evidence_against_the_new_one() -> None:
    old_and_ill = [replaced(a_client(each), containers=CRASHING) for each in range(1, 6)]
    well = pod_of(a_client(6))
    plan = planned([a_client(each) for each in range(1, 7)], [*old_and_ill, well], blueprint=OTHER_TEMPLATE)
    assert not held(halt(plan, HALT, NOW))


def test_metadata_creations_and_deletions_go_on_while_a_change_is_halted() -> None:
    off, missing, renamed = a_client(101), a_client(102), a_client(103)
    ahead = [a_client(each, image="desk/vwap:2") for each in range(1, 4)]
    stopped = replace(off, algorithms=a_client(101, enabled="").algorithms)
    plan = planned(
        [*ahead, a_client(4, image="desk/vwap:2"), stopped, missing, replace(renamed, name="other")],
        [*(replaced(one, containers=CRASHING) for one in ahead), *map(pod_of, (a_client(4), off, renamed))],
    )
    assert held(halt(plan, HALT, NOW)) == {4}


# Heal


def ended(client: Client | None = None, **fields: Any) -> ObservedPod:
    """Return the client's pod after it has ended."""
    return pod_of(client, **{"phase": "Failed", "reason": "Evicted", **fields})


def made_of(client: Client | None = None) -> str:
    """Return what tells what the client's pod is made of."""
    (step,) = planned([client or a_client()], [ended(client)]).drifted
    changed = heal(planned([client or a_client()], [ended(client)]), {}, NOW)[1]
    assert step.key
    back_off = changed[step.key]
    assert back_off
    return back_off.made_of


def backing_off(failures: int, minutes: float, client: Client | None = None, *, pod: str = "uid of another") -> BackOff:
    """Return a back-off of what the client asks for that ends so many minutes from now."""
    return BackOff(failures, NOW + timedelta(minutes=minutes), made_of(client), pod)


def answered(failures: int, minutes: float, client: Client | None = None) -> BackOff:
    """Return the same of the client's very pod: this pass is to replace it."""
    return backing_off(failures, minutes, client, pod=pod_of(client).uid)


def healed(
    back_offs: Mapping[PodKey, BackOff], pod: ObservedPod | None = None, *, now: datetime = NOW, **asked: Any
) -> tuple[Step, Mapping[PodKey, BackOff | None]]:
    """Return the one step of the fleet of one client, and the back-offs to be stored."""
    plan, changed = heal(planned([a_client(**asked)], [pod or ended()]), back_offs, now)
    (step,) = plan.steps
    return step, changed


def test_the_first_end_is_replaced_at_once() -> None:
    step, changed = healed({})
    assert (step.kind, step.cause, step.held) == (StepKind.REPLACE, Cause.FINISHED, None)
    assert changed == {key(7): answered(1, 5)}


@pytest.mark.parametrize("phase", ["Failed", "Succeeded", "Unknown"])
def test_whatever_has_ended_backs_off(phase: str) -> None:
    assert healed({key(7): backing_off(3, 2)}, ended(phase=phase))[0].held


@pytest.mark.parametrize(("failures", "times"), [(1, "twice"), (2, "3 times"), (3, "4 times")])
def test_b4_while_it_backs_off_it_says_until_when_and_how_often_it_has_ended(failures: int, times: str) -> None:
    step, changed = healed({key(7): backing_off(failures, 5)})
    assert step.held == Hold(HoldKind.BACK_OFF, f"has ended {times} in a row; backing off until 14:35 UTC")
    assert changed == {}


@pytest.mark.parametrize(("seconds", "told"), [(0.5, "14:31"), (60, "14:31"), (60.5, "14:32")])
def test_b4_at_the_time_that_is_told_it_is_over(seconds: float, told: str) -> None:
    held = healed({key(7): backing_off(2, seconds / 60)})[0].held
    assert held
    assert held.why.endswith(f"until {told} UTC")


@pytest.mark.parametrize(("seconds", "waits"), [(-1, True), (0, False), (1, False)])
def test_b4_it_waits_to_the_second_and_no_longer(seconds: float, waits: bool) -> None:
    until = NOW + timedelta(minutes=10)
    step, changed = healed({key(7): backing_off(2, 10)}, now=until + timedelta(seconds=seconds))
    assert (step.held is not None) == waits
    assert changed == ({} if waits else {key(7): answered(3, 10 + seconds / 60 + 20)})


@pytest.mark.parametrize("every", [timedelta(seconds=1), timedelta(minutes=5)], ids=["a second", "five minutes"])
def test_b4_a_pod_that_always_dies_at_birth_is_replaced_after_5_10_20_minutes_however_often_passes_come(
    every: timedelta,
) -> None:
    back_offs: dict[PodKey, BackOff] = {}
    replaced_at: list[datetime] = []
    now = NOW
    while len(replaced_at) < 4 + 6 * (every > timedelta(minutes=1)):
        step, changed = healed(back_offs, ended(uid=f"uid {len(replaced_at)}"), now=now)
        back_offs |= {each: value for each, value in changed.items() if value}
        if not step.held:
            replaced_at.append(now)
        now += every
    waited = [(later - sooner) / timedelta(minutes=1) for sooner, later in pairwise(replaced_at)]
    assert waited == [5, 10, 20, 40, 80, 160, 320, 320, 320][: len(waited)]


def test_a_pod_that_has_ended_ten_thousand_times_waits_no_longer() -> None:
    _, changed = healed({key(7): backing_off(10_000, 0)})
    assert changed == {key(7): answered(10_001, 320)}


@pytest.mark.parametrize(
    "asked",
    [{"image": "desk/vwap:2"}, {"cpu": "2"}, {"memory": "2Gi"}, {"restart_generation": 3}],
    ids=lambda asked: next(iter(asked)),
)
def test_b4_what_is_made_of_something_else_since_is_replaced_at_once_and_starts_over(asked: dict[str, Any]) -> None:
    step, changed = healed({key(7): backing_off(5, 60)}, **asked)
    assert step.held is None
    assert changed == {key(7): answered(1, 5, a_client(**asked))}
    assert made_of(a_client(**asked)) != made_of()


def test_b4_another_template_is_something_else_too() -> None:
    plan, changed = heal(planned([a_client()], [ended()], blueprint=OTHER_TEMPLATE), {key(7): backing_off(5, 60)}, NOW)
    assert not held(plan)
    stored = changed[key(7)]
    assert stored
    assert (stored.failures, stored.until) == (1, NOW + timedelta(minutes=5))


@pytest.mark.parametrize("asked", [{"name": "renamed"}, {"version": 9}, {"priority": 7.0}, {"cpu": "1.5"}])
def test_b4_what_changes_nothing_of_the_pod_ends_no_back_off(asked: dict[str, Any]) -> None:
    step, changed = healed({key(7): backing_off(5, 60)}, **asked)
    assert (step.held is not None, changed) == (True, {})


@pytest.mark.parametrize(("failures", "longest"), [(1, 5), (3, 20), (7, 320), (10_000, 320)])
def test_b4_a_back_off_that_ends_too_far_ahead_is_cut_to_its_length(failures: int, longest: int) -> None:
    # The clock was an hour fast when it was stored, and was set back.
    step, changed = healed({key(7): backing_off(failures, longest + 60)})
    assert step.held
    assert changed == {key(7): backing_off(failures, longest)}
    # From then on it ends when it says: nobody cuts it again.
    assert healed({key(7): backing_off(failures, longest)})[1] == {}


def test_b4_an_older_row_that_does_not_know_what_it_was_of_waits_and_learns_it() -> None:
    old = BackOff(3, NOW + timedelta(minutes=10), "", "")
    step, changed = healed({key(7): old})
    assert step.held
    assert changed == {key(7): backing_off(3, 10, pod="")}
    assert healed({key(7): replace(old, until=NOW)})[1] == {key(7): answered(4, 40)}


@pytest.mark.parametrize(
    ("up_for", "recovered"), [(HEALED_AFTER, False), (HEALED_AFTER + timedelta(seconds=1), True), (timedelta(0), False)]
)
def test_an_hour_of_health_makes_the_next_end_a_first_one(up_for: timedelta, recovered: bool) -> None:
    pod = pod_of(a_client(), created_at=(NOW - up_for).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    step, changed = healed({key(7): backing_off(4, 3)}, pod)
    assert step.kind is StepKind.KEEP
    assert healed({key(7): backing_off(4, 3)}, replace(pod, resizing="Error: in use"))[1] == changed
    assert changed == ({key(7): None} if recovered else {})


@pytest.mark.parametrize(
    "state",
    [{"containers": CRASHING}, {"phase": "Pending"}, {"deleted_at": "2026-03-02T14:30:30Z"}, {"created_at": ""}],
    ids=["crashing", "starting", "terminating", "of unknown age"],
)
def test_a_pod_that_is_old_and_not_healthy_has_not_recovered(state: dict[str, Any]) -> None:
    assert healed({key(7): backing_off(4, 3)}, pod_of(a_client(), **{"created_at": LONG_AGO, **state}))[1] == {}


def test_a_healthy_pod_without_a_back_off_leaves_nothing_to_store() -> None:
    assert healed({}, pod_of(a_client(), created_at=LONG_AGO))[1] == {}


def test_keys_that_nothing_has_happened_to_are_not_touched() -> None:
    others = {key(8): backing_off(2, 1), key(7, "hft"): backing_off(5, 0), key(99): backing_off(1, 1)}
    plan, changed = heal(planned([a_client(), a_client(8)], [ended(), pod_of(a_client(8))]), others, NOW)
    assert changed == {key(7): answered(1, 5)}
    assert not held(plan)


def test_what_is_held_already_neither_waits_nor_counts() -> None:
    plan = planned([a_client()], [ended()])
    hold = Hold(HoldKind.DEFERRED, "--policy create-only")
    plan = plan.holding({step.name: hold for step in plan.steps})
    assert heal(plan, {key(7): backing_off(2, 2)}, NOW) == (plan, {})


def test_other_replacements_do_not_back_off() -> None:
    plan, changed = heal(to_restart(3), {key(1): backing_off(5, 9)}, NOW)
    assert (held(plan), changed) == (set(), {})


@given(st.lists(st.tuples(st.sampled_from(["ends", "runs", "is well for an hour"]), st.integers(0, 400)), max_size=60))
def test_a_back_off_grows_only_by_ends_and_goes_only_by_health(story: list[tuple[str, int]]) -> None:
    back_offs: dict[PodKey, BackOff] = {}
    now = NOW
    for number, (event, minutes) in enumerate(story):
        now += timedelta(minutes=minutes)
        pod = {
            "ends": ended(uid=f"uid {number}"),
            "runs": pod_of(a_client(), created_at=now.isoformat()),
            "is well for an hour": pod_of(a_client(), created_at=LONG_AGO),
        }[event]
        before = back_offs.get(key(7), BackOff(0, now, made_of(), ""))
        step, changed = healed(back_offs, pod, now=now)
        if None in changed.values():
            assert event == "is well for an hour"
            back_offs.clear()
            continue
        back_offs |= {each: value for each, value in changed.items() if value}
        after = back_offs.get(key(7), before)
        assert after.until - now <= timedelta(minutes=320)
        assert after.failures == before.failures + (event == "ends" and step.held is None)
        assert bool(step.held) == (event == "ends" and before.until > now)


@pytest.mark.parametrize("minutes", [-60, -5, 0, 3, 5])
def test_b4_a_pod_that_a_pass_did_not_come_to_replace_has_not_ended_once_more(minutes: float) -> None:
    # It had written the end down, and was killed, met its deadline, or the API server refused.
    assert healed({key(7): answered(1, minutes)})[0].held is None
    assert healed({key(7): answered(1, minutes)})[1] == {}


def test_b4_a_new_pod_of_a_key_is_not_the_one_that_was_replaced() -> None:
    back_off = healed({})[1][key(7)]
    assert back_off
    assert healed({key(7): back_off}, ended(uid="uid of its successor"))[0].held
