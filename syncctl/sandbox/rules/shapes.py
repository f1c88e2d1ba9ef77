"""Which fields a pod and a namespace have, as far as the sandbox reads them.

From these tables come the check of types (done by msgspec at C speed), the list of unknown fields, and the paths in
error sentences. A field of kind `anything` is kept as it was sent.
"""

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from types import GenericAlias
from typing import Any

import msgspec

ANYTHING: Any = Any
QUANTITIES: Any = dict[str, str | int | float]


@dataclass(frozen=True)
class Shape:
    """One Go struct: its name in error sentences, its fields in order, and the msgspec type that checks them."""

    name: str
    leaves: dict[str, Any]
    children: dict[str, "Shape"]
    lists: frozenset[str]
    checked: Any

    def unknown_fields(self, value: dict[str, Any], path: str = "") -> list[str]:
        """The paths of fields that no such struct has, in the order they were sent."""
        unknown: list[str] = []
        if value.keys() - self.leaves.keys() - self.children.keys():
            known = self.leaves.keys() | self.children.keys()
            unknown.extend(f"{path}{name}" for name in value if name not in known)
        for name, child in self.children.items():
            inner = value.get(name)
            if not inner:
                continue
            if name in self.lists:
                for index, item in enumerate(inner):
                    unknown.extend(child.unknown_fields(item, f"{path}{name}[{index}].") if item else ())
            else:
                unknown.extend(child.unknown_fields(inner, f"{path}{name}."))
        return unknown

    def at(self, names: Iterable[str]) -> "Shape":
        """The innermost struct on the way along these field names."""
        shape = self
        for name in names:
            if name not in shape.children:
                break
            shape = shape.children[name]
        return shape


def _shape(name: str, children: dict[str, Shape] | None = None, lists: str = "", **kinds: str) -> Shape:
    types = {"text": str, "number": int, "flag": bool, "anything": ANYTHING, "texts": list[str]}
    types |= {
        "mapping": dict[str, str],
        "items": list[dict[str, Any]],
        "numbers": list[int],
        "struct": dict[str, Any],
        "quantities": QUANTITIES,
    }
    children = children or {}
    leaves = {field: types[kind] for kind, fields in kinds.items() for field in fields.split()}
    list_names = frozenset(lists.split())
    checks = dict(leaves)
    for field, child in children.items():
        checks[field] = GenericAlias(list, (child.checked,)) if field in list_names else child.checked
    fields = [(field, operator.or_(check, None) if check is not Any else Any, None) for field, check in checks.items()]
    checked = msgspec.defstruct(name, fields, omit_defaults=True)
    # msgspec looks a type through when it is first used, and two threads that do so at once end the process.
    msgspec.convert({}, checked)
    return Shape(name, leaves, children, list_names, checked)


_METADATA = _shape(
    "ObjectMeta",
    text="name generateName namespace selfLink uid resourceVersion creationTimestamp deletionTimestamp clusterName",
    number="generation deletionGracePeriodSeconds",
    mapping="labels annotations",
    texts="finalizers",
    items="ownerReferences managedFields",
)
_ENVIRONMENT = _shape("EnvVar", text="name value", struct="valueFrom")
_PORT = _shape("ContainerPort", text="name protocol hostIP", number="containerPort hostPort")
_MOUNT = _shape(
    "VolumeMount",
    text="name mountPath subPath subPathExpr mountPropagation recursiveReadOnly",
    flag="readOnly",
)
_RESOURCES = _shape("ResourceRequirements", quantities="limits requests", items="claims")
_SECURITY = _shape(
    "SecurityContext",
    struct="capabilities seLinuxOptions windowsOptions seccompProfile appArmorProfile",
    flag="privileged runAsNonRoot readOnlyRootFilesystem allowPrivilegeEscalation",
    number="runAsUser runAsGroup",
    text="procMount",
)
_CONTAINER = _shape(
    "Container",
    {
        "ports": _PORT,
        "env": _ENVIRONMENT,
        "resources": _RESOURCES,
        "volumeMounts": _MOUNT,
        "securityContext": _SECURITY,
    },
    lists="ports env volumeMounts",
    text="name image workingDir terminationMessagePath terminationMessagePolicy imagePullPolicy restartPolicy",
    texts="command args",
    items="envFrom resizePolicy restartPolicyRules volumeDevices",
    struct="livenessProbe readinessProbe startupProbe lifecycle",
    flag="stdin stdinOnce tty",
)
_POD_SECURITY = _shape(
    "PodSecurityContext",
    struct="seLinuxOptions windowsOptions seccompProfile appArmorProfile",
    number="runAsUser runAsGroup fsGroup",
    flag="runAsNonRoot",
    numbers="supplementalGroups",
    items="sysctls",
    text="fsGroupChangePolicy supplementalGroupsPolicy seLinuxChangePolicy",
)
_TOLERATION = _shape("Toleration", text="key operator value effect", number="tolerationSeconds")
_POD_SPEC = _shape(
    "PodSpec",
    {
        "initContainers": _CONTAINER,
        "containers": _CONTAINER,
        "tolerations": _TOLERATION,
        "securityContext": _POD_SECURITY,
    },
    lists="initContainers containers tolerations",
    items="volumes ephemeralContainers imagePullSecrets hostAliases readinessGates topologySpreadConstraints "
    "schedulingGates resourceClaims",
    text="restartPolicy dnsPolicy serviceAccountName serviceAccount nodeName hostname subdomain schedulerName "
    "priorityClassName runtimeClassName preemptionPolicy hostnameOverride",
    number="terminationGracePeriodSeconds activeDeadlineSeconds priority",
    flag="automountServiceAccountToken hostNetwork hostPID hostIPC shareProcessNamespace enableServiceLinks "
    "setHostnameAsFQDN hostUsers",
    mapping="nodeSelector",
    struct="affinity dnsConfig os resources workloadRef schedulingGroup",
    quantities="overhead",
)
POD = _shape("Pod", {"metadata": _METADATA, "spec": _POD_SPEC}, text="kind apiVersion", anything="status")
NAMESPACE = _shape("Namespace", {"metadata": _METADATA}, text="kind apiVersion", struct="spec", anything="status")
DELETE_OPTIONS = _shape(
    "DeleteOptions",
    {"preconditions": _shape("Preconditions", text="uid resourceVersion")},
    text="kind apiVersion propagationPolicy",
    number="gracePeriodSeconds",
    flag="orphanDependents ignoreStoreReadErrorWithClusterBreakingPotential",
    texts="dryRun",
)
