"""The HTTP shim: parse, call an operation, answer. It stands where the Go service did; docs/serve.md compares the two.

Each route is a few lines, and ERRORS is the one table from an error to its status. What bodies and answers look like is
in bodies.py, what every request passes on its way (time limits, token, log, counters) in edge.py.
"""

import functools
import inspect
import json
import logging
import math
import re
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, APIRouter
from fastapi.security import HTTPBearer
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match
from starlette.types import ASGIApp

from syncctl import __version__
from syncctl.core import errors
from syncctl.core.errors import (
    ClusterUnavailable,
    DatabaseError,
    DatabaseUnavailable,
    InvalidInput,
    SettingsError,
    SyncctlError,
)
from syncctl.core.exits import ExitCode
from syncctl.core.model import Client, ClientChanges
from syncctl.core.validation import LARGEST_ID
from syncctl.operations import algorithms, clients
from syncctl.operations.connect import Engine, check_engine, open_cluster
from syncctl.operations.figures import Figures, read_figures
from syncctl.operations.status import read_status
from syncctl.server.bodies import (
    AlgorithmsPage,
    AlgorithmsToSet,
    Alive,
    ClientAlgorithms,
    ClientId,
    ClientPage,
    ClientPages,
    ClientSent,
    ClientShown,
    ClientToAdd,
    ClientToChange,
    ClientToDelete,
    FleetStatus,
    KnownId,
    Pages,
    PodStatus,
    Problem,
)
from syncctl.server.edge import RETRY_SOON, Edge, Token, problem
from syncctl.server.threads import Crew, Look
from syncctl.settings import Settings

log = logging.getLogger("syncctl")

ERRORS: Mapping[type[SyncctlError], tuple[int, str]] = {
    errors.InvalidInput: (422, "The request is understood and cannot be accepted"),
    errors.UsageError: (422, "The request does not fit together"),
    errors.ClientNotFound: (404, "No such client"),
    errors.ClientExists: (409, "The name is taken"),
    errors.SettingsError: (500, "A setting of the server cannot be used"),
    errors.LeaseHeld: (409, "Another pass is at work"),
    errors.LeaseLost: (409, "Another pass is at work"),
    errors.StalePlan: (409, "The plan is stale"),
    errors.PassStopped: (503, "The pass was stopped"),
    errors.DatabaseUnavailable: (503, "The database is away"),
    errors.DatabaseBusy: (503, "The database is busy"),
    errors.SchemaMismatch: (503, "The tables are not those of this version"),
    errors.NoCluster: (503, "The server knows no cluster"),
    errors.ClusterUnavailable: (503, "The cluster is away"),
    errors.AccessDenied: (502, "The cluster denies access"),
    errors.QuotaExceeded: (502, "The cluster refused"),
    errors.PodExists: (502, "The cluster refused"),
    errors.PreconditionFailed: (502, "The cluster refused"),
    errors.PodNotFound: (502, "The cluster refused"),
    errors.PodRejected: (502, "The cluster refused"),
    errors.ListExpired: (503, "The cluster is away"),
    errors.NamespaceNotFound: (502, "The cluster refused"),
    # Not leaves: what is raised as no more than this, or comes new and has no row yet.
    errors.DatabaseError: (500, "The database refused"),
    errors.ClusterError: (502, "The cluster refused"),
    errors.SyncctlError: (500, "It did not work"),
}

MOST_PROBLEMS = 100
MOST_LOOKS = 4
"""How many looks at the cluster go on at a time: each may wait for it, and must not keep threads from other callers."""
MOST_CALLERS = 16
"""How many callers are in threads at a time, each with a connection to the database; probes and figures are besides."""
PROBE_SECONDS = 2.0
"""For the database to answer a probe, or to give its figures: less than who asks is used to wait."""


# The routes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shop:
    """What the routes work with."""

    engine: Engine
    settings: Settings
    open_cluster: Callable[[], Any]
    looks: threading.Semaphore
    crew: Crew
    check: Look[None]
    read_figures: Look[Figures]
    fleet: "_FleetCollector"
    registry: CollectorRegistry


async def _shop(request: Request) -> _Shop:
    shop: _Shop = request.app.state.shop
    return shop


Shop = Annotated[_Shop, Depends(_shop)]


class _AnyJson(Request):
    """A request whose body is JSON to the letter: no NaN, no lone surrogates, nothing behind its end."""

    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise HTTPException(400, f"the body is not JSON: {error}") from error


class _Route(APIRoute):
    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        super().__init__(path, endpoint if inspect.iscoroutinefunction(endpoint) else _by_the_crew(endpoint), **more)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(_AnyJson(request.scope, request.receive))

        return handle_json


