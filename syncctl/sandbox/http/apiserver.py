"""The HTTP face of a store, on loopback: one thread a connection, one send a response."""

import contextlib
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import msgspec

from syncctl.sandbox.http import discovery, verbs
from syncctl.sandbox.http.injection import Fault, Faults, wait_out
from syncctl.sandbox.http.messages import (
    BadHttp,
    Request,
    Response,
    chunk,
    has_closed,
    head,
    read_request,
    write_response,
)
from syncctl.sandbox.http.paths import Target, find_route
from syncctl.sandbox.refusals import ApiError, bad_request, method_not_allowed, no_such_path, unauthorized
from syncctl.sandbox.store.store import Store
from syncctl.sandbox.store.watches import Watch

RequestKey = tuple[str, str, str]
RequestHook = Callable[[Request, str], None]
_LOOK_SECONDS = 1.0


class ApiServer:
    """Serves a store at `url` from `start()` to `stop()`.

    `requests` counts (method, path template, verb); `on_request` is called with every request and its verb before
    anything is done. When `token` is set, requests need it as a bearer token; health checks do not.
    """

    def __init__(self, store: Store, faults: Faults, port: int) -> None:
        self.store = store
        self.faults = faults
        self.token = ""
        self.requests: Counter[RequestKey] = Counter()
        self.on_request: RequestHook | None = None
        self.stopping = threading.Event()
        self._count_lock = threading.Lock()
        self._listener = _Listener(("127.0.0.1", port), _Connection)
        self._listener.api = self
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), name="sandbox-api")
        self._thread.daemon = True

    @property
    def port(self) -> int:
        return int(self._listener.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, end every watch and close every connection. No thread of the server is left."""
        self.stopping.set()
        with self.store.lock:
            self.store.history.changed.notify_all()
        self._listener.shutdown()
        self._listener.close_connections()
        self._listener.server_close()
        self._thread.join()

    def handle(self, request: Request) -> "Response | Stream":
        """Answer one request; never raises ApiError."""
        if request.path in discovery.HEALTH:
            return discovery.HEALTH[request.path]
        target = find_route(request.path.rstrip("/"))
        verb = _verb(request, target)
        self._count(request, target, verb)
        if self.on_request:
            self.on_request(request, verb)
        try:
            if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
                raise unauthorized()
            fault = self.faults.take(verb, _name(request, target)) if self.faults else None
            return self._with_fault(fault, request, target, verb)
        except ApiError as error:
            return Response(error.status, error.body())

    def _with_fault(
        self, fault: Fault | None, request: Request, target: Target | None, verb: str
    ) -> "Response | Stream":
        if fault is None:
            return self._dispatch(request, target, verb)
        if not fault.after:
            wait_out(fault)
            if replaced := fault.replacement():
                return replaced
        answer: Response | Stream
        try:
            answer = self._dispatch(request, target, verb)
        except ApiError as error:
            # A refusal is an answer too, and may be lost like any other.
            answer = Response(error.status, error.body())
        if fault.after:
            wait_out(fault)
            answer = fault.replacement() or answer
        if fault.cut and isinstance(answer, Response):
            answer = Response(answer.status, answer.body, answer.content_type, answer.headers, cut=True)
        elif fault.cut and isinstance(answer, Stream):
            answer.cut = True
        return answer

    def _dispatch(self, request: Request, target: Target | None, verb: str) -> "Response | Stream":
        document = discovery.DOCUMENTS.get(request.path.rstrip("/"))
        if document and request.method == "GET":
            return document
        if target is None:
            raise no_such_path()
        if not verb:
            raise method_not_allowed()
        if verb == "watch":
            return self._watch(request, target)
        return verbs.answer(self.store, request, target, verb)

    def _watch(self, request: Request, target: Target) -> "Response | Stream":
        writer = verbs.EventWriter(self.store, request, target.route.resource)
        try:
            watch = verbs.begin_watch(self.store, request, target)
        except ApiError as error:
            if error.status != 410:
                raise
            return Response(200, writer.error(error))
        return Stream(self, request, writer, watch)

    def _count(self, request: Request, target: Target | None, verb: str) -> None:
        document = request.path.rstrip("/")
        template = target.route.template if target else document if document in discovery.DOCUMENTS else "other"
        method = request.method if request.method in {"GET", "POST", "PUT", "PATCH", "DELETE"} else "other"
        with self._count_lock:
            self.requests[method, template, verb] += 1


class Stream:
    """A watch as it goes over the wire, until its time is over, the client is gone, or the server stops."""

    def __init__(self, server: ApiServer, request: Request, writer: verbs.EventWriter, watch: Watch) -> None:
        self._server = server
        self._request = request
        self._writer = writer
        self._watch = watch
        self.cut = False

    def send(self, client: socket.socket) -> bool:
        """Whether the connection may serve another request."""
        client.sendall(head(200, "application/json", [("Transfer-Encoding", "chunked")]))
        if self.cut or not self._events(client):
            return False
        client.sendall(chunk(b""))
        return self._request.keep_alive

    def _events(self, client: socket.socket) -> bool:
        """Send events, and a bookmark at the end; False when the connection is of no more use."""
        watch = self._watch
        bookmarks = self._request.flag("allowWatchBookmarks")
        end = time.monotonic() + verbs.watch_seconds(self._request)
        initial_end = self._request.flag("sendInitialEvents") and bookmarks
        while not self._server.stopping.is_set():
            left = end - time.monotonic()
            try:
                events = watch.poll(0.0 if initial_end else max(0.0, min(left, _LOOK_SECONDS)))
            except ApiError as error:
                client.sendall(chunk(self._writer.error(error)))
                return True
            lines = b"".join(self._writer.lines(events))
            if initial_end or (bookmarks and left <= 0):
                version = watch.version or self._server.store.version
                lines += self._writer.bookmark(version, initial_events_end=initial_end)
                initial_end = False
            if lines:
                client.sendall(chunk(lines))
            elif left <= 0:
                return True
            elif has_closed(client):
                return False
            if left <= 0:
                return True
        return False


def _verb(request: Request, target: Target | None) -> str:
    """The verb as RBAC names it; "" for a method that the path does not take or a path outside the resources."""
    if target is None:
        return ""
    verb = target.route.methods.get(request.method, "")
    if verb in {"list", "get"} and request.flag("watch") and not target.route.subresource:
        return "watch"
    return verb


def _name(request: Request, target: Target | None) -> str:
    """The object a fault's `name` is compared with: from the path, or from the body of a create."""
    if target is None or target.name or request.method != "POST":
        return target.name if target else ""
    try:
        return str(msgspec.json.decode(request.body)["metadata"]["name"])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return ""


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    rbufsize = 64 * 1024
    connection: socket.socket

    def handle(self) -> None:
        server = cast("_Listener", self.server)
        try:
            while self._serve_one(server.api):
                pass
        except BadHttp as error:
            refusal = Response(400, bad_request(str(error)).body())
            write_response(self.connection, Request("GET", "/", {}, {"connection": "close"}, b""), refusal)
        except OSError:
            return  # the client went away; there is nobody to tell

    def _serve_one(self, api_server: ApiServer) -> bool:
        request = read_request(self.rfile, self.connection)
        if request is None or api_server.stopping.is_set():
            return False
        answer = api_server.handle(request)
        if isinstance(answer, Stream):
            return answer.send(self.connection)
        return write_response(self.connection, request, answer)


class _Listener(socketserver.ThreadingTCPServer):
    """Keeps track of its connections and their threads, to end both. The threads never keep a process alive."""

    allow_reuse_address = True
    request_queue_size = 256
    api: ApiServer

    def __init__(self, address: tuple[str, int], handler: type[_Connection]) -> None:
        self._open: set[socket.socket] = set()
        self._workers: list[threading.Thread] = []
        self._open_lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._open_lock:
            self._open.add(request)
            self._workers = [one for one in self._workers if one.is_alive()]
            self._workers.append(thread)
            thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End the reads that idle keep-alive connections wait in, and wait for their threads."""
        with self._open_lock:
            threads, connections = self._workers, list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):  # closed by the client at the same moment
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
