"""The whole server as one application."""

from fastapi import FastAPI
from starlette.types import ASGIApp

from syncctl import __version__
from syncctl.operations.connect import Engine
from syncctl.server.edge import Edge, Token
from syncctl.server.framework import add_routes, mend_description
from syncctl.server.problems import HANDLERS
from syncctl.server.resources import open_resources
from syncctl.server.routes import router
from syncctl.settings import Settings


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
        exception_handlers=HANDLERS,
    )
    add_routes(app, router)
    mend_description(app)
    app.state.resources = resources = open_resources(engine, settings)
    return Edge(app, Token(settings), resources.metrics)
