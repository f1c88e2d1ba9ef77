"""The routes: parse, call an operation, answer. docs/serve.md has the table of them."""

import logging
import re
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from syncctl.core.errors import ClusterUnavailable, DatabaseError, InvalidInput, SettingsError
from syncctl.core.model import Client, ClientChanges
from syncctl.core.validation import is_id
from syncctl.operations import algorithms, clients
from syncctl.operations.author import Author, written_by
from syncctl.operations.status import read_status
from syncctl.server.answers import (
    AlgorithmsPage,
    Alive,
    ClientAlgorithms,
    ClientPage,
    ClientShown,
    FleetStatus,
)
from syncctl.server.bodies import (
    AlgorithmsToSet,
    AnyPath,
    ClientId,
    ClientPages,
    ClientSent,
    ClientToAdd,
    ClientToChange,
    ClientToDelete,
    KnownId,
    Pages,
)
from syncctl.server.framework import Route
from syncctl.server.metrics import TEXT_TYPE
from syncctl.server.problems import may_answer, status_and_title
from syncctl.server.resources import MOST_LOOKS, Resources

log = logging.getLogger("syncctl")

router = APIRouter(route_class=Route)


async def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


Given = Annotated[Resources, Depends(_resources)]


async def _signed(resources: Given, request: Request) -> Resources:
    """Work with the database as this caller: the change log has the name of the token, and the route."""
    author = Author(request.state.caller or "http", f"{request.method} {request.scope['route'].path_format}")
    return replace(resources, engine=written_by(resources.engine, author))


Signed = Annotated[Resources, Depends(_signed)]

_TOKEN: Any = [Security(HTTPBearer(auto_error=False, scheme_name="token", description="The setting http_token"))]
_READ: Any = {"dependencies": _TOKEN, "responses": may_answer(401, 403, 422, 500, 503)}
_READ_ONE: Any = {"dependencies": _TOKEN, "responses": may_answer(401, 403, 404, 500, 503)}
_WRITE: Any = {"dependencies": _TOKEN, "responses": may_answer(401, 403, 404, 409, 413, 422, 500, 503)}


@router.post("/api/client", tags=["clients"], operation_id="addClient", **_WRITE)
def add_client(resources: Signed, body: ClientToAdd) -> ClientShown:
    """Add a client. Its pods are started by the next pass."""
    return ClientShown.of(clients.add_client(resources.engine, body.new()))


@router.put("/api/client", tags=["clients"], operation_id="updateClient", **_WRITE)
def update_client(resources: Signed, body: ClientToChange) -> ClientShown:
    """Change what is given and leave the rest. The next pass replaces pods only where it must."""
    changes, flags = body.changes(), body.algorithms.flags() if body.algorithms else {}
    if changes == ClientChanges() and not flags:
        return ClientShown.of(clients.get_client(resources.engine, body.id))
    return ClientShown.of(clients.update_client(resources.engine, body.id, changes, flags))


@router.delete("/api/client", tags=["clients"], operation_id="deleteClient", **_WRITE)
def delete_client(resources: Signed, body: ClientToDelete) -> ClientShown:
    """Delete the client whose id is in the body, and return it as it was. The next pass stops its pods at once."""
    return ClientShown.of(clients.delete_client(resources.engine, body.id))


@router.delete("/api/client/{client_id}", tags=["clients"], operation_id="deleteClientById", **_WRITE)
def delete_client_by_id(resources: Signed, client_id: AnyPath, body: ClientSent | None = None) -> ClientShown:
    """Delete the client and return it as it was. A body may be sent too, and its id must be the same.

    The Go service looked at the body alone: what is no number in the path, like a name, says nothing.
    """
    named, told = int(client_id) if is_id(client_id) else 0, (body.id if body else None) or 0
    found = "the body has another" if told else "the body has none"
    if not named and (not told or re.fullmatch(r"[-+]?[\d._]+", client_id)):
        raise InvalidInput("the request", [f"id: {client_id} in the path is none, and {found}"])
    if named and told not in (0, named):
        raise InvalidInput("the request", [f"id: {told} in the body, {named} in the path"])
    return ClientShown.of(clients.delete_client(resources.engine, named or told))


