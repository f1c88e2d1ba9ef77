"""What a pod is made of, what a template may add to it, and what makes it another pod."""

import json
import re
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from syncctl.core import manifest, names
from syncctl.core.errors import InvalidInput
from syncctl.core.manifest import (
    Blueprint,
    PodTemplate,
    carries_its_marks,
    pod_annotations,
    pod_labels,
    pod_manifest,
)
from syncctl.core.model import Algorithm, DesiredPod
from syncctl.core.template import make_template, template_of
from syncctl.core.validation import LARGEST_ID

from .builders import BLUEPRINT, FLEET, a_client, desired_pod, key, pod_of

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
LABEL_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])"


def a_template(spec: object = None, metadata: object = None) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def with_container(**fields: Any) -> dict[str, Any]:
    return a_template({"containers": [{"name": "algorithm", **fields}]})


def made(document: object) -> dict[str, Any]:
    """Return the manifest of a pod made with the template."""
    return pod_manifest(Blueprint(make_template(document), FLEET, "desk"), desired_pod())


def problems_of(document: object) -> tuple[str, ...]:
    with pytest.raises(InvalidInput) as raised:
        make_template(document)
    return raised.value.problems


# The pod --------------------------------------------------------------------------------------------------------------


def test_the_whole_manifest() -> None:
    assert pod_manifest(BLUEPRINT, desired_pod(a_client(7, name="Zoë & Söhne | Ω"))) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "vwap-107",
            "labels": {
                "app.kubernetes.io/managed-by": "syncctl",
                "app.kubernetes.io/name": "vwap",
                "app.kubernetes.io/instance": "desk",
                "syncctl.io/fleet": FLEET,
                "syncctl.io/client-id": "7",
                "syncctl.io/bucket": "7",
            },
            "annotations": {
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                "syncctl.io/client-name": "Zoë & Söhne | Ω",
                "syncctl.io/version": "3",
                "syncctl.io/spec-hash": "7f6081f6d09d8eea",
                "syncctl.io/restart-generation": "2",
                "syncctl.io/template": "f517270364bd0518",
            },
        },
        "spec": {
            "restartPolicy": "Always",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "algorithm",
                    "image": "registry.example.com/desk/vwap:1.4.2",
                    "env": [
                        {"name": "ALGORITHM", "value": "vwap"},
                        {"name": "CLIENT_ID", "value": "7"},
                        {"name": "SYNCCTL_SPEC", "value": "7f6081f6d09d8eea"},
                        {
                            "name": "CLIENT_NAME",
                            "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['syncctl.io/client-name']"}},
                        },
                        {
                            "name": "CLIENT_VERSION",
                            "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['syncctl.io/version']"}},
                        },
                    ],
                    "resources": {
                        "requests": {"cpu": "1500m", "memory": "1Gi"},
                        "limits": {"cpu": "1500m", "memory": "1Gi"},
                    },
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def test_no_template_and_an_empty_one_are_the_same() -> None:
    assert make_template(None) == make_template({"apiVersion": "v1", "kind": "Pod"}) == make_template(a_template())


@given(
    st.from_regex(LABEL_VALUE, fullmatch=True),
    st.integers(1, LARGEST_ID),
    st.sampled_from(Algorithm),
)
def test_labels_are_valid_whatever_the_fleet_is_called(fleet_name: str, client_id: int, algorithm: Algorithm) -> None:
    pod = replace(desired_pod(), key=key(client_id, algorithm))
    labels = pod_labels(Blueprint(make_template(), FLEET, fleet_name), pod)
    assert names.pod_key(labels) == pod.key
    assert all(re.fullmatch(LABEL_VALUE, value) for value in labels.values())


@given(st.text(), st.integers(0, 2**31 - 1))
def test_a_client_name_of_any_text_is_an_annotation_and_no_label(name: str, version: int) -> None:
    pod = replace(desired_pod(), client_name=name, version=version)
    annotations = pod_annotations(BLUEPRINT, pod)
    assert annotations[names.CLIENT_NAME] == name
    assert annotations[names.VERSION] == str(version)
    assert pod_labels(BLUEPRINT, pod) == pod_labels(BLUEPRINT, desired_pod())


