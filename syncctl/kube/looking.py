"""What a person looks at beyond a pass's needs: how containers ended, events, logs."""

from collections.abc import Iterator
from decimal import Decimal
from urllib.parse import quote, urlencode

import msgspec

from syncctl.core.errors import PodNotFound
from syncctl.core.explanation import Event, Termination
from syncctl.core.quantity import parse
from syncctl.kube.api import ApiCluster
from syncctl.kube.payloads import Struct

MOST_EVENTS = 100
_NEARLY = Decimal("0.9")


class _Ended(Struct):
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    finished_at: str | None = None


class _State(Struct):
    terminated: _Ended | None = None


class _ContainerStatus(Struct):
    name: str
    state: _State | None = None
    last_state: _State | None = None


class _Status(Struct):
    init_container_statuses: list[_ContainerStatus] | None = None
    container_statuses: list[_ContainerStatus] | None = None


class _Pod(Struct):
    status: _Status = msgspec.field(default_factory=_Status)


class _Series(Struct):
    count: int = 0
    last_observed_time: str | None = None


class _EventMetadata(Struct):
    creation_timestamp: str | None = None


class _Event(Struct):
    metadata: _EventMetadata = msgspec.field(default_factory=_EventMetadata)
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    series: _Series | None = None


class _QuotaStatus(Struct):
    hard: dict[str, str] | None = None
    used: dict[str, str] | None = None


class _QuotaMetadata(Struct):
    name: str = ""


class _Quota(Struct):
    metadata: _QuotaMetadata = msgspec.field(default_factory=_QuotaMetadata)
    status: _QuotaStatus = msgspec.field(default_factory=_QuotaStatus)


class _Quotas(Struct):
    items: list[_Quota] | None = None


class _Events(Struct):
    items: list[_Event] | None = None


def terminations(cluster: ApiCluster, pod: str) -> tuple[Termination, ...]:
    """Return how the pod's containers ended last; nothing for one that is gone."""
    try:
        status = msgspec.json.decode(cluster.look(f"/pods/{quote(pod)}", f"get pod {pod}"), type=_Pod).status
    except PodNotFound:
        return ()
    found = []
    for container in (*(status.init_container_statuses or ()), *(status.container_statuses or ())):
        for state in (container.state, container.last_state):
            if state and (ended := state.terminated):
                told = (ended.reason, ended.exit_code, ended.finished_at or "", ended.message)
                found.append(Termination(container.name, *told))
                break
    return tuple(found)


def events(cluster: ApiCluster, pod: str) -> tuple[Event, ...]:
    """Return what Kubernetes noted about a pod lately, newest first. Raises AccessDenied where the right is missing."""
    query = urlencode({"fieldSelector": f"involvedObject.kind=Pod,involvedObject.name={pod}", "limit": MOST_EVENTS})
    found = msgspec.json.decode(cluster.look(f"/events?{query}", "list events"), type=_Events).items or []
    told = [
        Event(
            each.type,
            each.reason,
            " ".join(each.message.split()),
            max(each.count or 1, each.series.count if each.series else 1),
            (each.series and each.series.last_observed_time)
            or each.last_timestamp
            or each.event_time
            or each.metadata.creation_timestamp
            or "",
        )
        for each in found
    ]
    return tuple(sorted(told, key=lambda event: event.at, reverse=True))


def logs(cluster: ApiCluster, pod: str, container: str, **options: object) -> Iterator[bytes]:
    """Yield a container's log as it comes; `options` are the API's: follow, previous, sinceSeconds, tailLines."""
    given = {name: str(value).lower() for name, value in options.items() if value is not None and value is not False}
    query = urlencode({"container": container, **given})
    return cluster.stream(f"/pods/{quote(pod)}/log?{query}", f"read the log of pod {pod}")


def full_quotas(cluster: ApiCluster) -> list[str]:
    """Return what of the namespace's quotas is used up to nine tenths, in words."""
    found = msgspec.json.decode(cluster.look("/resourcequotas", "list resourcequotas"), type=_Quotas).items or []
    full = []
    for quota in found:
        used = quota.status.used or {}
        for resource, hard in (quota.status.hard or {}).items():
            if parse(used.get(resource, "0")) >= _NEARLY * parse(hard):
                full.append(f"{quota.metadata.name}: {used.get(resource, '0')} of {hard} {resource}")
    return full