def _by_the_crew(answer: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Have a route run by the crew: all but the probes wait for the database or the cluster."""

    @functools.wraps(answer)
    async def run(shop: _Shop, **given: Any) -> Any:
        return await shop.crew.run(functools.partial(answer, shop, **given))

    return run


router = APIRouter(route_class=_Route)


def _answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer with, for the OpenAPI document."""
    return {status: {"model": Problem, "description": _SAID[status]} for status in sorted({400, *statuses})}


_SAID = {
    400: "The request does not fit this description: bad JSON, a wrong type, an unknown field",
    401: "The token is missing or wrong",
    403: "A web page, and no token is set",
    404: "There is no such client",
    409: "The name is taken",
    413: "The body is too large",
    422: "The request is understood and cannot be accepted",
    500: "A bug, or a refusal of the database",
    502: "The cluster refused",
    503: "The database or the cluster is away; Retry-After says when to try again",
}
_TOKEN: Any = [Security(HTTPBearer(auto_error=False, scheme_name="token", description="The setting http_token"))]
_READ: Any = {"dependencies": _TOKEN, "responses": _answers(401, 403, 422, 500, 503)}
_READ_ONE: Any = {"dependencies": _TOKEN, "responses": _answers(401, 403, 404, 500, 503)}
_WRITE: Any = {"dependencies": _TOKEN, "responses": _answers(401, 403, 404, 409, 413, 422, 500, 503)}


@router.post("/api/client", tags=["clients"], operation_id="addClient", **_WRITE)
def add_client(shop: Shop, body: ClientToAdd) -> ClientShown:
    """Add a client. Its pods are started by the next pass."""
    return ClientShown.of(clients.add_client(shop.engine, body.new()))


@router.put("/api/client", tags=["clients"], operation_id="updateClient", **_WRITE)
def update_client(shop: Shop, body: ClientToChange) -> ClientShown:
    """Change what is given and leave the rest. The next pass replaces pods only where it must."""
    changes, flags = body.changes(), body.algorithms.flags() if body.algorithms else {}
    if changes == ClientChanges() and not flags:
        return ClientShown.of(clients.get_client(shop.engine, body.id))
    return ClientShown.of(clients.update_client(shop.engine, body.id, changes, flags))


@router.delete("/api/client", tags=["clients"], operation_id="deleteClient", **_WRITE)
def delete_client(shop: Shop, body: ClientToDelete) -> ClientShown:
    """Delete the client whose id is in the body, and return it as it was. The next pass stops its pods at once."""
    return ClientShown.of(clients.delete_client(shop.engine, body.id))


@router.delete("/api/client/{client_id}", tags=["clients"], operation_id="deleteClientById", **_WRITE)
def delete_client_by_id(shop: Shop, client_id: ClientId, body: ClientSent | None = None) -> ClientShown:
    """Delete the client and return it as it was. A body may be sent too, and its id must be the same."""
    if body and body.id not in (None, 0, client_id):
        raise InvalidInput("the request", [f"id: {body.id} in the body, {client_id} in the path"])
    return ClientShown.of(clients.delete_client(shop.engine, client_id))


@router.get("/api/client", tags=["clients"], operation_id="listClients", **_READ)
def list_clients(shop: Shop, pages: Annotated[ClientPages, Query()]) -> ClientPage:
    """List clients by id."""
    found, more = clients.page_clients(
        shop.engine, after=pages.after, limit=pages.limit, enabled=pages.enabled, name=pages.client_name
    )
    return ClientPage(items=[ClientShown.of(each) for each in found], next=_next("/api/client", pages, found, more))


@router.get("/api/client/{client_id}", tags=["clients"], operation_id="getClient", **_READ_ONE)
def get_client(shop: Shop, client_id: ClientId) -> ClientShown:
    """Show a client."""
    return ClientShown.of(clients.get_client(shop.engine, client_id))


@router.post("/api/client/{client_id}/restart", tags=["clients"], operation_id="restartClient", **_READ_ONE)
def restart_client(shop: Shop, client_id: ClientId) -> ClientShown:
    """Ask the next pass to replace each of the client's pods, once."""
    return ClientShown.of(clients.restart_client(shop.engine, client_id))


@router.post("/api/algorithms", tags=["algorithms"], operation_id="setAlgorithms", **_WRITE)
def set_algorithms(shop: Shop, body: AlgorithmsToSet) -> ClientAlgorithms:
    """Switch algorithms on or off; those not given stay as they are. The next pass starts and stops the pods."""
    return ClientAlgorithms.of(algorithms.set_algorithms(shop.engine, body.client_id, body.flags()))


@router.get("/api/algorithms", tags=["algorithms"], operation_id="listAlgorithms", **_READ)
def list_algorithms(shop: Shop, pages: Annotated[Pages, Query()]) -> AlgorithmsPage:
    """List what clients have switched on, by client id."""
    found, more = clients.page_clients(shop.engine, after=pages.after, limit=pages.limit, enabled=pages.enabled)
    items = [ClientAlgorithms.of(each) for each in found]
    return AlgorithmsPage(items=items, next=_next("/api/algorithms", pages, found, more))


@router.get(
    "/api/status",
    tags=["status"],
    operation_id="getStatus",
    dependencies=_TOKEN,
    responses=_answers(401, 403, 404, 500, 502, 503),
)
def get_status(
    shop: Shop,
    client_id: Annotated[KnownId | None, Query(description="Only this client")] = None,
) -> FleetStatus:
    """Show desired beside observed: each pod, its health, and what the next pass would do about it. One look, whole."""
    if not shop.looks.acquire(blocking=False):
        raise ClusterUnavailable(f"{MOST_LOOKS} looks at the cluster are under way already")
    try:
        rows = read_status(shop.engine, shop.open_cluster(), shop.settings, client_id)
    except InvalidInput as error:
        raise SettingsError(error.message) from error  # the pod template, which is no caller's fault
    finally:
        shop.looks.release()
    return FleetStatus(items=[PodStatus.of(row) for row in rows])


@router.get("/healthz", tags=["probes"], operation_id="isAlive")
async def is_alive() -> Alive:
    """Say that the process answers. Asks nobody."""
    return Alive()


@router.get("/readyz", tags=["probes"], operation_id="isReady", responses={503: _answers(503)[503]})
async def is_ready(shop: Shop) -> Alive:
    """Say whether the database answers and its tables are those of this version."""
    try:
        await shop.check()
    except (DatabaseError, TimeoutError) as error:
        # Open to all, so where the database is stays in the log.
        log.warning("not ready: %s", _said(error))
        status, title = _row(error if isinstance(error, DatabaseError) else DatabaseUnavailable(""))
        raise HTTPException(status, title) from error
    return Alive()


@router.get(
    "/metrics",
    tags=["probes"],
    operation_id="getMetrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_metrics(shop: Shop) -> Response:
    """Show counters and gauges in the text format of Prometheus."""
    try:
        shop.fleet.figures = await shop.read_figures()
    except (DatabaseError, TimeoutError) as error:
        log.warning("no figures: %s", _said(error))
        shop.fleet.figures = None
    return Response(generate_latest(shop.registry), media_type=CONTENT_TYPE_LATEST)


def _said(error: DatabaseError | TimeoutError) -> str:
    return (
        error.message if isinstance(error, DatabaseError) else f"the database gave no answer within {PROBE_SECONDS:g} s"
    )


def _next(path: str, pages: Pages, found: list[Client], more: bool) -> str | None:
    if not more:
        return None
    filters = f"&enabled={pages.enabled}" if pages.enabled else ""
    return f"{path}?limit={pages.limit}&after={found[-1].id}{filters}"


# What goes wrong ------------------------------------------------------------------------------------------------------


def _row(error: SyncctlError) -> tuple[int, str]:
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


async def _answer_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SyncctlError)  # noqa: S101 - as it is registered
    status, title = _row(error)
    code = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()
    more: dict[str, Any] = {}
    if isinstance(error, InvalidInput):
        more["errors"] = [_fault(problem) for problem in error.problems]
    if status >= 500:
        log.error(error.message, extra={"request_id": request.state.request_id})
        more |= {"hint": error.hint} if error.hint else {}
    after = getattr(error, "retry_after", None)
    headers = None if status != 503 else {"Retry-After": str(math.ceil(after))} if after else RETRY_SOON
    return problem(status, code, title, error.message, headers, **more)


def _fault(text: str) -> dict[str, str]:
    where, colon, detail = text.partition(": ")
    field = {"name": "client_name"}.get(where, where)
    return (
        {"detail": detail, "pointer": f"#/{field}"} if colon and field in ClientShown.model_fields else {"detail": text}
    )


async def _answer_malformed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as it is registered
    found = error.errors()
    faults = [_place(each["loc"]) | {"detail": each["msg"].removeprefix("Value error, ")} for each in found]
    said = "; ".join(f"{fault.get('parameter', fault.get('pointer'))}: {fault['detail']}" for fault in faults[:3])
    said += f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    if all(each["type"] == "judged" for each in found):
        return problem(422, "invalid-input", ERRORS[InvalidInput][1], said, errors=faults[:MOST_PROBLEMS])
    return problem(400, "malformed", "The request cannot be understood", said, errors=faults[:MOST_PROBLEMS])


def _place(location: tuple[Any, ...]) -> dict[str, str]:
    where, *path = location
    if where == "body":
        # In JSON pointers ~ and / are written so (RFC 6901).
        return {"pointer": "#" + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)}
    return {"parameter": str(path[0])}


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as it is registered
    titles = {
        400: ("malformed", "The request cannot be understood"),
        404: ("no-such-path", "No such path"),
        405: ("method-not-allowed", "No such method here"),
        413: ("too-large", "The body is too large"),
        503: ("not-ready", "Not ready"),
    }
    code, title = titles.get(error.status_code, ("refused", "Refused"))
    headers = RETRY_SOON if error.status_code == 503 else None
    if error.status_code == 405:
        here = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
        headers = {"Allow": ", ".join(sorted({method for route in here for method in getattr(route, "methods", ())}))}
    return problem(error.status_code, code, title, error.detail, headers)