def test_e2_the_quick_look_at_a_pods_marks_misses_none_of_them() -> None:
    document = a_template(metadata={"labels": {"desk": "london"}, "annotations": {"owner": "trading"}})
    blueprint = Blueprint(make_template(document), FLEET, "desk")
    wanted = desired_pod()
    labels, annotations = pod_labels(blueprint, wanted), pod_annotations(blueprint, wanted)
    carries = carries_its_marks(blueprint)
    pod = replace(pod_of(), labels={**labels, "more": "x"}, annotations={**annotations, "more": "x"})
    assert carries(wanted, pod)
    for mark in labels:
        for other in ({**labels, mark: "edited"}, {name: value for name, value in labels.items() if name != mark}):
            assert not carries(wanted, replace(pod, labels=other)), mark
    for mark in annotations:
        for other in (
            {**annotations, mark: "edited"},
            {name: value for name, value in annotations.items() if name != mark},
        ):
            assert not carries(wanted, replace(pod, annotations=other)), mark


def test_a_variable_more_in_the_table_is_set_and_refused_in_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    more = {**manifest.ENVIRONMENT, "MEMORY": lambda pod: {"value": pod.memory}}
    monkeypatch.setattr(manifest, "ENVIRONMENT", more)
    assert {"name": "MEMORY", "value": "1Gi"} in made(None)["spec"]["containers"][0]["env"]
    given = with_container(env=[{"name": "MEMORY", "value": "mine"}])
    assert problems_of(given) == ("spec.containers[algorithm].env.MEMORY: set by syncctl",)


# Identity -------------------------------------------------------------------------------------------------------------


def test_the_hash_holds_still() -> None:
    # If this fails, every pod of every fleet is restarted by the next pass after the release. Change it only if that
    # is what you want, and say so in the changelog.
    assert make_template().digest == "f517270364bd0518496a4cc46c97f524ae9207b995dda3174ba50984f9b12e23"
    assert desired_pod().spec_hash == "7f6081f6d09d8eea"


def test_a_restart_changes_the_hash() -> None:
    assert desired_pod(a_client(7, restart_generation=3)).spec_hash != desired_pod(a_client(7)).spec_hash


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "renamed"},
        {"version": 4},
        {"priority": 9.0},
        {"status_id": 9},
        # Changed in place: what runs is compared with what should, and not its hash.
        {"image": "desk/vwap:2"},
        {"cpu": "1"},
        {"memory": "2Gi"},
    ],
    ids=str,
)
def test_what_a_running_pod_can_take_does_not_change_the_hash(changed: dict[str, Any]) -> None:
    assert desired_pod(a_client(7, **changed)).spec_hash == desired_pod(a_client(7)).spec_hash


SPEC_CHANGES = {
    "a node selector": {"nodeSelector": {"disk": "ssd"}},
    "a sidecar": {"containers": [{"name": "logs", "image": "fluent-bit:4"}]},
    "a variable": {"containers": [{"name": "algorithm", "env": [{"name": "TZ", "value": "UTC"}]}]},
    "a user": {"securityContext": {"runAsUser": 1000}},
    "a longer grace": {"terminationGracePeriodSeconds": 120},
}


@pytest.mark.parametrize("spec", SPEC_CHANGES.values(), ids=SPEC_CHANGES)
def test_the_template_spec_changes_the_hash(spec: dict[str, Any]) -> None:
    assert make_template(a_template(spec)).digest != make_template().digest


def test_the_template_metadata_does_not_change_the_hash() -> None:
    metadata = {"labels": {"team": "desk-9"}, "annotations": {"note": "hello"}}
    assert make_template(a_template(metadata=metadata)).digest == make_template().digest


def test_the_order_of_keys_in_a_template_does_not_change_the_hash() -> None:
    one = a_template({"hostname": "a", "nodeSelector": {"x": "1", "y": "2"}})
    other = a_template({"nodeSelector": {"y": "2", "x": "1"}, "hostname": "a"})
    assert make_template(one).digest == make_template(other).digest


# Merging --------------------------------------------------------------------------------------------------------------


