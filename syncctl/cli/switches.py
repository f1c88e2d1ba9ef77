"""The switches of algorithms, a flag for each."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from syncctl.cli.options import taking
from syncctl.core.model import Algorithm


def with_switches(*, off: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each algorithm in place of its parameter `flags`, which gets those that are given.

    With `off` there is one to switch it off as well.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapper(**arguments: Any) -> None:
            given = {algorithm: arguments.pop(algorithm) for algorithm in Algorithm}
            command(**arguments, flags={algorithm: on for algorithm, on in given.items() if on is not None})

        own = list(inspect.signature(command).parameters.values())
        place = [parameter.name for parameter in own].index("flags")
        switches = [_switch(algorithm, own[place], off=off) for algorithm in Algorithm]
        return taking(wrapper, [*own[:place], *switches, *own[place + 1 :]])

    return decorate


def _switch(algorithm: Algorithm, place: inspect.Parameter, *, off: bool) -> inspect.Parameter:
    flag, words = (f"--{algorithm}/--no-{algorithm}", "on or off") if off else (f"--{algorithm}", "on")
    option = typer.Option(flag, help=f"Switch {algorithm.name} {words}")
    return inspect.Parameter(algorithm.value, place.kind, default=None, annotation=Annotated[bool | None, option])