@router.get("/api/client", tags=["clients"], operation_id="listClients", **_READ)
def list_clients(resources: Given, pages: Annotated[ClientPages, Query()]) -> ClientPage:
    """List clients by id."""
    found, more = clients.page_clients(
        resources.engine, after=pages.after, limit=pages.limit, enabled=pages.enabled, name=pages.client_name
    )
    return ClientPage(items=[ClientShown.of(each) for each in found], next=_next("/api/client", pages, found, more))


@router.get("/api/client/{client_id}", tags=["clients"], operation_id="getClient", **_READ_ONE)
def get_client(resources: Given, client_id: ClientId) -> ClientShown:
    """Show a client."""
    return ClientShown.of(clients.get_client(resources.engine, client_id))


@router.post("/api/client/{client_id}/restart", tags=["clients"], operation_id="restartClient", **_READ_ONE)
def restart_client(resources: Signed, client_id: ClientId) -> ClientShown:
    """Ask the next pass to replace each of the client's pods, once."""
    return ClientShown.of(clients.restart_client(resources.engine, client_id))


@router.post("/api/algorithms", tags=["algorithms"], operation_id="setAlgorithms", **_WRITE)
def set_algorithms(resources: Signed, body: AlgorithmsToSet) -> ClientAlgorithms:
    """Say of all algorithms which are on: those not given go off. The next pass starts and stops the pods."""
    return ClientAlgorithms.of(algorithms.set_algorithms(resources.engine, body.client_id, body.all_flags()))


@router.patch("/api/algorithms", tags=["algorithms"], operation_id="changeAlgorithms", **_WRITE)
def change_algorithms(resources: Signed, body: AlgorithmsToSet) -> ClientAlgorithms:
    """Switch algorithms on or off; those not given stay as they are. The next pass starts and stops the pods."""
    return ClientAlgorithms.of(algorithms.set_algorithms(resources.engine, body.client_id, body.flags()))


@router.get("/api/algorithms", tags=["algorithms"], operation_id="listAlgorithms", **_READ)
def list_algorithms(resources: Given, pages: Annotated[Pages, Query()]) -> AlgorithmsPage:
    """List what clients have switched on, by client id."""
    found, more = clients.page_clients(resources.engine, after=pages.after, limit=pages.limit, enabled=pages.enabled)
    items = [ClientAlgorithms.of(each) for each in found]
    return AlgorithmsPage(items=items, next=_next("/api/algorithms", pages, found, more))


@router.get(
    "/api/status",
    tags=["status"],
    operation_id="getStatus",
    dependencies=_TOKEN,
    responses=may_answer(401, 403, 404, 500, 502, 503),
)
def get_status(
    resources: Given,
    client_id: Annotated[KnownId | None, Query(description="Only this client")] = None,
) -> FleetStatus:
    """Show desired beside observed: each pod, its health, and what the next pass would do about it. One look, whole."""
    if not resources.cluster_looks.acquire(blocking=False):
        raise ClusterUnavailable(f"{MOST_LOOKS} looks at the cluster are under way already")
    try:
        found = read_status(resources.engine, resources.open_cluster(), resources.settings, client_id)
    except InvalidInput as error:
        raise SettingsError(error.message) from error  # the pod template, which is no caller's fault
    finally:
        resources.cluster_looks.release()
    return FleetStatus.of(found)


@router.get("/healthz", tags=["probes"], operation_id="isAlive")
async def is_alive() -> Alive:
    """Say that the process answers. Asks nobody."""
    return Alive()


@router.get("/readyz", tags=["probes"], operation_id="isReady", responses={503: may_answer(503)[503]})
async def is_ready(resources: Given) -> Alive:
    """Say whether the database answers and its tables are those of this version."""
    try:
        await resources.check()
    except DatabaseError as error:
        # Open to all, so where the database is stays in the log.
        log.warning("not ready: %s", error.message)
        raise HTTPException(*status_and_title(error)) from error
    return Alive()


@router.get(
    "/metrics",
    tags=["probes"],
    operation_id="getMetrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_metrics(resources: Given) -> Response:
    """Show counters and gauges in the text format of Prometheus."""
    figures = None
    try:
        figures = await resources.read_figures()
    except DatabaseError as error:
        log.warning("no figures: %s", error.message)
    return Response(resources.metrics.text(figures), media_type=TEXT_TYPE)


def _next(path: str, pages: Pages, found: list[Client], more: bool) -> str | None:
    if not more:
        return None
    filters = f"&enabled={pages.enabled}" if pages.enabled else ""
    return f"{path}?limit={pages.limit}&after={found[-1].id}{filters}"