async def _answer_bug(request: Request, _: Exception) -> JSONResponse:
    said = f"the log has the cause, under the request id {request.state.request_id}"
    return problem(500, "internal", "Something is wrong with syncctl itself", said)


# What is counted ------------------------------------------------------------------------------------------------------


class _FleetCollector(Collector):
    """The fleet's figures, as they were read last; None when the database did not give them."""

    figures: Figures | None = None

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Name nothing beforehand: the database need not be there yet."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges; of a database that is away, only that."""
        figures = self.figures
        yield GaugeMetricFamily("syncctl_database_up", "Whether the database answers", float(figures is not None))
        if figures is None:
            return
        yield GaugeMetricFamily("syncctl_clients", "Clients", figures.clients)
        enabled = GaugeMetricFamily("syncctl_algorithms_enabled", "Algorithms switched on", labels=["algorithm"])
        for algorithm, number in figures.enabled.items():
            enabled.add_metric([algorithm], number)
        yield enabled
        success = figures.last_success.finished_at.timestamp() if figures.last_success else 0
        yield GaugeMetricFamily(
            "syncctl_last_successful_pass_timestamp_seconds",
            "When the last pass with exit code 0 ended, of shards that of the one furthest behind; 0: none",
            success,
        )
        if (last := figures.last_pass) is None:
            return
        took = (last.finished_at - last.started_at).total_seconds()
        yield GaugeMetricFamily(
            "syncctl_last_pass_timestamp_seconds", "When the last pass ended", last.finished_at.timestamp()
        )
        yield GaugeMetricFamily("syncctl_last_pass_duration_seconds", "How long it took", took)
        yield GaugeMetricFamily("syncctl_last_pass_exit_code", "Its exit code", last.exit_code)
        outcome = GaugeMetricFamily("syncctl_last_pass_outcome", "1 for its outcome, 0 for others", labels=["outcome"])
        for code in ExitCode:
            outcome.add_metric([code.name.lower()], float(code == last.exit_code))
        yield outcome
        steps = GaugeMetricFamily("syncctl_last_pass_steps", "What became of its steps", labels=["result"])
        for result, number in last.counts.items():
            steps.add_metric([result], number)
        yield steps


