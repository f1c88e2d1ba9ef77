"""syncctl fleet: show, set, suspend, resume."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from syncctl.cli import output
from syncctl.cli.asking import confirm
from syncctl.cli.options import AUTHOR, CLUSTER, DATABASE, Format, Output, in_place_of, with_settings
from syncctl.cli.output import Column, View
from syncctl.cli.suspensions import resume_fleet, suspend_fleet
from syncctl.cli.writing import with_author
from syncctl.core import names
from syncctl.core.documents import fleet_document
from syncctl.core.errors import UsageError
from syncctl.core.fleet import FIELDS, FleetSettings, Value, differences, flag_of
from syncctl.db.snapshot import read_snapshot
from syncctl.operations import fleet
from syncctl.operations.connect import Engine, open_cluster, open_engine
from syncctl.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Show and change what the fleet's pods are made of, and what a pass may do.",
)
app.command("suspend")(suspend_fleet)
app.command("resume")(resume_fleet)


def _shown(key: str, value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    lines = len(str(value).splitlines())
    return f"{lines} line{'s' if lines != 1 else ''} of YAML" if key == "pod_template" and value else str(value)


SETTINGS = View[tuple[str, Value]](
    columns=(
        Column("SETTING", lambda row: row[0]),
        Column("VALUE", lambda row: _shown(*row)),
        Column("MEANING", lambda row: FIELDS[row[0]].help, wide=True),
    ),
    data=lambda row: {row[0]: row[1]},
    name=lambda row: row[0],
)


@app.command()
@with_settings(*DATABASE)
def show(settings: Settings, output_format: Output = Format.TABLE) -> None:
    """Show the fleet's own settings, its id and where its pods are made. The template as it is: -o yaml.

    \b
    Example:
      syncctl fleet show -o yaml
    """
    rows = read_snapshot(open_engine(settings), consume_restarts=False)
    if output_format in (Format.JSON, Format.YAML):
        output.show_data(fleet_document(rows), output_format)
        return
    values = msgspec.structs.asdict(rows.settings).items() if rows.settings else ()
    output.show_list(
        SETTINGS,
        values,
        output_format,
        "The settings are unset since an upgrade; `syncctl fleet set --defaults` sets them.",
    )
    if output_format is not Format.NAME:
        output.say(f"Fleet: {rows.fleet}, {f'at home in {rows.home.name}' if rows.home else 'without a home as yet'}.")


_FLAGS = {
    field.name: Annotated[
        field.type | None,
        typer.Option(
            f"--{flag_of(field.name)}" + (f"/--no-{flag_of(field.name)}" if field.type is bool else ""),
            metavar={str: "TEXT", bool: None}.get(field.type, "NUMBER"),
            help=FIELDS[field.name].help,
        ),
    ]
    for field in msgspec.structs.fields(FleetSettings)
    if field.name != "pod_template"
}


@app.command("set")
@with_settings(*DATABASE, *CLUSTER, *AUTHOR)
@with_author
@in_place_of("given", _FLAGS)
def set_(
    settings: Settings,
    engine: Engine,
    *,
    given: dict[str, Value],
    template: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"{FIELDS['pod_template'].help}; its text is stored")
    ] = None,
    no_template: Annotated[bool, typer.Option("--no-template", help="Let nothing be added to the pods")] = False,
    defaults: Annotated[bool, typer.Option("--defaults", help="Give all others their defaults")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
) -> None:
    """Change what is given, for all passes from the next one on. Shows what differs, and what that does to the pods.

    \b
    Example:
      syncctl fleet set --default-cpu 250m --template pod.yaml
    """
    if template is not None and no_template:
        raise UsageError("--template and --no-template do not go together")
    if template is not None or no_template:
        given["pod_template"] = fleet.read_template(template) if template is not None else ""
    if not given and not defaults:
        raise UsageError("nothing to set", "give at least one option, like --default-cpu 250m")
    rows = read_snapshot(engine, consume_restarts=False)
    new = fleet.new_settings(rows.settings, given, defaults=defaults)
    if new == rows.settings:
        output.say("No changes.")
        return
    known = rows.settings or FleetSettings()
    for key, (old, value) in differences(known, new).items():
        output.say(f"{key}: {_shown(key, old) or 'none'} -> {_shown(key, value) or 'none'}")
    if rows.settings is None:
        output.say("All others get their defaults: they were unset.")
    effect = fleet.effect_of(rows, new, lambda: open_cluster(settings))
    if effect.unknown:
        output.say(f"How many pods that changes is not known: {effect.unknown}")
    elif effect.updates or effect.replacements:
        output.say(
            f"For it the next pass updates {names.pods(effect.updates)} and replaces {names.pods(effect.replacements)},"
            " at its pace."
        )
    else:
        output.say("No pod changes for it.")
    if effect.impossible:
        output.say(f"{names.pods(effect.impossible)} could not be made any more: their clients would be invalid.")
    confirm(yes)
    fleet.store(engine, rows.settings, new)
    output.say("Set.")
