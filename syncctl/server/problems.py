"""What goes wrong, and what is said of it: ERRORS is the one table from an error to its status.

Each error is answered with a problem document (RFC 9457); docs/serve.md shows one.
"""

import logging
import math
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from syncctl.core import errors
from syncctl.core.errors import InvalidInput, SyncctlError
from syncctl.server.answers import ClientShown, Problem

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
    # Base classes: fallbacks for errors that have no row of their own.
    errors.DatabaseError: (500, "The database refused"),
    errors.ClusterError: (502, "The cluster refused"),
    errors.SyncctlError: (500, "It did not work"),
}

REFUSED: Mapping[int, tuple[str, str]] = {
    400: ("malformed", "The request cannot be understood"),
    401: ("unauthorized", "The token is missing or wrong"),
    403: ("browser", "No answer for web pages"),
    404: ("no-such-path", "No such path"),
    405: ("method-not-allowed", "No such method here"),
    408: ("too-slow", "The request did not arrive in time"),
    413: ("too-large", "The body is too large"),
    503: ("not-ready", "Not ready"),
}
"""The type and title of what no error of ours says: what the edge, FastAPI or a probe refuses."""

MOST_PROBLEMS = 100
_SAID = {
    400: "The request does not fit this description: bad JSON, a wrong type, an unknown field",
    401: REFUSED[401][1],
    403: "A web page, and no token is set",
    404: "There is no such client",
    409: ERRORS[errors.ClientExists][1],
    413: REFUSED[413][1],
    422: ERRORS[errors.InvalidInput][1],
    500: "A bug, or a refusal of the database",
    502: ERRORS[errors.ClusterError][1],
    503: "The database or the cluster is away; Retry-After says when to try again",
}
"""What the description says of each status."""
RETRY_SOON = {"Retry-After": "5"}


def problem(status: int, code: str, title: str, detail: str, /, headers: Any = None, **more: Any) -> JSONResponse:
    """Return a problem document. `code` is its type, for programs; `title` and `detail` are for people."""
    return JSONResponse(document(status, code, title, detail, **more), status, headers, "application/problem+json")


def document(status: int, code: str, title: str, detail: str, **more: Any) -> dict[str, Any]:
    """Return what a problem document says."""
    return {"type": f"urn:problem:syncctl:{code}", "title": title, "status": status, "detail": detail, **more}


def refusal(status: int, detail: str, headers: Any = None, **more: Any) -> JSONResponse:
    """Return the problem document of a status of REFUSED, or of another one that FastAPI comes up with."""
    return problem(status, *REFUSED.get(status, ("refused", "Refused")), detail, headers, **more)


def may_answer(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer with, for its description."""
    return {status: {"model": Problem, "description": _SAID[status]} for status in sorted({400, *statuses})}


def status_and_title(error: SyncctlError) -> tuple[int, str]:
    """Return an error's status and title."""
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


async def _answer_error(request: Request, error: SyncctlError) -> JSONResponse:
    status, title = status_and_title(error)
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


async def _answer_malformed(_: Request, error: RequestValidationError) -> JSONResponse:
    found = error.errors()
    faults = [_place(each["loc"]) | {"detail": each["msg"].removeprefix("Value error, ")} for each in found]
    said = "; ".join(f"{fault.get('parameter', fault.get('pointer'))}: {fault['detail']}" for fault in faults[:3])
    said += f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    if all(each["type"] == "judged" for each in found):
        return problem(422, "invalid-input", ERRORS[InvalidInput][1], said, errors=faults[:MOST_PROBLEMS])
    return refusal(400, said, errors=faults[:MOST_PROBLEMS])


def _place(location: tuple[Any, ...]) -> dict[str, str]:
    where, *path = location
    if where == "body":
        # In JSON pointers ~ and / are written so (RFC 6901).
        return {"pointer": "#" + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)}
    return {"parameter": str(path[0])}


async def _answer_http(request: Request, error: HTTPException) -> JSONResponse:
    headers = RETRY_SOON if error.status_code == 503 else None
    if error.status_code == 405:
        here = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
        headers = {"Allow": ", ".join(sorted({method for route in here for method in getattr(route, "methods", ())}))}
    return refusal(error.status_code, error.detail, headers)


async def _answer_bug(request: Request, _: Exception) -> JSONResponse:
    said = f"the log has the cause, under the request id {request.state.request_id}"
    return problem(500, "internal", "Something is wrong with syncctl itself", said)


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    SyncctlError: _answer_error,
    RequestValidationError: _answer_malformed,
    HTTPException: _answer_http,
    Exception: _answer_bug,
}
"""What answers which exception."""
