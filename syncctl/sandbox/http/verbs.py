"""One request to one response: what each verb of the API does with its parameters. No sockets."""

from collections.abc import Iterator

import msgspec

from syncctl.sandbox.http import printers
from syncctl.sandbox.http.messages import Request, Response
from syncctl.sandbox.http.paths import Target
from syncctl.sandbox.objects import PODS, Json, Record, Resource
from syncctl.sandbox.refusals import ApiError, bad_request, unsupported_media_type
from syncctl.sandbox.rules.decoding import decode
from syncctl.sandbox.rules.deletion import DeleteOptions
from syncctl.sandbox.rules.shapes import DELETE_OPTIONS
from syncctl.sandbox.store.listing import ListOptions
from syncctl.sandbox.store.store import Outcome, Store
from syncctl.sandbox.store.watches import Watch

LONGEST_WATCH_SECONDS = 3600.0
_JSON_TYPES = {"", "application/json", "*/*", "application/*"}


def rendering(request: Request, *, is_list: bool) -> str:
    """The first of the client's accepted representations that we have: json, table or partial. 406 for none."""
    accept = request.headers.get("accept", "")
    for choice in accept.split(","):
        media, _, parameters = choice.strip().partition(";")
        if media not in _JSON_TYPES:
            continue
        if "as=Table" in parameters:
            return "table"
        if "as=PartialObjectMetadataList" in parameters:
            if is_list:
                return "partial"
        elif "as=PartialObjectMetadata" in parameters:
            return "partial"
        elif "as=" not in parameters:
            return "json"
    message = (
        "only the following media types are accepted: application/json, application/json;as=Table;g=meta.k8s.io;v=v1"
    )
    raise ApiError(406, "NotAcceptable", message, {})


def answer(store: Store, request: Request, target: Target, verb: str) -> Response:
    """Carry out a request that is no watch. Refusals are ApiError."""
    resource = target.route.resource
    if target.route.subresource == "log":
        return _log(store, request, target)
    form = rendering(request, is_list=verb == "list")
    if verb == "list":
        return _list(store, request, target, form)
    if verb == "get":
        return _shown(store, request, Outcome(store.get(resource, target.namespace, target.name)), form)
    if verb == "create":
        return _shown(store, request, _create(store, request, target), form, status=201)
    if verb == "delete":
        options = _delete_options(request)
        record = store.delete(resource, target.namespace, target.name, options)
        return _shown(store, request, Outcome(record), form)
    return _shown(store, request, _patch(store, request, target), form)


def _log(store: Store, request: Request, target: Target) -> Response:
    """Answer with a line that says why there is no log. It is that of a container that the pod has."""
    containers = [each["name"] for each in store.get(PODS, target.namespace, target.name).content["spec"]["containers"]]
    container = request.query.get("container") or containers[0]
    if container not in containers:
        raise bad_request(f"container {container} is not valid for pod {target.name}")
    line = f"This is the sandbox of syncctl: no program runs in pod {target.name}, so there is no log.\n"
    return Response(200, line.encode(), content_type="text/plain")


def _create(store: Store, request: Request, target: Target) -> Outcome:
    _check_json(request)
    return store.create(
        target.route.resource,
        target.namespace,
        request.body,
        dry_run=_dry_run(request),
        field_validation=_field_validation(request),
    )


def _patch(store: Store, request: Request, target: Target) -> Outcome:
    return store.patch(
        target.route.resource,
        target.namespace,
        target.name,
        request.body,
        request.headers.get("content-type", ""),
        resize=target.route.subresource == "resize",
        dry_run=_dry_run(request),
        field_validation=_field_validation(request),
    )


def _shown(store: Store, request: Request, outcome: Outcome, form: str, status: int = 200) -> Response:
    headers = [("Warning", f'299 - "{_quoted(warning)}"') for warning in outcome.warnings]
    return Response(status, _body(store, request, outcome.record, form), headers=headers)


def _body(store: Store, request: Request, record: Record, form: str, *, columns: bool = True) -> bytes:
    if form == "json":
        return record.body
    if form == "partial":
        return msgspec.json.encode(printers.partial_metadata(record))
    metadata = {"resourceVersion": str(record.version)}
    return _table(store, request, record.resource, [record], metadata, columns=columns)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _list(store: Store, request: Request, target: Target, form: str) -> Response:
    query, resource = request.query, target.route.resource
    options = ListOptions(
        query.get("labelSelector", ""),
        query.get("fieldSelector", ""),
        max(0, _number(query, "limit")),
        query.get("continue", ""),
        query.get("resourceVersion", ""),
    )
    page = store.list(resource, target.namespace, options)
    metadata: Json = {"resourceVersion": str(page.version)}
    if page.continue_token:
        metadata["continue"] = page.continue_token
        if page.remaining is not None:
            metadata["remainingItemCount"] = page.remaining
    if form == "table":
        return Response(200, _table(store, request, resource, page.records, metadata))
    if form == "partial":
        return Response(200, printers.partial_list(page.records, metadata))
    start = b'{"kind":"%sList","apiVersion":"v1","metadata":' % resource.kind.encode()
    items = b",".join([record.blob for record in page.records])
    return Response(200, start + msgspec.json.encode(metadata) + b',"items":[' + items + b"]}")


