"""What a step changes, field by field."""

import pytest
from msgspec.structs import replace

from syncctl.core import names
from syncctl.core.comparison import compared
from syncctl.core.fields import field_changes
from syncctl.core.manifest import Blueprint, PodTemplate, pod_manifest, spec_hash
from syncctl.core.model import DesiredPod, ObservedPod
from syncctl.core.steps import Cause, Step, StepKind
from syncctl.core.template import make_template, template_of

from .builders import BLUEPRINT, as_observed, desired_pod

OLD = """
apiVersion: v1
kind: Pod
spec:
  nodeSelector: {zone: a}
  tolerations: [{key: gpu}]
  containers: [{name: log, image: fluent:1, args: [-v]}]
"""
NEW = OLD.replace("zone: a", "zone: b").replace("fluent:1", "fluent:2").replace("args: [-v]", "tty: true")


def changed(
    step: Step, blueprint: Blueprint = BLUEPRINT, **known: PodTemplate
) -> list[tuple[str, str | None, str | None]]:
    return [tuple(each) for each in field_changes(blueprint, step, known.get)]  # type: ignore[misc]


def step_of(wanted: DesiredPod, pod: ObservedPod) -> Step:
    step = compared(BLUEPRINT, wanted, pod)
    assert step is not None
    return step


def test_a_creation_shows_what_it_creates() -> None:
    wanted = desired_pod()
    step = Step(StepKind.CREATE, Cause.MISSING, wanted.name, wanted.key, "", wanted)
    assert changed(step) == [("image", None, wanted.image), ("cpu", None, wanted.cpu), ("memory", None, wanted.memory)]


def test_image_and_resources_are_shown_with_what_they_were() -> None:
    wanted = desired_pod()
    pod = as_observed(pod_manifest(BLUEPRINT, wanted))
    step = step_of(replace(wanted, image="b:2", cpu="2"), pod)
    assert step.kind is StepKind.REPLACE
    assert changed(step) == [("image", wanted.image, "b:2"), ("cpu", wanted.cpu, "2")]


def test_marks_are_shown_where_they_are_patched_and_not_where_the_pod_is_made_again() -> None:
    wanted = desired_pod()
    pod = as_observed(pod_manifest(BLUEPRINT, wanted))
    step = step_of(replace(wanted, version=wanted.version + 1), pod)
    assert changed(step) == [(names.VERSION, str(wanted.version), str(wanted.version + 1))]
    step = step_of(replace(wanted, version=7), replace(pod, phase="Failed"))
    assert (step.kind, changed(step)) == (StepKind.REPLACE, [])


def test_a_restart_shows_the_generation() -> None:
    wanted = desired_pod()
    again = replace(wanted, restart_generation=3, spec_hash=spec_hash(BLUEPRINT.template, 3))
    step = step_of(again, as_observed(pod_manifest(BLUEPRINT, wanted)))
    assert step.cause is Cause.RESTART_ASKED
    assert changed(step) == [("restart_generation", "2", "3")]


def made_by(template: PodTemplate) -> tuple[Step, Blueprint]:
    """Return the replacement of a pod that was made by this template, now that the fleet has another one."""
    new = template_of(NEW)
    blueprint = replace_template(new)
    wanted = desired_pod()
    pod = as_observed(pod_manifest(BLUEPRINT, wanted))
    annotations = {**pod.annotations, names.TEMPLATE: template.digest[:16]}
    environment = pod.environment._replace(spec=spec_hash(template, 2))
    wanted = replace(wanted, spec_hash=spec_hash(new, 2))
    step = Step(
        StepKind.REPLACE, Cause.SPEC_DIFFERS, pod.name, wanted.key, "pod template changed", wanted,
        replace(pod, annotations=annotations, environment=environment),
    )  # fmt: skip
    return step, blueprint


def replace_template(template: PodTemplate) -> Blueprint:
    return Blueprint(template, BLUEPRINT.fleet, BLUEPRINT.fleet_name)


def test_the_fields_of_a_template_are_shown_by_path() -> None:
    old = template_of(OLD)
    step, blueprint = made_by(old)
    assert changed(step, blueprint, **{old.digest[:16]: old}) == [
        ("template.nodeSelector.zone", "a", "b"),
        ("template.containers[log].image", "fluent:1", "fluent:2"),
        ("template.containers[log].args[0]", "-v", None),
        ("template.containers[log].tty", None, "true"),
    ]


def test_a_template_that_nobody_remembers_is_shown_by_its_digest() -> None:
    old = make_template()
    step, blueprint = made_by(old)
    assert changed(step, blueprint) == [("template", old.digest[:16], blueprint.template.digest[:16])]


@pytest.mark.parametrize("kind", [StepKind.DELETE, StepKind.WAIT, StepKind.CONFLICT, StepKind.KEEP])
def test_what_makes_and_changes_no_pod_changes_no_field(kind: StepKind) -> None:
    wanted = desired_pod()
    step = Step(
        kind, Cause.SWITCHED_OFF, wanted.name, wanted.key, "", wanted, as_observed(pod_manifest(BLUEPRINT, wanted))
    )
    assert changed(step) == []
