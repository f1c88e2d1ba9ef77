"""Questions to a person at a terminal; whoever does not answer them changes nothing."""

import sys
from collections.abc import Sequence

import typer

from syncctl.cli import output
from syncctl.core.errors import UsageError
from syncctl.core.exits import ExitCode


def confirm(yes: bool) -> None:
    """Go on only with a person's consent; without a terminal there is nobody to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this needs a confirmation, and there is no terminal to ask on", "give --yes")
    if ask("Go on? [y/N]", default="n").strip().lower() not in ("y", "yes"):
        output.say("nothing was changed")
        raise typer.Exit(ExitCode.ERROR)


def typed(what: str, name: str) -> None:
    """Go on only when a person types this name, of what is dangerous.

    Raises:
        UsageError: they type another, or there is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"this asks for the {what}'s name to be typed, and there is no terminal to ask on")
    if ask(f"Type the {what}'s name to go on") != name:
        raise UsageError(f"that is not the {what}'s name; nothing was done")


def named(references: Sequence[str]) -> list[str]:
    """Return what is named, and for - what stdin names, one a line.

    Raises:
        UsageError: that is nothing.
    """
    found = [
        name
        for reference in references
        for name in ([line.strip() for line in sys.stdin] if reference == "-" else [reference])
    ]
    if not (found := [name for name in found if name]):
        raise UsageError("stdin names nobody", "give a name a line, as `syncctl client list -o name` prints them")
    return found


def ask(question: str, default: str | None = None) -> str:
    """Return what a person types. Ctrl-C and the end of the input end the command, and say that nothing was changed."""
    try:
        return str(typer.prompt(question, default=default, show_default=False, err=True))
    except typer.Abort as error:
        # The terminal shows ^C or nothing, and the cursor is still behind the question.
        output.say("\nnothing was changed")
        interrupted = isinstance(error.__context__, KeyboardInterrupt)
        raise typer.Exit(ExitCode.INTERRUPTED if interrupted else ExitCode.ERROR) from None
