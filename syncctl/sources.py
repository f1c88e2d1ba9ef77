"""Where settings come from: flags over SYNCCTL_* environment over a config file over defaults.

Read when a command starts, never at import: `--help` needs no readable configuration.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from platformdirs import user_config_path

from syncctl.core.errors import SettingsError
from syncctl.core.fleet import FIELDS, Claim
from syncctl.core.yamltext import read_as_written, unreadable
from syncctl.settings import ENV_PREFIX, SETTINGS, Settings, option_of, read_setting

CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
# What Kubernetes sets in every pod of a namespace for a service named syncctl, or syncctl-something.
_SERVICE_LINK = re.compile(r"SERVICE_(HOST|PORT(_.+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and for each where it came from: "flag --x", "environment X", "file PATH" or "default"."""

    values: Settings
    origins: Mapping[str, str]


def load_settings(flags: Mapping[str, Any], config: Path | None = None) -> LoadedSettings:
    """Read the settings.

    Args:
        flags: values given on the command line, by setting; None means not given.
        config: the file named on the command line.

    Raises:
        SettingsError: a value cannot be used, the file cannot be read, or has unknown keys; each is named.
    """
    file = _config_file(config)
    of_file, claims = _file_values(file)
    variables = _variables()
    claims |= {
        key: _claim(key, value, f"environment {name}")
        for key, (name, value) in variables.items()
        if key in FIELDS and value
    }
    # An empty variable counts as unset: an empty database_url would mean a fresh database without clients.
    environment = {
        key: value for key, (_, value) in variables.items() if key in SETTINGS and (value or key == "database_url")
    }
    layers: tuple[tuple[dict[str, Any], Callable[[str], str]], ...] = (
        (of_file, lambda _key: f"file {file}"),
        (environment, lambda key: f"environment {ENV_PREFIX}{key.upper()}"),
        (
            {key: value for key, value in flags.items() if value is not None},
            lambda key: f"flag {option_of(key)}",
        ),
    )
    merged: dict[str, Any] = {}
    origins = dict.fromkeys(SETTINGS, "default")
    for values, origin in layers:
        merged |= values
        origins |= {key: origin(key) for key in values}
    read: dict[str, Any] = {}
    problems = []
    for key, written in merged.items():
        try:
            read[key] = read_setting(key, written)
        except ValueError as error:
            # What should have been a number is shown: no password is one.
            shown = f"{key}: {written}" if SETTINGS[key].kind in (int, float) else key
            problems.append(f"{shown} (from {origins[key]}): {error}")
    if problems:
        raise SettingsError("; ".join(problems))
    return LoadedSettings(Settings(**read, claims=claims), origins)


def _variables() -> dict[str, tuple[str, str]]:
    """Return by setting which variable it has, in whatever case, and that one's value."""
    return {
        name[len(ENV_PREFIX) :].lower(): (name, value)
        for name, value in os.environ.items()
        if name.upper().startswith(ENV_PREFIX)
    }


def misspelt_variables() -> list[tuple[str, str]]:
    """Return the environment's variables that are no setting but close to one, each with that one's variable."""
    known = {key.upper() for key in (*SETTINGS, *FIELDS)} | {CONFIG_VARIABLE.removeprefix(ENV_PREFIX)}
    found = []
    for variable in sorted(os.environ):
        name = variable.removeprefix(ENV_PREFIX)
        if name == variable or name.upper() in known or _is_service_link(name):
            continue
        if near := difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8):
            found.append((variable, f"{ENV_PREFIX}{near[0]}"))
    return found


def _is_service_link(name: str) -> bool:
    return any(_SERVICE_LINK.fullmatch(name, start) for start in [0, *(at.end() for at in re.finditer("_", name))])


def _config_file(given: Path | None) -> Path | None:
    if given is None and (named := os.environ.get(CONFIG_VARIABLE)):
        given = Path(named)
    if given is not None:
        return given
    usual = [Path("syncctl.yaml")]
    with suppress(RuntimeError):  # a user without a home has no file there
        usual.append(user_config_path("syncctl") / "syncctl.yaml")
    return next((path for path in usual if path.is_file()), None)


def _file_values(file: Path | None) -> tuple[dict[str, Any], dict[str, Claim]]:
    """Return what the file sets, and what it says of settings that are the fleet's."""
    if file is None:
        return {}, {}
    try:
        values = read_as_written(file.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"cannot read the config file {unreadable(file, error)}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"the config file {file} is not a mapping of settings to values")
    if unknown := [str(key) for key in values if key not in SETTINGS and key not in FIELDS]:
        raise SettingsError(f"the config file {file} has unknown settings: {', '.join(unknown)}", _closest(unknown[0]))
    given = {key: value for key, value in values.items() if value is not None}
    claims = {key: _claim(key, str(given.pop(key)), f"file {file}") for key in FIELDS if key in given}
    return given, claims


def _claim(key: str, written: str, origin: str) -> Claim:
    if key != "pod_template":
        return Claim(written, written, origin)
    try:
        return Claim(Path(written).read_text(), written, origin)
    except (OSError, UnicodeDecodeError):
        return Claim(None, written, origin)


def _closest(unknown: str) -> str:
    near = difflib.get_close_matches(unknown, SETTINGS, n=1)
    return f"did you mean {near[0]}?" if near else f"the settings are {', '.join(SETTINGS)}"
