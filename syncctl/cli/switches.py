"""The switches of algorithms, a flag for each."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from syncctl.cli.options import in_place_of
from syncctl.core.model import Algorithm


def with_switches(*, off: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each algorithm in place of its parameter `flags`, which gets those that are given.

    With `off` there is one to switch it off as well.
    """
    return in_place_of("flags", {algorithm: _switch(algorithm, off=off) for algorithm in Algorithm})


def _switch(algorithm: Algorithm, *, off: bool) -> Any:
    flag, words = (f"--{algorithm}/--no-{algorithm}", "on or off") if off else (f"--{algorithm}", "on")
    return Annotated[bool | None, typer.Option(flag, help=f"Switch {algorithm.name} {words}")]
