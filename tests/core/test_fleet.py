"""The fleet's own settings: what they may be, what contradicts them, and what a pass may do without."""

from typing import Any

import msgspec
import pytest

from syncctl.core.fleet import (
    FIELDS,
    Claim,
    FleetSettings,
    as_claimed,
    command_to_set,
    contradictions,
    differences,
    settings_problems,
)
from syncctl.core.holds import settings as unset
from syncctl.core.memory import Begun
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.steps import HoldKind, Plan

from .builders import A_WHILE_AGO, NOW, RULES, a_client, desired_by, facts_of, key, pod_of

SETTINGS = FleetSettings(fleet_name="desk", default_cpu="1500m", orphan_percent=12.5, pod_template="kind: Pod\n")


def claim(text: str | None, written: str = "") -> Claim:
    return Claim(text, written or str(text), "environment SYNCCTL_X")


def test_each_setting_is_described_once_and_in_order() -> None:
    assert list(FIELDS) == [field.name for field in msgspec.structs.fields(FleetSettings)]
    assert settings_problems(msgspec.structs.asdict(FleetSettings())) == []


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({"fleet_name": "not a label"}, ["fleet_name: is no label value"]),
        ({"fleet_name": ""}, ["fleet_name: is no label value"]),
        ({"default_image": "Desk:1", "default_cpu": "1,5"}, ['default_image: "Desk:1"', 'default_cpu: "1,5"']),
        ({"default_memory": "64mi"}, ['default_memory: "64mi"']),
        ({"default_image": "", "default_cpu": "", "default_memory": ""}, []),
        ({"orphan_limit": -1}, ["orphan_limit: -1 is not between 0 and"]),
        ({"switch_off_limit": 2**31}, ["switch_off_limit: 2147483648 is not between 0 and"]),
        ({"orphan_percent": 100.5}, ["orphan_percent: 100.5 is not between 0 and 100"]),
        ({"halt_percent": float("nan")}, ["halt_percent: nan is not between 0 and 100"]),
        ({"replace_percent": 100.0, "halt_percent": 0.0}, []),
    ],
)
def test_every_problem_is_named(given: dict[str, Any], problems: list[str]) -> None:
    found = settings_problems(given)
    assert len(found) == len(problems)
    assert all(problem.startswith(start) for problem, start in zip(found, problems, strict=True))


def test_what_differs_is_told_old_and_new() -> None:
    assert differences(FleetSettings(), SETTINGS) == {
        "fleet_name": ("default", "desk"),
        "pod_template": ("", "kind: Pod\n"),
        "default_cpu": ("500m", "1500m"),
        "orphan_percent": (30.0, 12.5),
    }


@pytest.mark.parametrize(
    ("name", "said", "differs"),
    [
        ("fleet_name", claim("desk"), False),
        ("fleet_name", claim("other"), True),
        ("default_cpu", claim("1.5"), False),
        ("default_cpu", claim("1500"), True),
        ("default_memory", claim("0.25Gi"), False),
        ("default_image", claim("desk/a:1"), True),
        ("orphan_limit", claim("10"), False),
        ("orphan_limit", claim("11"), True),
        ("orphan_limit", claim("ten"), True),
        ("orphan_percent", claim("12.50"), False),
        ("pod_template", claim("kind: Pod", "/etc/pod.yaml"), False),
        ("pod_template", claim("kind: Pod\nspec: {}", "/etc/pod.yaml"), True),
        ("pod_template", claim(None, "/etc/gone.yaml"), True),
    ],
)
def test_a_claim_differs_by_its_meaning(name: str, said: Claim, differs: bool) -> None:
    found = contradictions({name: said}, SETTINGS)
    assert bool(found) is differs
    if differs:
        assert found[0].startswith(f"{name} is {said.written} by environment SYNCCTL_X, and the fleet has ")


def test_the_command_sets_what_the_claims_say() -> None:
    claims = {"fleet_name": claim("desk"), "pod_template": claim("kind: Pod", "/etc/pod.yaml")}
    assert command_to_set(claims) == "syncctl fleet set --defaults --fleet-name desk --template /etc/pod.yaml"
    spaced = {"pod_template": claim("kind: Pod", "my pods/pod.yaml")}
    assert command_to_set(spaced) == "syncctl fleet set --defaults --template 'my pods/pod.yaml'"
    assert command_to_set({}) == "syncctl fleet set --defaults"


def test_what_is_claimed_is_taken_as_far_as_it_can_be_used() -> None:
    claims = {
        "fleet_name": claim("desk"),
        "pod_template": claim(None, "/etc/gone.yaml"),
        "default_cpu": claim("1,5"),
        "orphan_limit": claim("ten"),
        "switch_off_limit": claim("3"),
        "orphan_percent": claim("12.5"),
    }
    assert as_claimed(claims) == FleetSettings(fleet_name="desk", switch_off_limit=3, orphan_percent=12.5)


# What a pass may do ---------------------------------------------------------------------------------------------------


def a_plan_of_everything() -> Plan:
    """Return a plan that creates 1, replaces 2, updates 3, ends 4 (off), 5 (deleted) and 6 (orphan), and creates 7."""
    rows = [a_client(number) for number in (1, 2, 3, 7)]
    off = a_client(4, enabled="")
    pods = [
        pod_of(a_client(2, restart_generation=9)),
        pod_of(a_client(3, version=9)),
        *(pod_of(a_client(number)) for number in (4, 5, 6)),
    ]
    begun = {key(7): Begun(A_WHILE_AGO, stopped=True)}
    return make_plan(desired_by(*rows, off, deleted=(5,), begun=begun), pods, NOW, Others())


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ({"settings": None}, "the fleet's own settings are unset since an upgrade"),
        (
            {"claims": {"orphan_limit": claim("11")}},
            "orphan_limit is 11 by environment SYNCCTL_X, and the fleet has 10",
        ),
    ],
    ids=["unset", "contradicted"],
)
def test_a8_only_what_a_person_has_stopped_is_done(known: dict[str, Any], why: str) -> None:
    plan = a_plan_of_everything()
    found = unset.hold(plan, facts_of(**known), RULES)
    assert {hold.kind for hold in found.holds.values()} == {HoldKind.REFUSED}
    assert {hold.why for hold in found.holds.values()} == {why}
    free = [step for step in plan.holding(found.holds).drifted if step.held is None]
    assert {step.name for step in free} == {"vwap-104", "vwap-105"}
    (refusal,) = found.refusals
    assert why in refusal.message
    assert "fleet set" in (refusal.hint or "")
    # What has been ended for something new is down until then, so it is named.
    assert refusal.message.endswith("; until then these are down, whose replacement was begun: vwap-107")


def test_a8_it_is_refused_though_there_is_nothing_to_do() -> None:
    plan = make_plan(desired_by(a_client()), [pod_of(a_client())], NOW, Others())
    found = unset.hold(plan, facts_of(settings=None), RULES)
    assert found.holds == {}
    assert len(found.refusals) == 1


def test_a8_a_claim_that_agrees_holds_nothing() -> None:
    found = unset.hold(a_plan_of_everything(), facts_of(claims={"orphan_limit": claim("10")}), RULES)
    assert (found.holds, found.refusals) == ({}, ())
