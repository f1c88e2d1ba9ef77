"""syncctl completion: the script that lets a shell complete."""

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined] # not re-exported by name

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Shell(StrEnum):
    """Those that are known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def completion(
    shell: Annotated[Shell, typer.Argument(metavar="|".join(Shell), help="Which shell's script")],
) -> None:
    """Print the script by which a shell completes commands, clients, pods, contexts and namespaces.

    \b
    Example:
      source <(syncctl completion bash)
    """
    typer.echo(get_completion_script(prog_name="syncctl", complete_var="_SYNCCTL_COMPLETE", shell=shell.value))