def _table(
    store: Store, request: Request, resource: Resource, records: list[Record], metadata: Json, *, columns: bool = True
) -> bytes:
    include = request.query.get("includeObject", "Metadata")
    return printers.table(resource, records, metadata, store.clock(), include, columns=columns)


def begin_watch(store: Store, request: Request, target: Target) -> Watch:
    """Raises ApiError for selectors and versions that cannot be watched; 410 comes as an event, as it does for real."""
    query = request.query
    watch_seconds(request)
    name = f"metadata.name={target.name}" if target.name else ""
    return store.watch(
        target.route.resource,
        target.namespace,
        resource_version=query.get("resourceVersion", ""),
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", "") or name,
        initial=request.flag("sendInitialEvents") if "sendInitialEvents" in query else None,
    )


def watch_seconds(request: Request) -> float:
    """How long a watch may last, as its client asks."""
    text = request.query.get("timeoutSeconds") or str(LONGEST_WATCH_SECONDS)
    try:
        return min(float(text), LONGEST_WATCH_SECONDS)
    except ValueError as error:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


class EventWriter:
    """Turns the events of one watch into lines, in the representation the client asked for."""

    def __init__(self, store: Store, request: Request, resource: Resource) -> None:
        self._store = store
        self._request = request
        self._resource = resource
        self._form = rendering(request, is_list=False)
        self._columns = True

    def lines(self, events: list[tuple[str, Record]]) -> Iterator[bytes]:
        for event_type, record in events:
            body = _body(self._store, self._request, record, self._form, columns=self._columns)
            self._columns = False
            yield b'{"type":"%s","object":%s}\n' % (event_type.encode(), body)

    def bookmark(self, version: int, *, initial_events_end: bool) -> bytes:
        """Says how far the watch has come; marks the end of the initial events when asked to."""
        metadata: Json = {"resourceVersion": str(version)}
        if initial_events_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        if self._form == "table":
            body = _table(self._store, self._request, self._resource, [], metadata, columns=False)
        else:
            empty = {"metadata": {**metadata, "creationTimestamp": None}, "spec": {"containers": None}, "status": {}}
            body = msgspec.json.encode({"kind": self._resource.kind, "apiVersion": "v1", **empty})
        return b'{"type":"BOOKMARK","object":%s}\n' % body

    def error(self, error: ApiError) -> bytes:
        return b'{"type":"ERROR","object":%s}\n' % error.body()


def _delete_options(request: Request) -> DeleteOptions:
    """From the body, or from the query when there is none."""
    content: Json = {}
    if request.body:
        _check_json(request)
        content, _ = decode(request.body, DELETE_OPTIONS, "Ignore")
    grace = content.get("gracePeriodSeconds")
    if grace is None and "gracePeriodSeconds" in request.query:
        grace = _number(request.query, "gracePeriodSeconds")
    preconditions = content.get("preconditions") or {}
    return DeleteOptions(
        grace,
        preconditions.get("uid", ""),
        preconditions.get("resourceVersion", ""),
        dry_run=_dry_run(request) or content.get("dryRun") == ["All"],
    )


def _check_json(request: Request) -> None:
    media = request.headers.get("content-type", "").partition(";")[0].strip()
    if media not in {"", "application/json"}:
        raise unsupported_media_type()


def _dry_run(request: Request) -> bool:
    asked = request.query.get("dryRun", "")
    if asked not in {"", "All"}:
        raise bad_request(f'dryRun: Unsupported value: "{asked}": supported values: "All"')
    return asked == "All"


def _field_validation(request: Request) -> str:
    asked = request.query.get("fieldValidation", "") or "Warn"
    if asked not in {"Ignore", "Warn", "Strict"}:
        supported = 'supported values: "", "Ignore", "Strict", "Warn"'
        raise bad_request(f'fieldValidation: Unsupported value: "{asked}": {supported}')
    return asked


def _number(query: dict[str, str], name: str) -> int:
    text = query.get(name, "") or "0"
    try:
        return int(text)
    except ValueError as error:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error
