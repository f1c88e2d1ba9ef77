"""What a step changes, field by field: for people who look at a plan, and programs. Pure."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from syncctl.core import names
from syncctl.core.drift import differences, metadata_differences
from syncctl.core.manifest import Blueprint, PodTemplate
from syncctl.core.steps import Cause, Step, StepKind

Former = Callable[[str], PodTemplate | None]
"""Returns the template of which a pod's annotation has this digest; None when nobody remembers it."""


class FieldChange(NamedTuple):
    """A field before and after; None where there is none."""

    field: str
    was: str | None
    to: str | None

    @property
    def words(self) -> str:
        """Say it in a line."""
        return f"{self.field} {self.was or 'none'} -> {self.to or 'none'}"


def nobody_knows(_digest: str) -> PodTemplate | None:
    """Remember no former template."""
    return None


def field_changes(blueprint: Blueprint, step: Step, former: Former = nobody_knows) -> tuple[FieldChange, ...]:
    """Return what a step that makes or changes a pod changes of it: of a creation, what it is made of."""
    wanted, pod = step.desired, step.observed
    if wanted is None or step.kind not in (StepKind.CREATE, StepKind.REPLACE, StepKind.UPDATE):
        return ()
    if pod is None:
        return tuple(FieldChange(field, None, getattr(wanted, field)) for field in ("image", "cpu", "memory"))
    found = [FieldChange(*difference[:3]) for difference in differences(wanted, pod)]
    if pod.name != wanted.name:
        found.append(FieldChange("name", pod.name, wanted.name))
    if step.kind is StepKind.UPDATE:
        return (*found, *(FieldChange(*each[:3]) for each in metadata_differences(blueprint, wanted, pod)))
    generation = pod.annotations.get(names.RESTART_GENERATION)
    if generation is not None and generation != str(wanted.restart_generation):
        found.append(FieldChange("restart_generation", generation, str(wanted.restart_generation)))
    if step.cause is Cause.SPEC_DIFFERS:
        found += _template_changes(blueprint.template, pod.annotations.get(names.TEMPLATE), former)
    return tuple(found)


def _template_changes(template: PodTemplate, made_by: str | None, former: Former) -> Iterator[FieldChange]:
    """Yield what differs between the template a pod was made by and the present one, by path."""
    present = template.digest[:16]
    if made_by == present:
        return
    old = former(made_by or "")
    if old is None:
        yield FieldChange("template", made_by, present)
        return
    before, after = dict(_paths(_parts(old))), dict(_paths(_parts(template)))
    for path in {**before, **after}:
        if before.get(path) != after.get(path):
            yield FieldChange(f"template.{path}", before.get(path), after.get(path))


def _parts(template: PodTemplate) -> dict[str, Any]:
    containers = [dict(template.container), *map(dict, template.sidecars)]
    return {**template.spec, "containers": containers}


def _paths(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value by its path, like containers[log].image; of a list without names, by its place."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _paths(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)) and value:
        for place, each in enumerate(value):
            name = each.get("name", place) if isinstance(each, Mapping) else place
            yield from _paths(each, f"{path}[{name}]")
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, default=str)
