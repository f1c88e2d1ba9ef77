"""Where FastAPI does otherwise than we need."""

import functools
import inspect
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from syncctl.core.validation import LARGEST_ID
from syncctl.server.resources import Resources


class _AnyJson(Request):
    """A request whose body is JSON to the letter: no NaN, no lone surrogates, nothing behind its end."""

    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise HTTPException(400, f"the body is not JSON: {error}") from error


class Route(APIRoute):
    """A route whose body is read as such, and that the crew runs, unless it is a coroutine."""

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
    async def run(resources: Resources, **given: Any) -> Any:
        return await resources.crew.run(functools.partial(answer, resources, **given))

    return run


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Add routes as they are: include_router would build each anew, at the first request."""
    app.router.routes.extend(router.routes)


def mend_description(app: FastAPI) -> None:
    """Have the OpenAPI document say what is so."""
    describe = app.openapi
    app.openapi = functools.cache(lambda: _with_problems(describe()))  # type: ignore[method-assign]


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