def test_a_template_adds_sidecars_volumes_variables_labels_and_grace() -> None:
    sidecar = {"name": "logs", "image": "fluent-bit:4", "env": [{"name": "CLIENT_ID", "value": "of the sidecar"}]}
    pod = made(
        a_template(
            {
                "terminationGracePeriodSeconds": 120,
                "nodeSelector": {"disk": "ssd"},
                "volumes": [{"name": "books", "emptyDir": {}}],
                "initContainers": [{"name": "warm-up", "image": "busybox:1.37"}],
                "containers": [
                    sidecar,
                    {
                        "name": "algorithm",
                        "command": ["/trade"],
                        "volumeMounts": [{"name": "books", "mountPath": "/books"}],
                        "env": [{"name": "TZ", "value": "UTC"}, {"name": "URL", "value": "http://x/$(CLIENT_ID)"}],
                    },
                ],
            },
            {
                "labels": {"team": "desk-9"},
                "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true", "note": "hello"},
            },
        )
    )
    plain = made(None)
    own, *others = pod["spec"].pop("containers")
    (plain_own,) = plain["spec"].pop("containers")
    assert own == {
        **plain_own,
        "command": ["/trade"],
        "volumeMounts": [{"name": "books", "mountPath": "/books"}],
        # Ours first: a variable can refer only to those before it.
        "env": [
            *plain_own["env"],
            {"name": "TZ", "value": "UTC"},
            {"name": "URL", "value": "http://x/$(CLIENT_ID)"},
        ],
    }
    assert others == [sidecar]
    assert pod["spec"] == {
        **plain["spec"],
        "terminationGracePeriodSeconds": 120,
        "nodeSelector": {"disk": "ssd"},
        "volumes": [{"name": "books", "emptyDir": {}}],
        "initContainers": [{"name": "warm-up", "image": "busybox:1.37"}],
    }
    assert pod["metadata"]["labels"] == {**plain["metadata"]["labels"], "team": "desk-9"}
    changed = {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
        "note": "hello",
        "syncctl.io/template": pod["metadata"]["annotations"]["syncctl.io/template"],
    }
    assert {**plain["metadata"]["annotations"], **changed} == pod["metadata"]["annotations"]


def test_security_is_added_to_and_not_taken_away() -> None:
    pod = made(
        a_template(
            {
                "securityContext": {"runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {
                        "name": "algorithm",
                        "securityContext": {
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"add": ["NET_BIND_SERVICE"]},
                        },
                    }
                ],
            }
        )
    )
    assert pod["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["spec"]["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    }


def test_a_template_may_repeat_what_is_so_anyway() -> None:
    assert make_template(
        a_template(
            {
                "restartPolicy": "Always",
                "automountServiceAccountToken": False,
                "securityContext": {"runAsNonRoot": True},
                "containers": [
                    {"name": "algorithm", "securityContext": {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}}
                ],
            }
        )
    )


def test_nothing_written_is_nothing_said() -> None:
    empty = a_template({"containers": None, "securityContext": None}, {"labels": None, "annotations": None})
    assert make_template(empty).labels == {}
    assert made(with_container(env=None, securityContext=None))["spec"] == made(None)["spec"]


# Refusals -------------------------------------------------------------------------------------------------------------


