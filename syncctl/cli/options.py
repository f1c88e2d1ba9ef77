"""Options that many commands share: the settings as flags, the output format, the client's reference."""

import functools
import inspect
import logging
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from syncctl.cli import completing, looks
from syncctl.cli.logformat import set_up_logging
from syncctl.settings import ENV_PREFIX, SETTINGS, Group, option_of
from syncctl.sources import load_settings, misspelt_variables

log = logging.getLogger("syncctl")


def _group(name: Group) -> tuple[str, ...]:
    return tuple(key for key, setting in SETTINGS.items() if setting.group == name)


DATABASE, CLUSTER, PASS, AUTHOR = _group("database"), _group("cluster"), _group("pass"), _group("author")
SERVE, LOGS = _group("serve"), _group("logs")
ALL = tuple(SETTINGS)

NO_HEADERS = "no_headers"
_COMPLETED = {"context": completing.contexts, "namespace": completing.namespaces}
_SHORT = {"namespace": "-n"}


class Format(StrEnum):
    """What `-o` takes, as in kubectl."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


Output = Annotated[Format, typer.Option("--output", "-o", metavar="FORMAT", help=f"How to print: {', '.join(Format)}")]
ShardOption = Annotated[
    str, typer.Option("--shard", metavar="K/N", help="Only shard K, from 0, of N; 0/1 is the whole fleet")
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the change log")]
REFERENCES: Any = typer.Argument(
    metavar="NAME|ID...",
    help="Names or ids, digits are an id first; - reads them from stdin",
    autocompletion=completing.clients,
)
References = Annotated[list[str], REFERENCES]


def client_option(help_: str) -> Any:
    """Return the option --client of a command that shows only what is a client's."""
    return typer.Option("--client", metavar="NAME|ID", autocompletion=completing.clients, help=help_)


Reference = Annotated[
    str,
    typer.Argument(
        metavar="NAME|ID",
        help="The client's name or id; digits are an id first, then a name",
        autocompletion=completing.clients,
    ),
]


def with_settings(*keys: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each of these settings, and call it with `settings` built from them.

    A command that has a parameter `origins` is told as well where each value came from.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        names = tuple(dict.fromkeys((*keys, *LOGS)))

        @functools.wraps(command)
        def wrapper(config: Path | None, **arguments: Any) -> None:
            loaded = load_settings({key: arguments.pop(key) for key in names}, config)
            looks.choose(loaded.values.color, headers=not arguments.pop(NO_HEADERS, False))
            set_up_logging(loaded.values)
            for misspelt, meant in misspelt_variables():
                log.warning("%s is no setting; did you mean %s?", misspelt, meant)
            filled = {"settings": loaded.values, "origins": loaded.origins}
            command(**arguments, **{name: value for name, value in filled.items() if name in signature.parameters})

        own = [parameter for name, parameter in signature.parameters.items() if name not in ("settings", "origins")]
        if "output_format" in signature.parameters:
            own.append(_NO_HEADERS)
        return taking(wrapper, [*own, _CONFIG, *(_flag(key) for key in names)])

    return decorate


def in_place_of(place: str, options: Mapping[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these options, annotations by name, in place of one parameter, which gets those that are given."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapper(**arguments: Any) -> None:
            given = {name: arguments.pop(name) for name in options}
            command(**arguments, **{place: {name: value for name, value in given.items() if value is not None}})

        own = list(inspect.signature(command).parameters.values())
        at = [parameter.name for parameter in own].index(place)
        kind = own[at].kind
        made = [inspect.Parameter(str(name), kind, default=None, annotation=options[name]) for name in options]
        return taking(wrapper, [*own[:at], *made, *own[at + 1 :]])

    return decorate


def taking(wrapper: Callable[..., None], parameters: list[inspect.Parameter]) -> Callable[..., None]:
    """Let Typer see these parameters of a command."""
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


_NO_HEADERS = inspect.Parameter(
    NO_HEADERS,
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--no-headers", help="Print tables without their headers")],
)
_CONFIG = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Config file in YAML; else $SYNCCTL_CONFIG, ./syncctl.yaml, the user's config folder"
        ),
    ],
)


def _flag(key: str) -> inspect.Parameter:
    setting = SETTINGS[key]
    kind, metavar = _kind_of(setting.kind)
    default = setting.default
    flags = [option_of(key), *([_SHORT[key]] if key in _SHORT else [])]
    shown = f", default {f'{default:g}' if isinstance(default, float) else default}" if default not in (None, 0) else ""
    option = typer.Option(
        *flags,
        help=f"{setting.help} ({ENV_PREFIX}{key.upper()}{shown})",
        metavar=metavar,
        show_default=False,
        autocompletion=_COMPLETED.get(key),
    )
    annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _kind_of(value: Any) -> tuple[type, str]:
    """Return the type that Typer checks on the command line; all else is checked with the settings."""
    if typing.get_origin(value) is Literal:
        return str, "|".join(typing.get_args(value))
    return (value, "NUMBER") if value in (int, float) else (str, "FILE" if value is Path else "TEXT")
