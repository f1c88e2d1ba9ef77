"""One frozen Settings: flags over SYNCCTL_* environment over a config file over defaults.

Built when a command starts, never at import: `--help` needs no readable configuration.
"""

import difflib
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from platformdirs import user_config_path, user_data_path
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from syncctl.core.documents import unreadable
from syncctl.core.errors import SettingsError
from syncctl.core.quantity import cpu_problems, memory_problems
from syncctl.core.validation import image_problems

ENV_PREFIX = "SYNCCTL_"
CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
_DATABASE_VARIABLE = f"{ENV_PREFIX}DATABASE_URL"

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s\[\]:/]*):(\d{1,5})")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# What Kubernetes sets in every pod of a namespace for a service named syncctl, or syncctl-something.
_SERVICE_LINK = re.compile(r"SERVICE_(HOST|PORT(_.+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DEFAULT_PROBLEMS = {
    "default_image": image_problems,
    "default_cpu": cpu_problems,
    "default_memory": memory_problems,
}
# Wherever a password may be: up to the last @, in what should be a port and is no number, in the query.
_PASSWORDS = (
    (re.compile(r"(://[^:]*:).*(?=@)", re.DOTALL), r"\1***"),
    (re.compile(r"(://[^:/@\[]*:)(?!\d*(?:[/?]|$))[^@]*$"), r"\1***"),
    (re.compile(r"(password=)[^&]*", re.IGNORECASE), r"\1***"),
)


TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,}")
"""A bearer token: what an Authorization header can carry (RFC 6750), and long enough to be one."""


def data_folder() -> Path:
    """Return the user's folder for the database and the sandbox; it need not be there. SettingsError without a home."""
    try:
        return user_data_path("syncctl")
    except RuntimeError:
        # A container may run under a number that has no home, with no HOME set either.
        raise SettingsError("this user has no home folder for data", "set HOME, or XDG_DATA_HOME") from None


Group = Literal["database", "cluster", "pods", "pass", "guard", "serve", "logs"]
"""What a setting is for; a command takes the flags of whole groups."""


def _field(group: Group, default: Any, description: str) -> Any:
    return Field(default, description=description, json_schema_extra={"group": group})


Percent = Annotated[float, Field(ge=0, le=100)]


