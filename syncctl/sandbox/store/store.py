"""What one can do with the objects of the sandbox: the verbs of the API, without HTTP.

Thread-safe by one lock. Refusals are `ApiError`, worded as the real server words them.
"""

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from syncctl.sandbox.objects import (
    NAMESPACES,
    NODES,
    PODS,
    Clock,
    Json,
    Record,
    Resource,
    timestamp,
)
from syncctl.sandbox.refusals import (
    already_exists,
    forbidden,
    method_not_allowed,
    no_such_path,
    not_found,
    too_large_version,
)
from syncctl.sandbox.rules import intake
from syncctl.sandbox.rules.decoding import WrongType, decode, shaped, unknown_field_warnings
from syncctl.sandbox.rules.deletion import DeleteOptions, check_preconditions, marked_for_deletion
from syncctl.sandbox.rules.patches import STRATEGIC, apply_patch
from syncctl.sandbox.rules.shapes import Shape
from syncctl.sandbox.store.ledger import Ledger, Listener
from syncctl.sandbox.store.listing import ListOptions, Page, Pager, version_number
from syncctl.sandbox.store.selectors import parse_selection
from syncctl.sandbox.store.watches import Watch

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
        self._ledger = Ledger(history_limit, saved, version)
        self.lock = self._ledger.lock
        self.history = self._ledger.history
        self.supports_resize = True
        self.priority_classes = dict(_SYSTEM_PRIORITIES)
        self._quotas: dict[str, Quota] = {}
        self._pager = Pager(clock)
        for name in namespaces:
            if not self._ledger.shelves[NAMESPACES].get("", name):
                self.create(NAMESPACES, "", {"metadata": {"name": name}})
        for name in nodes:
            if not self._ledger.shelves[NODES].get("", name):
                self._ledger.add(NODES, intake.node_object(name, str(uuid.uuid4()), timestamp(clock())))

    @property
    def version(self) -> int:
        """The resourceVersion of the newest change."""
        return self._ledger.version

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with every change from now on, in order, under the lock: it must be quick."""
        self._ledger.subscribe(listener)

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
            return self._ledger.shelves[resource].get(namespace, name)

    def get(self, resource: Resource, namespace: str, name: str) -> Record:
        record = self.find(resource, namespace, name)
        if record is None:
            raise not_found(resource.plural, name)
        return record

    def list(self, resource: Resource, namespace: str = "", options: ListOptions | None = None) -> Page:
        """One page, or everything without a limit. No namespace means all of them."""
        options = options or ListOptions()
        selection = parse_selection(resource, options.label_selector, options.field_selector)
        asked = version_number(options.resource_version)
        with self.lock:
            if asked > self._ledger.version:
                raise too_large_version(asked, self._ledger.version)
            return self._pager.page(self._ledger.shelves[resource], namespace, self._ledger.version, selection, options)

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
        asked = version_number(resource_version)
        with self.lock:
            records: list[Record] = []
            if initial or (initial is None and not asked):
                records = [one for one in self._ledger.shelves[resource].ordered(namespace) if selection.matches(one)]
                asked = 0
            place = self.history.place_after(asked or self._ledger.version, self._ledger.version)
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
        """Store a new object with the server's defaults. Raises ApiError 400, 403, 404, 405, 409 or 422."""
        content, warnings = decode(body, _shape_of(resource), field_validation)
        with self.lock:
            if resource.namespaced:
                self._check_namespace_open(namespace, (content.get("metadata") or {}).get("name", ""))
            now = timestamp(self.clock())
            new = intake.new_object(resource, namespace, content, str(uuid.uuid4()), now, self.priority_classes)
            name = new["metadata"]["name"]
            if resource is PODS:
                self._check_quota(namespace, name)
            if namesake := self._ledger.shelves[resource].get(namespace, name):
                raise already_exists(resource.plural, name, terminating=namesake.terminating)
            if dry_run:
                return Outcome(_unstored(resource, new), warnings)
            return Outcome(self._ledger.add(resource, new), warnings)

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
        """Change an object by a merge patch or a strategic merge patch. A resourceVersion in it is a precondition."""
        shape = _shape_of(resource)
        if resize and not self.supports_resize:
            raise no_such_path()
        with self.lock:
            record = self.get(resource, namespace, name)
            patched = apply_patch(record.json, body, content_type)
            try:
                content = shaped(patched, shape)
            except WrongType as error:
                raise intake.wrong_patch(patched, str(error)) from error
            warnings = unknown_field_warnings(patched, shape, field_validation)
            new = intake.changed_object(record, content, resize=resize)
            return Outcome(self._ledger.save(record, new, dry_run=dry_run), warnings)

    def delete(self, resource: Resource, namespace: str, name: str, options: DeleteOptions | None = None) -> Record:
        """Begin (or shorten, or finish) the deletion of an object, and answer what is left of it."""
        options = options or DeleteOptions()
        _shape_of(resource)  # raises
        with self.lock:
            record = self.get(resource, namespace, name)
            check_preconditions(record, options)
            if resource is NAMESPACES:
                return self._delete_namespace(record, options)
            return self._ledger.save(
                record, marked_for_deletion(record, options, self.clock()), dry_run=options.dry_run
            )

    # The kubelet's side

    def bind(self, namespace: str, name: str, uid: str, node: str, status: Json) -> Record | None:
        """Schedule a pod and give it its first status there; None when it is gone or is another pod by now."""
        with self.lock:
            record = self._same(namespace, name, uid)
            if record is None or record.node:
                return record
            new = record.content
            new["spec"]["nodeName"] = node
            return self._ledger.save(record, {**new, "status": status})

    def write_status(self, namespace: str, name: str, status: Json, uid: str = "") -> Record | None:
        """Replace a pod's status; None when the pod is gone or (with a uid) is another pod by now."""
        with self.lock:
            record = self._same(namespace, name, uid)
            return record and self._ledger.save(record, {**record.content, "status": status})

    def confirm_deletion(self, namespace: str, name: str, uid: str) -> None:
        """The pod's processes have ended: it goes, unless finalizers hold it."""
        with self.lock:
            record = self._same(namespace, name, uid)
            if record is not None and record.terminating:
                self._ledger.save(record, marked_for_deletion(record, DeleteOptions(0), self.clock()))

    # Below, the caller holds the lock

    def _same(self, namespace: str, name: str, uid: str) -> Record | None:
        record = self._ledger.shelves[PODS].get(namespace, name)
        return record if record is not None and uid in {"", record.uid} else None

    def _check_namespace_open(self, namespace: str, name: str) -> None:
        if self.get(NAMESPACES, "", namespace).terminating:
            cause = {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated"}
            cause["field"] = "metadata.namespace"
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden("pods", name, why, [cause])

    def _check_quota(self, namespace: str, name: str) -> None:
        quota, used = self._quotas.get(namespace), self._ledger.live_pods[namespace]
        if quota and used + 1 > quota.pods:
            numbers = f"requested: pods=1, used: pods={used}, limited: pods={quota.pods}"
            raise forbidden("pods", name, f"exceeded quota: {quota.name}, {numbers}")

    def _delete_namespace(self, record: Record, options: DeleteOptions) -> Record:
        if record.name == "default":
            raise forbidden("namespaces", record.name, "this namespace may not be deleted")
        marked = record.content if record.terminating else marked_for_deletion(record, options, self.clock())
        marked["status"] = {"phase": "Terminating"}
        marked["metadata"].pop("deletionGracePeriodSeconds", None)
        answer = self._ledger.save(record, marked, dry_run=options.dry_run)
        if not options.dry_run:
            for pod in self._ledger.shelves[PODS].ordered(record.name):
                self.delete(PODS, pod.namespace, pod.name)
            self._ledger.finish_namespace(record.name)
        return answer


def _shape_of(resource: Resource) -> Shape:
    """The shape of a kind that can be written. Raises ApiError 405 for the others."""
    if resource not in intake.SHAPES:
        raise method_not_allowed()
    return intake.SHAPES[resource]


def _unstored(resource: Resource, content: Json) -> Record:
    metadata = {name: value for name, value in content["metadata"].items() if name != "resourceVersion"}
    return Record(resource, {**content, "metadata": metadata}, 0)