def test_everything_that_syncctl_owns_is_refused_in_one_error() -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "x",
            "namespace": "y",
            "labels": {
                "app.kubernetes.io/managed-by": "x",
                "app.kubernetes.io/name": "x",
                "app.kubernetes.io/instance": "x",
                "syncctl.io/fleet": "x",
                "syncctl.io/client-id": "x",
                "team": "desk-9",
            },
            "annotations": {
                "syncctl.io/client-name": "x",
                "syncctl.io/version": "x",
                "syncctl.io/spec-hash": "x",
                "syncctl.io/restart-generation": "x",
                "syncctl.io/template": "x",
                "syncctl.io/replaced": "x",
                "syncctl.io/admitted": "x",
                "syncctl.io/overridden": "x",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": True,
            "nodeName": "node-1",
            "securityContext": {"runAsNonRoot": False, "seccompProfile": {"type": "Unconfined"}},
            "containers": [
                {
                    "name": "algorithm",
                    "image": "x",
                    "resources": {},
                    "env": [
                        {"name": "ALGORITHM", "value": "x"},
                        {"name": "CLIENT_ID", "value": "x"},
                        {"name": "CLIENT_NAME", "value": "x"},
                        {"name": "CLIENT_VERSION", "value": "x"},
                        {"name": "SYNCCTL_SPEC", "value": "x"},
                    ],
                    "securityContext": {
                        "runAsNonRoot": False,
                        "seccompProfile": {"type": "Unconfined"},
                        "allowPrivilegeEscalation": True,
                        "capabilities": {"drop": ["NET_RAW"]},
                    },
                }
            ],
        },
        "status": {"phase": "Running"},
    }
    with pytest.raises(InvalidInput) as raised:
        make_template(document)
    restricted = 'for Pod Security "restricted"'
    container = "spec.containers[algorithm]"
    problems = [
        "status: a template has apiVersion, kind, metadata and spec",
        "metadata.name: set by syncctl",
        "metadata.namespace: set by syncctl",
        "metadata.labels.app.kubernetes.io/managed-by: set by syncctl",
        "metadata.labels.app.kubernetes.io/name: set by syncctl",
        "metadata.labels.app.kubernetes.io/instance: set by syncctl",
        "metadata.labels.syncctl.io/fleet: set by syncctl",
        "metadata.labels.syncctl.io/client-id: set by syncctl",
        "metadata.annotations.syncctl.io/client-name: set by syncctl",
        "metadata.annotations.syncctl.io/version: set by syncctl",
        "metadata.annotations.syncctl.io/spec-hash: set by syncctl",
        "metadata.annotations.syncctl.io/restart-generation: set by syncctl",
        "metadata.annotations.syncctl.io/template: set by syncctl",
        "metadata.annotations.syncctl.io/replaced: set by syncctl",
        "metadata.annotations.syncctl.io/admitted: set by syncctl",
        "metadata.annotations.syncctl.io/overridden: set by syncctl",
        'spec.restartPolicy: always "Always"',
        "spec.automountServiceAccountToken: always false",
        "spec.nodeName: leave the choice to the scheduler; use nodeSelector or affinity",
        f"spec.securityContext.runAsNonRoot: always true, {restricted}",
        f'spec.securityContext.seccompProfile.type: always "RuntimeDefault", {restricted}',
        f"{container}.image: comes from the client's row",
        f"{container}.resources: comes from the client's row",
        f"{container}.env.ALGORITHM: set by syncctl",
        f"{container}.env.CLIENT_ID: set by syncctl",
        f"{container}.env.CLIENT_NAME: set by syncctl",
        f"{container}.env.CLIENT_VERSION: set by syncctl",
        f"{container}.env.SYNCCTL_SPEC: set by syncctl",
        f"{container}.securityContext.runAsNonRoot: always true, {restricted}",
        f'{container}.securityContext.seccompProfile.type: always "RuntimeDefault", {restricted}',
        f"{container}.securityContext.allowPrivilegeEscalation: always false, {restricted}",
        f'{container}.securityContext.capabilities.drop: always ["ALL"], {restricted}',
    ]
    assert list(raised.value.problems) == problems
    assert raised.value.message == f"pod template: {'; '.join(problems)}"
    assert raised.value.hint == "a template adds to the pod; what it may not set comes from the database"


def itself() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["again"] = [loop]
    return loop


