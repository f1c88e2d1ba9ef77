"""One frozen Settings: what can be set, with its group, its default, what help says and what it may be."""

import json
import math
import re
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from platformdirs import user_data_path

from syncctl.core.errors import SettingsError
from syncctl.core.fleet import Claim

ENV_PREFIX = "SYNCCTL_"

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s\[\]:/]*):(\d{1,5})")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
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


class Secret:
    """A text that no message, log or traceback shows."""

    __slots__ = ("_text", "is_default")

    def __init__(self, text: str, *, is_default: bool = False) -> None:
        self._text = text
        self.is_default = is_default

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text


def _default_database() -> Secret:
    return Secret(f"sqlite:///{data_folder() / 'syncctl.db'}", is_default=True)


Group = Literal["database", "author", "cluster", "pass", "serve", "logs"]
"""What a setting is for; a command takes the flags of whole groups."""


class Setting(NamedTuple):
    """What is known of a setting, whatever its value. `kind` and `default` are filled in from the field itself."""

    group: Group
    help: str
    above: float = -math.inf
    at_least: float = -math.inf
    at_most: float = math.inf
    kind: Any = str
    default: Any = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How things are reached, and how a process runs, in the order of `syncctl config show`.

    What pods are made of, and how much a pass may do, is the fleet's: see core/fleet.py. What the environment or the
    config file says of that all the same is in `claims`. sources.load_settings checks values; this does not.
    """

    database_url: Annotated[
        Secret,
        Setting("database", "SQLAlchemy URL of the database: postgresql://USER@HOST/NAME or sqlite:///FILE"),
    ] = msgspec.field(default_factory=_default_database)
    database_timeout: Annotated[
        float,
        Setting(
            "database",
            "Seconds that one wait for the database may last: for a connection, a lock, an answer",
            above=0,
            at_most=3600,
        ),
    ] = 10.0
    actor: Annotated[
        str | None, Setting("author", "Who changes rows, for the change log; else SUDO_USER, else USER@HOST")
    ] = None
    history_days: Annotated[int, Setting("pass", "Days for which passes are remembered", at_least=1, at_most=36500)] = (
        30
    )
    change_days: Annotated[
        int, Setting("pass", "Days for which changes of rows are remembered", at_least=1, at_most=36500)
    ] = 400

    kubeconfig: Annotated[str | None, Setting("cluster", "Kubeconfig file, as for kubectl")] = None
    context: Annotated[str | None, Setting("cluster", "Context of the kubeconfig, as for kubectl")] = None
    namespace: Annotated[str | None, Setting("cluster", "Namespace of the pods; else that of the context")] = None

    concurrency: Annotated[int, Setting("cluster", "Requests to the API server at a time", at_least=1, at_most=256)] = (
        16
    )
    request_rate: Annotated[float, Setting("cluster", "Requests a second at the most, 0 for any", at_least=0)] = 0.0
    page_size: Annotated[int, Setting("cluster", "Pods a list request", at_least=1, at_most=10000)] = 500
    request_timeout: Annotated[float, Setting("cluster", "Seconds to wait for an answer", above=0)] = 10.0
    pass_deadline: Annotated[
        float, Setting("pass", "Seconds from the process's start after which no step is begun", above=0)
    ] = 120.0

    listen: Annotated[str, Setting("serve", "HOST:PORT of `syncctl serve`; beyond loopback a token is needed")] = (
        "127.0.0.1:8080"
    )
    http_token: Annotated[Secret | None, Setting("serve", "Bearer token that callers of `syncctl serve` must show")] = (
        None
    )
    http_token_file: Annotated[Path | None, Setting("serve", "File with that token, read again when it changes")] = None

    color: Annotated[
        Literal["auto", "always", "never"], Setting("logs", "auto: on a terminal, unless NO_COLOR is set")
    ] = "auto"
    log_format: Annotated[
        Literal["auto", "text", "json"], Setting("logs", "auto: text on a terminal, else JSON lines")
    ] = "auto"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Setting("logs", "The least that is logged")] = (
        "info"
    )

    claims: Mapping[str, Claim] = {}
    """What stands where settings are read, and is the fleet's to say."""


