"""Commands that write rows: who writes, by which command, and why."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import typer

from syncctl.cli.options import ReasonOption, taking
from syncctl.operations.author import Author, default_actor, written_by
from syncctl.operations.connect import open_engine
from syncctl.settings import Settings


def with_author(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --reason, and call it with an `engine` whose changes are signed.

    It goes between @with_settings(*DATABASE, *AUTHOR), which gives --as, and the command. The command names itself in
    the change log by its path, like "syncctl client add".
    """
    own = [each for name, each in inspect.signature(command).parameters.items() if name != "engine"]

    @functools.wraps(command)
    def wrapper(ctx: typer.Context, settings: Settings, reason: str, **arguments: Any) -> None:
        author = Author(settings.actor or default_actor(), ctx.command_path, reason.strip(), needs_reason=True)
        command(**arguments, engine=written_by(open_engine(settings), author), **_asked_for(settings))

    def _asked_for(settings: Settings) -> dict[str, Settings]:
        return {"settings": settings} if any(each.name == "settings" for each in own) else {}

    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    settings = inspect.Parameter("settings", inspect.Parameter.KEYWORD_ONLY, annotation=Settings)
    reason = inspect.Parameter("reason", inspect.Parameter.KEYWORD_ONLY, default="", annotation=ReasonOption)
    return taking(wrapper, [*(each for each in own if each.name != "settings"), context, settings, reason])