HOSTILE = {
    "a list": ([], "not a mapping; write a v1 Pod in YAML"),
    "a word": ("Pod", "not a mapping; write a v1 Pod in YAML"),
    "false": (False, "not a mapping; write a v1 Pod in YAML"),
    "nothing in it": ({}, "is None/None, expected apiVersion v1, kind Pod"),
    "a deployment": (
        {"apiVersion": "apps/v1", "kind": "Deployment"},
        "is apps/v1/Deployment, expected apiVersion v1, kind Pod",
    ),
    "metadata a list": (a_template(metadata=["x"]), "metadata and spec are mappings"),
    "spec a word": (a_template("x"), "metadata and spec are mappings"),
    "labels a list": (a_template(metadata={"labels": ["x"]}), "metadata.labels: not a mapping"),
    "annotations a word": (a_template(metadata={"annotations": "x"}), "metadata.annotations: not a mapping"),
    "an annotation a number": (
        a_template(metadata={"annotations": {"port": 9090}}),
        'metadata.annotations.port: 9090 is not text; put it in quotes: "9090"',
    ),
    "an annotation a truth": (
        a_template(metadata={"annotations": {"scrape": True}}),
        'metadata.annotations.scrape: true is not text; put it in quotes: "true"',
    ),
    "an annotation a date": (
        a_template(metadata={"annotations": {"since": date(2026, 3, 2)}}),
        'metadata.annotations.since: 2026-03-02 is not text; put it in quotes: "2026-03-02"',
    ),
    "a label left empty": (
        a_template(metadata={"labels": {"team": None}}),
        'metadata.labels.team: nothing is not text; put it in quotes: ""',
    ),
    "a label key a number": (
        a_template(metadata={"labels": {9: "desk"}}),
        'metadata.labels: the key 9 is not text; put it in quotes: "9"',
    ),
    "containers a mapping": (a_template({"containers": {"name": "x"}}), "spec.containers: not a list of containers"),
    "a container null": (a_template({"containers": [None]}), "spec.containers: not a list of containers"),
    "a container a word": (a_template({"containers": ["algorithm"]}), "spec.containers: not a list of containers"),
    "two of ours": (
        a_template({"containers": [{"name": "algorithm"}, {"name": "algorithm"}]}),
        "spec.containers: two are named algorithm",
    ),
    "env a mapping": (
        with_container(env={"TZ": "UTC"}),
        "spec.containers[algorithm].env: not a list of variables, each with a name",
    ),
    "env a word": (
        with_container(env="TZ=UTC"),
        "spec.containers[algorithm].env: not a list of variables, each with a name",
    ),
    "env a number": (
        with_container(env=5),
        "spec.containers[algorithm].env: not a list of variables, each with a name",
    ),
    "a variable null": (
        with_container(env=[None]),
        "spec.containers[algorithm].env: not a list of variables, each with a name",
    ),
    "a variable without a name": (
        with_container(env=[{"value": "x"}]),
        "spec.containers[algorithm].env: not a list of variables, each with a name",
    ),
    "a variable a number": (
        with_container(env=[{"name": "PORT", "value": 9090}]),
        'spec.containers[algorithm].env.PORT: 9090 is not text; put it in quotes: "9090"',
    ),
    "a security context a list": (a_template({"securityContext": []}), "spec.securityContext: not a mapping"),
    "seccomp taken away": (
        a_template({"securityContext": {"seccompProfile": None}}),
        'spec.securityContext.seccompProfile: always {"type": "RuntimeDefault"}, for Pod Security "restricted"',
    ),
    "seccomp a word": (
        a_template({"securityContext": {"seccompProfile": "RuntimeDefault"}}),
        "spec.securityContext.seccompProfile: not a mapping",
    ),
    "capabilities taken away": (
        with_container(securityContext={"capabilities": None}),
        "spec.containers[algorithm].securityContext.capabilities:"
        ' always {"drop": ["ALL"]}, for Pod Security "restricted"',
    ),
    "a truth written as a number": (
        a_template({"securityContext": {"runAsNonRoot": 1}}),
        'spec.securityContext.runAsNonRoot: always true, for Pod Security "restricted"',
    ),
    "a restart policy left empty": (a_template({"restartPolicy": None}), 'spec.restartPolicy: always "Always"'),
    "no grace": (
        a_template({"terminationGracePeriodSeconds": 0}),
        "spec.terminationGracePeriodSeconds: 0 is under 1;"
        " a process that is killed at once leaves orders in the market",
    ),
    "keys of two kinds": (
        a_template({"nodeSelector": {1: "x", "disk": "ssd"}}),
        'spec.nodeSelector: the key 1 is not text; put it in quotes: "1"',
    ),
    "a key a date": (
        a_template({"nodeSelector": {date(2026, 3, 2): "x"}}),
        'spec.nodeSelector: the key 2026-03-02 is not text; put it in quotes: "2026-03-02"',
    ),
    "a time": (
        a_template({"hostname": datetime(2026, 3, 2, 9, 30)}),  # noqa: DTZ001 # what YAML makes of an unquoted time
        'spec.hostname: 2026-03-02 09:30:00 is not text; put it in quotes: "2026-03-02 09:30:00"',
    ),
    "not a number": (
        a_template({"tolerations": [{"tolerationSeconds": float("nan")}]}),
        'spec.tolerations[0].tolerationSeconds: nan is not text; put it in quotes: "nan"',
    ),
    "an anchor that holds itself": (a_template({"affinity": itself()}), "spec.affinity.again[0]: contains itself"),
}


