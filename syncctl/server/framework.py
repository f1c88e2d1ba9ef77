"""Where FastAPI does otherwise than we need: all that works against it is here, each with its reason.

The token is judged before FastAPI, in edge.py: FastAPI reads a body before it asks who sends it.
"""

import functools
import inspect
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from syncctl.core.validation import LARGEST_ID
from syncctl.server.resources import Resources


class _JsonRequest(Request):
    """A request whose body is JSON, and to the letter: no NaN, no lone surrogates, nothing behind its end.

    FastAPI goes by the Content-Type and takes what Python's json takes. The Go service looked at no Content-Type, and
    curl says "form" of whatever it sends.
    """

    def __init__(self, request: Request) -> None:
        others = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
        headers = [*others, (b"content-type", b"application/json")]
        super().__init__({**request.scope, "headers": headers}, request.receive)

    async def json(self) -> Any:
        body = await self.body()
        try:
            found = from_json(body, allow_inf_nan=False)
            # Of a key that is there twice programs take the first or the last, as it comes; this one takes neither.
            json.loads(body, object_pairs_hook=_keys_once)
        except ValueError as error:
            raise HTTPException(400, f"the body is not JSON: {error}") from error
        return found


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = Counter(key for key, _ in pairs)
    if twice := [key for key, number in keys.items() if number > 1]:
        raise ValueError(f"{', '.join(map(json.dumps, twice))} more than once")
    return dict(pairs)


class Route(APIRoute):
    """A route that reads JSON whatever it is called, and is run by the crew unless it is a coroutine.

    FastAPI would run it in one of forty threads that all share, probes too.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        super().__init__(path, endpoint if inspect.iscoroutinefunction(endpoint) else _by_the_crew(endpoint), **more)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what FastAPI made of the route, with a request of ours."""
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(_JsonRequest(request))

        return handle_json


def _by_the_crew(answer: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(answer)
    async def run(resources: Resources, **given: Any) -> Any:
        return await resources.crew.run(functools.partial(answer, resources, **given))

    return run


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Add routes as they are: include_router would build each again, at the first request."""
    app.router.routes.extend(router.routes)


def mend_description(app: FastAPI) -> None:
    """Have the OpenAPI document say what is true: FastAPI has no setting for any of this."""
    describe = app.openapi
    app.openapi = functools.cache(lambda: _mended(describe()))  # type: ignore[method-assign]


def _mended(document: dict[str, Any]) -> dict[str, Any]:
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