# All of it together ---------------------------------------------------------------------------------------------------


def make_app(engine: Engine, settings: Settings) -> ASGIApp:
    """Return the whole server as an ASGI application.

    Raises:
        SettingsError: the token is set twice or cannot be read.
    """
    app = FastAPI(
        title="syncctl",
        version=__version__,
        summary="Trading clients and their algorithms; each enabled pair becomes one pod",
        description="Errors are problem documents (RFC 9457). Bodies are read as JSON, whatever they claim to be.",
        docs_url=None,  # a page that loads scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
    )
    app.router.routes.extend(router.routes)  # as they are: include_router would build each anew, at the first request
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    fleet = _FleetCollector()
    registry.register(fleet)
    app.state.shop = _Shop(
        engine,
        settings,
        functools.cache(lambda: open_cluster(settings)),
        threading.BoundedSemaphore(MOST_LOOKS),
        Crew(MOST_CALLERS, settings.database_timeout),
        Look(lambda: check_engine(engine), PROBE_SECONDS),
        Look(lambda: read_figures(engine), PROBE_SECONDS),
        fleet,
        registry,
    )
    app.add_exception_handler(SyncctlError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_malformed)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_bug)
    describe = app.openapi
    app.openapi = functools.cache(lambda: _with_problems(describe()))  # type: ignore[method-assign]
    return Edge(app, Token(settings), registry)


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Say of each error that it is a problem document, and mend what FastAPI says.

    It rounds the end of 64 bits up, and names an answer of its own to what it finds invalid.
    """
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        answers = operation["responses"]
        if answers.get("422", {}).get("description") == "Validation Error":
            del answers["422"]
        for status, answer in answers.items():
            if status >= "400":
                answer["content"] = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    exact: dict[str, Any] = json.loads(
        json.dumps(document).replace(json.dumps(float(LARGEST_ID)), str(LARGEST_ID)),
    )
    return exact
