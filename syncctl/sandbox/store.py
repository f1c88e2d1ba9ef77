"""The objects of the sandbox and the rules of the API for them. No HTTP.

Thread-safe by one lock. Every change gets the next resourceVersion of the whole store, is remembered for watches (a
bounded number of them) and is told to the subscribers in order. Refusals are `ApiError`.
"""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from syncctl.sandbox import rules
from syncctl.sandbox.decoding import WrongType, decode, shaped, unknown_field_warnings
from syncctl.sandbox.deletion import TERMINAL_PHASES, DeleteOptions, check_preconditions, goes_now, marked_for_deletion
from syncctl.sandbox.errors import already_exists, bad_request, forbidden, method_not_allowed, no_such_path, not_found
from syncctl.sandbox.history import History, Watch
from syncctl.sandbox.listing import ListOptions, Page, Pager, Shelf
from syncctl.sandbox.objects import (
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    RESOURCES,
    Clock,
    Event,
    EventType,
    Json,
    Record,
    Resource,
    timestamp,
)
from syncctl.sandbox.patches import STRATEGIC, apply_patch
from syncctl.sandbox.selectors import parse_selection

Listener = Callable[[Event], None]
_SYSTEM_PRIORITIES = {"system-cluster-critical": 2000000000, "system-node-critical": 2000001000}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write answers: the object after it, and the warnings for the client."""

    record: Record
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Quota:
    name: str
    pods: int


class Store:
    """The cluster's state. `clock` gives epoch seconds; all times the objects carry come from it."""

    def __init__(
        self,
        clock: Clock = time.time,
        *,
        namespaces: Iterable[str] = ("default", "trading"),
        nodes: Iterable[str] = ("sandbox-1",),
        history_limit: int = 10_000,
        saved: Iterable[tuple[Resource, Json]] = (),
        version: int = 0,
    ) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.supports_resize = True
        self.priority_classes = dict(_SYSTEM_PRIORITIES)
        self._version = version
        self._shelves = {resource: Shelf(resource) for resource in RESOURCES.values()}
        self._live_pods: Counter[str] = Counter()
        self._quotas: dict[str, Quota] = {}
        self._listeners: list[Listener] = []
        self._pager = Pager(clock)
        for resource, content in saved:
            self._restore(resource, content)
        self.history = History(self.lock, history_limit, self._version)
        for name in namespaces:
            if not self._shelves[NAMESPACES].get("", name):
                self.create(NAMESPACES, "", {"metadata": {"name": name}})
        for name in nodes:
            if not self._shelves[NODES].get("", name):
                with self.lock:
                    self._commit("ADDED", NODES, rules.node_object(name, str(uuid.uuid4()), timestamp(clock())), None)

    @property
    def version(self) -> int:
        """The resourceVersion of the newest change."""
        return self._version

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with every change from now on, in order and under the lock: it must be quick."""
        with self.lock:
            self._listeners.append(listener)

    def set_quota(self, namespace: str, pods: int | None, name: str = "sandbox") -> None:
        """Allow at most this many pods that have not ended in the namespace; None lifts the quota."""
        with self.lock:
            if pods is None:
                self._quotas.pop(namespace, None)
            else:
                self._quotas[namespace] = Quota(name, pods)

    def expire(self) -> None:
        """Forget old changes and snapshots, as a compaction does: tokens and old versions are answered with 410."""
        with self.lock:
            self._pager.forget()
            self.history.forget()

    # Reading

    def find(self, resource: Resource, namespace: str, name: str) -> Record | None:
        with self.lock:
            return self._shelves[resource].get(namespace, name)

    def get(self, resource: Resource, namespace: str, name: str) -> Record:
        record = self.find(resource, namespace, name)
        if record is None:
            raise not_found(resource.plural, name)
        return record

    def list(self, resource: Resource, namespace: str = "", options: ListOptions | None = None) -> Page:
        """One page, or everything without a limit. No namespace means all of them."""
        options = options or ListOptions()
        selection = parse_selection(resource, options.label_selector, options.field_selector)
        asked = _version_number(options.resource_version)
        with self.lock:
            if asked > self._version:
                self.history.place_after(asked, self._version)  # raises
            return self._pager.page(self._shelves[resource], namespace, self._version, selection, options)

    def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        initial: bool | None = None,
    ) -> Watch:
        """Changes after this version. Without one (or with "0") the objects that exist come first, as ADDED."""
        selection = parse_selection(resource, label_selector, field_selector)
        asked = _version_number(resource_version)
        with self.lock:
            records: list[Record] = []
            if initial or (initial is None and not asked):
                records = [one for one in self._shelves[resource].ordered(namespace) if selection.matches(one)]
                asked = 0
            place = self.history.place_after(asked or self._version, self._version)
            return Watch(self.history, resource, namespace, selection, place, records)

    # Writing

    def create(
        self,
        resource: Resource,
        namespace: str,
        body: bytes | Json,
        *,
        dry_run: bool = False,
        field_validation: str = "Warn",
    ) -> Outcome:
        """Store a new object with the server's defaults. Raises ApiError 400, 403, 404, 409 or 422."""
        if resource not in rules.SHAPES:
            raise method_not_allowed()
        content, warnings = decode(body, rules.SHAPES[resource], field_validation)
        with self.lock:
            if resource.namespaced:
                self._check_namespace_open(namespace, (content.get("metadata") or {}).get("name", ""))
            now = timestamp(self.clock())
            new = rules.new_object(resource, namespace, content, str(uuid.uuid4()), now, self.priority_classes)
            name = new["metadata"]["name"]
            if resource is PODS:
                self._check_quota(namespace, name)
            if namesake := self._shelves[resource].get(namespace, name):
                raise already_exists(resource.plural, name, terminating=namesake.terminating)
            if dry_run:
                return Outcome(_unstored(resource, new), warnings)
            return Outcome(self._commit("ADDED", resource, new, None), warnings)

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        content_type: str = STRATEGIC,
        *,
        resize: bool = False,
        dry_run: bool = False,
        field_validation: str = "Warn",
    ) -> Outcome:
        """Change an object by a merge, strategic merge or JSON patch. A resourceVersion in it is a precondition."""
        if resource not in rules.SHAPES:
            raise method_not_allowed()
        if resize and not self.supports_resize:
            raise no_such_path()
        with self.lock:
            record = self.get(resource, namespace, name)
            patched = apply_patch(record.json, body, content_type)
            shape = rules.SHAPES[resource]
            try:
                content = shaped(patched, shape)
            except WrongType as error:
                raise rules.wrong_patch(patched, str(error)) from error
            warnings = unknown_field_warnings(patched, shape, field_validation)
            new = rules.changed_object(record, content, resize=resize)
            return Outcome(self._save(record, new, dry_run=dry_run), warnings)

    def replace(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes | Json,
        *,
        dry_run: bool = False,
        field_validation: str = "Warn",
    ) -> Outcome:
        """PUT: the object becomes `body`. A uid and a resourceVersion in it are preconditions."""
        if resource not in rules.SHAPES:
            raise method_not_allowed()
        content, warnings = decode(body, rules.SHAPES[resource], field_validation)
        with self.lock:
            record = self.get(resource, namespace, name)
            precondition = (content.get("metadata") or {}).get("uid") or ""
            new = rules.changed_object(record, content, resize=False, precondition_uid=precondition)
            return Outcome(self._save(record, new, dry_run=dry_run), warnings)

    def delete(self, resource: Resource, namespace: str, name: str, options: DeleteOptions | None = None) -> Record:
        """Begin (or shorten, or finish) the deletion of an object, and answer what is left of it."""
        options = options or DeleteOptions()
        if resource not in rules.SHAPES:
            raise method_not_allowed()
        with self.lock:
            record = self.get(resource, namespace, name)
            check_preconditions(record, options)
            if resource is NAMESPACES:
                return self._delete_namespace(record, options)
            return self._save(record, marked_for_deletion(record, options, self.clock()), dry_run=options.dry_run)

    # The kubelet's side

    def bind(self, namespace: str, name: str, uid: str, node: str, status: Json) -> Record | None:
        """Schedule a pod and give it its first status there; None when it is gone or is another pod by now."""
        with self.lock:
            record = self._same(namespace, name, uid)
            if record is None or record.node:
                return record
            new = record.content
            new["spec"]["nodeName"] = node
            return self._save(record, {**new, "status": status})

    def write_status(self, namespace: str, name: str, status: Json, uid: str = "") -> Record | None:
        """Replace a pod's status; None when the pod is gone or (with a uid) is another pod by now."""
        with self.lock:
            record = self._same(namespace, name, uid)
            return record and self._save(record, {**record.content, "status": status})

    def confirm_deletion(self, namespace: str, name: str, uid: str) -> None:
        """The pod's processes have ended: it goes, unless finalizers hold it."""
        with self.lock:
            record = self._same(namespace, name, uid)
            if record is not None and record.terminating:
                self._save(record, marked_for_deletion(record, DeleteOptions(0), self.clock()))

    # Below, the caller holds the lock

    def _same(self, namespace: str, name: str, uid: str) -> Record | None:
        record = self._shelves[PODS].get(namespace, name)
        return record if record is not None and uid in {"", record.uid} else None

    def _check_namespace_open(self, namespace: str, name: str) -> None:
        if self.get(NAMESPACES, "", namespace).terminating:
            cause = {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated"}
            cause["field"] = "metadata.namespace"
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden("pods", name, why, [cause])

    def _check_quota(self, namespace: str, name: str) -> None:
        quota, used = self._quotas.get(namespace), self._live_pods[namespace]
        if quota and used + 1 > quota.pods:
            numbers = f"requested: pods=1, used: pods={used}, limited: pods={quota.pods}"
            raise forbidden("pods", name, f"exceeded quota: {quota.name}, {numbers}")

    def _delete_namespace(self, record: Record, options: DeleteOptions) -> Record:
        if record.name == "default":
            raise forbidden("namespaces", record.name, "this namespace may not be deleted")
        marked = record.content if record.terminating else marked_for_deletion(record, options, self.clock())
        marked["status"] = {"phase": "Terminating"}
        marked["metadata"].pop("deletionGracePeriodSeconds", None)
        answer = self._save(record, marked, dry_run=options.dry_run)
        if not options.dry_run:
            for pod in self._shelves[PODS].ordered(record.name):
                self.delete(PODS, pod.namespace, pod.name)
            self._finish_namespace(record.name)
        return answer

    def _finish_namespace(self, name: str) -> None:
        namespace = self._shelves[NAMESPACES].get("", name)
        if namespace and namespace.terminating and not self._shelves[PODS].count(name):
            self._commit("DELETED", NAMESPACES, namespace.content, namespace)

    def _save(self, record: Record, new: Json, *, dry_run: bool = False) -> Record:
        """Store a changed object and let it go when nothing holds it. No change is no event and no new version."""
        if dry_run:
            return Record(record.resource, new, record.version)
        if new != record.content:
            record = self._commit("MODIFIED", record.resource, new, record)
        if goes_now(new):
            record = self._commit("DELETED", record.resource, new, record)
            self._finish_namespace(record.namespace)
        return record

    def _commit(self, event_type: EventType, resource: Resource, content: Json, previous: Record | None) -> Record:
        self._version += 1
        metadata = {**content["metadata"], "resourceVersion": str(self._version)}
        record = Record(resource, {**content, "metadata": metadata}, self._version)
        shelf = self._shelves[resource]
        if event_type == "DELETED":
            shelf.remove(record)
        else:
            shelf.put(record)
        if resource is PODS:
            self._live_pods[record.namespace] += (event_type != "DELETED" and _lives(record)) - _lives(previous)
        event = Event(event_type, record, previous)
        self.history.append(event)
        for listener in self._listeners:
            listener(event)
        return record

    def _restore(self, resource: Resource, content: Json) -> None:
        record = Record(resource, content, int(content["metadata"]["resourceVersion"]))
        self._version = max(self._version, record.version)
        self._shelves[resource].put(record)
        if resource is PODS:
            self._live_pods[record.namespace] += _lives(record)


def _lives(record: Record | None) -> bool:
    """Whether a pod counts against a quota."""
    return record is not None and record.phase not in TERMINAL_PHASES


def _unstored(resource: Resource, content: Json) -> Record:
    metadata = {name: value for name, value in content["metadata"].items() if name != "resourceVersion"}
    return Record(resource, {**content, "metadata": metadata}, 0)


def _version_number(text: str) -> int:
    if text and not text.isdecimal():
        raise bad_request(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text or 0)


__all__ = ["EVENTS", "NAMESPACES", "NODES", "PODS", "DeleteOptions", "ListOptions", "Outcome", "Page", "Store", "Watch"]