class Settings(BaseSettings):
    """Everything that can be set, in the order in which `syncctl config show` lists it."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: SecretStr = Field(
        default_factory=lambda: SecretStr(f"sqlite:///{data_folder() / 'syncctl.db'}"),
        description="SQLAlchemy URL of the database: postgresql://USER@HOST/NAME or sqlite:///FILE",
        json_schema_extra={"group": "database"},
    )
    database_timeout: Annotated[float, Field(gt=0, le=3600)] = _field(
        "database", 10.0, "Seconds that one wait for the database may last: for a connection, a lock, an answer"
    )
    history_days: Annotated[int, Field(ge=1, le=36500)] = _field("pass", 30, "Days for which passes are remembered")

    kubeconfig: str | None = _field("cluster", None, "Kubeconfig file, as for kubectl")
    context: str | None = _field("cluster", None, "Context of the kubeconfig, as for kubectl")
    namespace: str | None = _field("cluster", None, "Namespace of the pods; else that of the context")
    fleet_name: str = _field("pods", "default", "Value of the pods' label app.kubernetes.io/instance")
    pod_template: Path | None = _field("pods", None, "A v1 Pod in YAML that adds to every pod")
    default_image: str = _field("pods", "", "Image of clients that name none")
    default_cpu: str = _field("pods", "500m", "CPU of clients that name none")
    default_memory: str = _field("pods", "256Mi", "Memory of clients that name none")

    concurrency: Annotated[int, Field(ge=1, le=256)] = _field("cluster", 16, "Requests to the API server at a time")
    request_rate: Annotated[float, Field(ge=0)] = _field("cluster", 0.0, "Requests a second at the most, 0 for any")
    page_size: Annotated[int, Field(ge=1, le=10000)] = _field("cluster", 500, "Pods a list request")
    request_timeout: Annotated[float, Field(gt=0)] = _field("cluster", 10.0, "Seconds to wait for an answer")
    pass_deadline: Annotated[float, Field(gt=0)] = _field(
        "pass", 120.0, "Seconds from the process's start after which no step is begun"
    )

    orphan_limit: Annotated[int, Field(ge=0)] = _field("guard", 10, "Orphans that a pass may delete unasked")
    orphan_percent: Percent = _field("guard", 30.0, "The same as a share of the live pods; both count")
    switch_off_limit: Annotated[int, Field(ge=0)] = _field("guard", 0, "Switched-off pods a pass may stop; 0 for any")
    replace_percent: Percent = _field("guard", 25.0, "Share of pods that may be away for something new, 10 at least")
    halt_percent: Percent = _field("guard", 20.0, "Share of unhealthy replaced pods that halts a change")

    listen: str = _field("serve", "127.0.0.1:8080", "HOST:PORT of `syncctl serve`; beyond loopback a token is needed")
    http_token: SecretStr | None = _field("serve", None, "Bearer token that callers of `syncctl serve` must show")
    http_token_file: Path | None = _field("serve", None, "File with that token, read anew when it changes")

    log_format: Literal["auto", "text", "json"] = _field("logs", "auto", "auto: text on a terminal, else JSON lines")
    log_level: Literal["debug", "info", "warning", "error"] = _field("logs", "info", "The least that is logged")

    @field_validator("database_url")
    @classmethod
    def _is_not_empty(cls, value: SecretStr) -> SecretStr:
        # An empty Secret must not mean a fresh SQLite file, in which nobody is a client.
        if not value.get_secret_value().strip():
            raise ValueError("is empty; name a database, or leave it out for a SQLite file in the user's data folder")
        return value

    @field_validator("namespace")
    @classmethod
    def _is_a_namespace(cls, value: str | None) -> str | None:
        if value is not None and not _NAMESPACE.fullmatch(value):
            raise ValueError(
                f"{_quoted(value)} is no name of a namespace: small letters, digits and '-', at most 63,"
                " a letter or digit at the ends"
            )
        return value

    @field_validator("fleet_name")
    @classmethod
    def _is_a_label_value(cls, value: str) -> str:
        if not _LABEL_VALUE.fullmatch(value):
            raise ValueError(
                "is no label value: letters, digits, '-', '_', '.', at most 63, a letter or digit at the ends"
            )
        return value

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        found = _ADDRESS.fullmatch(value)
        if not found or int(found[2]) > 65535:
            raise ValueError("is not HOST:PORT, like 127.0.0.1:8080 or [::1]:8080")
        return value

    @field_validator("http_token")
    @classmethod
    def _is_a_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError(f"is not a token: at least 8 of the characters {TOKEN.pattern.partition('{')[0]}")
        return value

    @field_validator("default_image", "default_cpu", "default_memory")
    @classmethod
    def _is_fit_for_a_client(cls, value: str, info: Any) -> str:
        problems = _DEFAULT_PROBLEMS[info.field_name](value) if value else []
        if problems:
            raise ValueError("; ".join(problem.split(": ", 1)[1] for problem in problems))
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from load_settings only, which remembers where each came from."""
        return (init_settings,)


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
    environment = EnvSettingsSource(Settings, env_ignore_empty=True)()
    if os.environ.get(_DATABASE_VARIABLE) == "":
        environment["database_url"] = ""
    layers: tuple[tuple[dict[str, Any], Callable[[str], str]], ...] = (
        (_file_values(file), lambda _key: f"file {file}"),
        (environment, lambda key: f"environment {ENV_PREFIX}{key.upper()}"),
        (
            {key: value for key, value in flags.items() if value is not None},
            lambda key: f"flag --{key.replace('_', '-')}",
        ),
    )
    merged: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    for values, origin in layers:
        merged |= values
        origins |= {key: origin(key) for key in values}
    try:
        return LoadedSettings(Settings(**merged), origins)
    except ValidationError as error:
        problems = [
            f"{_with_number(key, merged.get(key))} (from {origins.get(key, 'default')}): "
            + found["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
            for found in error.errors(include_input=False, include_url=False, include_context=False)
            for key in [str(found["loc"][0])]
        ]
    raise SettingsError("; ".join(problems))


def misspelt_variables() -> list[tuple[str, str]]:
    """Return the environment's variables that are no setting but close to one, each with that one's variable."""
    known = {key.upper() for key in Settings.model_fields} | {CONFIG_VARIABLE.removeprefix(ENV_PREFIX)}
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


def _with_number(key: str, value: object) -> str:
    """Return the setting's name, with its value if it should have been a number: no password is one."""
    field = Settings.model_fields.get(key)
    return f"{key}: {value}" if field is not None and field.annotation in (int, float) else key


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def database_of(settings: Settings) -> str:
    """Return the URL of the database; of the default one, the folder is made. One that was named has to be there."""
    url = settings.database_url.get_secret_value()
    if "database_url" not in settings.model_fields_set:
        # What cannot be made, the database's own error names.
        with suppress(OSError):
            data_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    return url


def shown(value: object) -> str:
    """Return a setting for a person's eyes: passwords are stars."""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return without_password(secret) if "://" in secret else "***"
    return "" if value is None else str(value)


def without_password(url: str) -> str:
    """Return a database URL with its password replaced by stars; rather too much of it when it is malformed."""
    for pattern, shown_instead in _PASSWORDS:
        url = pattern.sub(shown_instead, url)
    return url


def _config_file(given: Path | None) -> Path | None:
    if given is None and (named := os.environ.get(CONFIG_VARIABLE)):
        given = Path(named)
    if given is not None:
        return given
    usual = [Path("syncctl.yaml")]
    with suppress(RuntimeError):  # a user without a home has no file there
        usual.append(user_config_path("syncctl") / "syncctl.yaml")
    return next((path for path in usual if path.is_file()), None)


def _file_values(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        values = yaml.safe_load(file.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"cannot read the config file {unreadable(file, error)}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"the config file {file} is not a mapping of settings to values")
    if unknown := [str(key) for key in values if key not in Settings.model_fields]:
        raise SettingsError(f"the config file {file} has unknown settings: {', '.join(unknown)}", _closest(unknown[0]))
    return {key: value for key, value in values.items() if value is not None}


def _closest(unknown: str) -> str:
    near = difflib.get_close_matches(unknown, Settings.model_fields, n=1)
    return f"did you mean {near[0]}?" if near else f"the settings are {', '.join(Settings.model_fields)}"