@pytest.mark.parametrize(("document", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_is_named_and_nothing_crashes(document: object, problem: str) -> None:
    assert problems_of(document) == (problem,)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.dates(), st.binary(max_size=2)
)
keys = st.one_of(
    st.sampled_from(
        [
            *("apiVersion", "kind", "metadata", "spec", "labels", "annotations", "containers", "securityContext"),
            *("capabilities", "drop", "seccompProfile", "env", "name", "value", "image", "restartPolicy", names.FLEET),
        ]
    ),
    scalars,
)
anything = st.recursive(
    st.one_of(scalars, st.sampled_from(["v1", "Pod", "algorithm", "ALGORITHM", "ALL"])),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(keys, below, max_size=4)),
    max_leaves=12,
)
documents = st.one_of(
    anything,
    st.builds(a_template, anything, anything),
    st.builds(lambda container: a_template({"containers": [container]}), anything),
    st.builds(
        lambda env, security: with_container(env=env, securityContext=security),
        anything,
        anything,
    ),
)


@given(documents)
def test_any_document_makes_pods_or_is_refused_with_reasons(document: object) -> None:
    try:
        template = make_template(document)
    except InvalidInput as error:
        refused = error
    else:
        assert_makes_pods(template, desired_pod())
        return
    assert all(refused.problems or [""])


def assert_makes_pods(template: PodTemplate, pod: DesiredPod) -> None:
    manifest = pod_manifest(Blueprint(template, FLEET, "desk"), pod)
    assert json.loads(json.dumps(manifest, allow_nan=False)) == manifest
    spec = manifest["spec"]
    assert (spec["restartPolicy"], spec["automountServiceAccountToken"]) == ("Always", False)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    own = [container for container in spec["containers"] if container.get("name") == names.CONTAINER]
    assert [container["image"] for container in own] == [pod.image]
    assert own[0]["securityContext"]["capabilities"]["drop"] == ["ALL"]


# C10: what stands in the text ----------------------------------------------------------------------------------------

UNQUOTED = """\
apiVersion: v1
kind: Pod
metadata:
  labels: {opens: 9:30, team: ~, 012: x}
  annotations:
    on: On
    since: 2026-03-02
    group: 0777
    big: 1_000
    plain: text
spec:
  nodeSelector: {2026-03-02: x}
  hostname: 2026-03-02 09:30:00
  containers:
  - {name: sidecar, image: x}
  - name: algorithm
    env: [{name: OPENS, value: 9:30}, {name: FAST, value: yes}, {name: RIGHT, value: "9:30"}]
"""


def test_c10_advice_quotes_what_stands_in_the_text_and_not_what_yaml_makes_of_it() -> None:
    with pytest.raises(InvalidInput) as caught:
        template_of(UNQUOTED)
    assert sorted(set(caught.value.problems)) == sorted(
        [
            'metadata.labels.opens: 9:30 is not text; put it in quotes: "9:30"',
            'metadata.labels.team: nothing is not text; put it in quotes: ""',
            'metadata.labels: the key 012 is not text; put it in quotes: "012"',
            'metadata.annotations: the key on is not text; put it in quotes: "on"',
            'metadata.annotations.since: 2026-03-02 is not text; put it in quotes: "2026-03-02"',
            'metadata.annotations.group: 0777 is not text; put it in quotes: "0777"',
            'metadata.annotations.big: 1_000 is not text; put it in quotes: "1_000"',
            'spec.nodeSelector: the key 2026-03-02 is not text; put it in quotes: "2026-03-02"',
            'spec.hostname: 2026-03-02 09:30:00 is not text; put it in quotes: "2026-03-02 09:30:00"',
            'spec.containers[algorithm].env.OPENS: 9:30 is not text; put it in quotes: "9:30"',
            'spec.containers[algorithm].env.FAST: yes is not text; put it in quotes: "yes"',
        ]
    )


def test_c10_what_is_merged_is_quoted_as_far_as_it_can_be() -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata:\n  labels: &l {a: 9:30}\n  annotations: {<<: *l, b: 1}\n"
    with pytest.raises(InvalidInput) as caught:
        template_of(text)
    assert caught.value.problems[0] == 'metadata.labels.a: 9:30 is not text; put it in quotes: "9:30"'
    assert len(caught.value.problems) == 3
