"""syncctl config: show."""

from collections.abc import Mapping
from typing import Any

import typer

from syncctl.cli import output
from syncctl.cli.options import ALL, Format, Output, with_settings
from syncctl.cli.output import Column, View
from syncctl.settings import Settings, shown

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Show the settings and where each comes from.",
)


@app.callback()
def config() -> None:
    """Show the settings and where each comes from."""


@app.command()
@with_settings(*ALL)
def show(settings: Settings, origins: Mapping[str, str], output_format: Output = Format.TABLE) -> None:
    """Show each setting's value and where it comes from: a flag, the environment, the config file or the default.

    \b
    Example:
      SYNCCTL_NAMESPACE=trading syncctl config show
    """
    rows = [(key, shown(getattr(settings, key)), origins[key]) for key in ALL]
    if output_format in (Format.JSON, Format.YAML):
        output.show_data({key: {"value": value, "origin": origin} for key, value, origin in rows}, output_format)
    else:
        output.show_list(_VIEW, rows, output_format)


_VIEW = View[tuple[str, str, str]](
    columns=(
        Column("SETTING", lambda row: row[0]),
        Column("VALUE", lambda row: row[1]),
        Column("ORIGIN", lambda row: row[2]),
    ),
    data=lambda row: dict[str, Any](zip(("setting", "value", "origin"), row, strict=True)),
    name=lambda row: row[0],
)
