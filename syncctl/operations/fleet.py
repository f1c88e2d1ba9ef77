"""The fleet's own settings: show them, and change them with an eye on what that does to pods."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from syncctl.core import names
from syncctl.core.errors import ClusterError, DatabaseBusy, InvalidInput, PodRejected
from syncctl.core.fleet import FleetSettings, Value, settings_problems
from syncctl.core.manifest import Blueprint, pod_manifest
from syncctl.core.model import Algorithm, DesiredPod, ObservedPod, PodKey
from syncctl.core.others import Others
from syncctl.core.plan import make_plan
from syncctl.core.snapshot import Snapshot
from syncctl.core.steps import Cause, Plan, StepKind
from syncctl.core.template import document_of, template_of
from syncctl.core.yamltext import unreadable
from syncctl.db.engine import Engine, writing
from syncctl.db.fleet import read_settings, store_settings
from syncctl.kube.cluster import Cluster
from syncctl.operations.clock import SYSTEM
from syncctl.operations.planning import read_desired

ANY_IMAGE = "registry.k8s.io/pause:3.10"
"""The image of the pod that tries a template, for a fleet without a default image. It is never pulled."""


def new_settings(known: FleetSettings | None, given: Mapping[str, Value], *, defaults: bool) -> FleetSettings:
    """Return what the fleet would have with these values, and of the rest what it has, or the defaults.

    Raises:
        InvalidInput: every problem, in one error; or the rest is unset.
    """
    problems = settings_problems(given)
    if given.get("pod_template"):
        try:
            template_of(str(given["pod_template"]))
        except InvalidInput as error:
            problems += [f"pod_template: {problem}" for problem in error.problems]
    if problems:
        raise InvalidInput("the fleet's settings", problems)
    if known is None and not defaults:
        raise InvalidInput(
            "the fleet's settings",
            ["all are unset since an upgrade, and those not named here would stay so"],
            "name those that are no defaults, and give --defaults for the others",
        )
    start = FleetSettings() if defaults or known is None else known
    return replace(start, **given)


def store(engine: Engine, known: FleetSettings | None, settings: FleetSettings) -> None:
    """Store settings instead of those that were known when they were made.

    Raises:
        DatabaseBusy: somebody has changed them since.
    """
    with writing(engine, at_one_moment=True) as connection:
        if read_settings(connection) != known:
            raise DatabaseBusy("somebody has changed the fleet's settings since", "look at `syncctl fleet show`")
        store_settings(connection, settings)


def read_template(path: Path) -> str:
    """Return the text of a template's file.

    Raises:
        InvalidInput: it cannot be read.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("pod template", [f"cannot read {unreadable(path, error)}"]) from error


@dataclass(frozen=True, slots=True)
class Effect:
    """How many pods the next pass updates and replaces for new settings, and can make no more; or why nobody knows."""

    updates: int = 0
    replacements: int = 0
    impossible: int = 0
    unknown: str = ""


def effect_of(rows: Snapshot, settings: FleetSettings, open_cluster: Callable[[], Cluster]) -> Effect:
    """Return what new settings do to the pods that there are, and try a new template on the cluster.

    Where there is no cluster, the template is compared with the fields that Kubernetes has.

    Raises:
        InvalidInput: the template has fields that no pod has.
        PodRejected: the cluster takes no pod of it.
    """
    try:
        cluster = open_cluster()
        if rows.settings is None or settings.pod_template != rows.settings.pod_template:
            cluster.try_pod(_sample(rows.fleet, settings))
        pods = cluster.list_pods(names.fleet_selector(rows.fleet))
    except PodRejected:
        raise
    except ClusterError as error:
        _check_fields(settings.pod_template)
        return Effect(unknown=error.message)
    after = _plan(rows, settings, pods).drifted
    # Where nobody knows what the pods were made by, all that the next pass does to them comes of the settings.
    before = _plan(rows, rows.settings, pods).drifted if rows.settings else ()
    known_steps = {(step.kind, step.name, step.cause) for step in before}
    new = [step for step in after if (step.kind, step.name, step.cause) not in known_steps]
    more = Counter(step.kind for step in new)
    impossible = sum(step.cause is Cause.CLIENT_INVALID for step in new)
    return Effect(more[StepKind.UPDATE], more[StepKind.REPLACE], impossible)


def _plan(rows: Snapshot, settings: FleetSettings, pods: list[ObservedPod]) -> Plan:
    return make_plan(read_desired(rows, settings), pods, SYSTEM.now(), Others())


def _sample(fleet: str, settings: FleetSettings) -> dict[str, Any]:
    """Return a pod as the fleet would make it."""
    parts = settings.default_image or ANY_IMAGE, settings.default_cpu or "100m", settings.default_memory or "64Mi"
    pod = DesiredPod(PodKey(0, Algorithm.VWAP), "template-on-trial", "trial", 1, *parts, 1.0, 0, "")
    return pod_manifest(Blueprint(template_of(settings.pod_template), fleet, settings.fleet_name), pod)


def _check_fields(template: str) -> None:
    if template:
        # Half of the kubernetes package comes with it.
        from syncctl.kube.fields import unknown_fields

        if problems := unknown_fields(document_of(template)):
            raise InvalidInput("pod template", problems)