def _settings() -> dict[str, Setting]:
    hints = typing.get_type_hints(Settings, include_extras=True)
    found = {}
    for field in msgspec.structs.fields(Settings):
        if get_origin(hints[field.name]) is Annotated:
            annotation, setting = get_args(hints[field.name])
            # Of `str | None` the first: that a setting may be left out is its default's to say.
            kind = get_args(annotation)[0] if type(None) in get_args(annotation) else annotation
            default = None if field.default is msgspec.NODEFAULT else field.default
            found[field.name] = setting._replace(kind=kind, default=default)
    return found


SETTINGS = _settings()
"""All settings, by name, in the order they are listed; a default that is computed is None here."""


def option_of(key: str) -> str:
    """Return a setting's flag."""
    return "--as" if key == "actor" else f"--{key.replace('_', '-')}"


def read_setting(key: str, written: Any) -> Any:
    """Return a setting's value from what is written: the text of a variable or of the file, a flag's value.

    Raises:
        ValueError: it cannot be; says how it must be.
    """
    setting, value = SETTINGS[key], written
    kind = setting.kind
    if get_origin(kind) is Literal:
        *first, last = (f"'{one}'" for one in get_args(kind))
        if (value := str(written)) not in get_args(kind):
            raise ValueError(f"must be {', '.join(first)} or {last}")
    elif kind in (int, float):
        value = _number(kind, written, setting)
    else:
        value = kind(str(written))
    if check := _CHECKS.get(key):
        check(value)
    return value


def _number(kind: type[int] | type[float], written: Any, setting: Setting) -> float:
    what = "integer" if kind is int else "number"
    try:
        value = kind(written)
    except (ValueError, OverflowError):
        raise ValueError(f"must be a valid {what}, unable to parse string as {_A[what]}") from None
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    if not value > setting.above:
        raise ValueError(f"must be greater than {setting.above:g}")
    if value < setting.at_least:
        raise ValueError(f"must be greater than or equal to {setting.at_least:g}")
    if value > setting.at_most:
        raise ValueError(f"must be less than or equal to {setting.at_most:g}")
    return value


_A = {"integer": "an integer", "number": "a number"}


def _is_not_empty(value: Secret) -> None:
    # An empty Secret must not mean a fresh SQLite file without clients.
    if not value.reveal().strip():
        raise ValueError("is empty; name a database, or leave it out for a SQLite file in the user's data folder")


def _is_a_namespace(value: str) -> None:
    if not _NAMESPACE.fullmatch(value):
        raise ValueError(
            f"{json.dumps(value, ensure_ascii=False)} is no name of a namespace: small letters, digits and '-',"
            " at most 63, a letter or digit at the ends"
        )


def _is_an_address(value: str) -> None:
    found = _ADDRESS.fullmatch(value)
    if not found or int(found[2]) > 65535:
        raise ValueError("is not HOST:PORT, like 127.0.0.1:8080 or [::1]:8080")


def _is_a_token(value: Secret) -> None:
    if not TOKEN.fullmatch(value.reveal()):
        raise ValueError(f"is not a token: at least 8 of the characters {TOKEN.pattern.partition('{')[0]}")


_CHECKS: Mapping[str, Callable[[Any], None]] = {
    "database_url": _is_not_empty,
    "namespace": _is_a_namespace,
    "listen": _is_an_address,
    "http_token": _is_a_token,
}


def database_of(settings: Settings) -> str:
    """Return the URL of the database; of the default one, the folder is made. One that was named has to be there."""
    if settings.database_url.is_default:
        # What cannot be made, the database's own error names.
        with suppress(OSError):
            data_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    return settings.database_url.reveal()


def shown(value: object) -> str:
    """Return a setting for a person's eyes: passwords are stars."""
    if isinstance(value, Secret):
        secret = value.reveal()
        return without_password(secret) if "://" in secret else "***"
    return "" if value is None else str(value)


def without_password(url: str) -> str:
    """Return a database URL with its password replaced by stars; rather too much of it when it is malformed."""
    for pattern, shown_instead in _PASSWORDS:
        url = pattern.sub(shown_instead, url)
    return url
