"""syncctl doctor: is all in order."""

import typer
from msgspec.structs import asdict

from syncctl.cli import output
from syncctl.cli.looks import Colour, echo, painted
from syncctl.cli.options import CLUSTER, DATABASE, Format, Output, with_settings
from syncctl.core.checkup import State
from syncctl.core.exits import ExitCode
from syncctl.operations.doctor import check_up
from syncctl.settings import Settings

_COLOURS: dict[State, Colour] = {
    State.OK: "green",
    State.UNKNOWN: "dim",
    State.WARNING: "yellow",
    State.ERROR: "red",
}
_WIDEST = 20

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@with_settings(*DATABASE, *CLUSTER)
def doctor(settings: Settings, output_format: Output = Format.TABLE) -> None:
    """Look whether all that syncctl needs is there and in order: a line for each thing, with the way out.

    Exit code 1 when anything is an error. Nothing is written.

    \b
    Example:
      syncctl doctor
    """
    found = []
    for each in check_up(settings):
        found.append(each)
        if output_format in (Format.TABLE, Format.WIDE):
            start = f"{each.state.ljust(9)}{each.what.ljust(_WIDEST)}"
            echo(painted(start[:9], _COLOURS[each.state]) + start[9:] + output.wrapped(each.words, len(start)))
            if each.hint:
                echo(f"{' ' * len(start)}{output.wrapped(f'hint: {each.hint}', len(start))}")
        elif output_format is Format.NAME:
            typer.echo(each.what)
    if output_format in (Format.JSON, Format.YAML):
        output.show_data([asdict(each) for each in found], output_format)
    if any(each.state is State.ERROR for each in found):
        raise typer.Exit(ExitCode.ERROR)
