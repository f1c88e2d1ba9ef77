"""One frozen Settings: what can be set, with its group, its default, what help says and what it may be."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_path
from pydantic import Field, PrivateAttr, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

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


Group = Literal["database", "cluster", "pass", "serve", "logs"]
"""What a setting is for; a command takes the flags of whole groups."""


def _field(group: Group, default: Any, description: str) -> Any:
    return Field(default, description=description, json_schema_extra={"group": group})


class Settings(BaseSettings):
    """How things are reached, and how a process runs, in the order in which `syncctl config show` lists it.

    What pods are made of, and how much a pass may do, is the fleet's: see core/fleet.py. What the environment or the
    config file says of that all the same is in `claims`.
    """

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

    concurrency: Annotated[int, Field(ge=1, le=256)] = _field("cluster", 16, "Requests to the API server at a time")
    request_rate: Annotated[float, Field(ge=0)] = _field("cluster", 0.0, "Requests a second at the most, 0 for any")
    page_size: Annotated[int, Field(ge=1, le=10000)] = _field("cluster", 500, "Pods a list request")
    request_timeout: Annotated[float, Field(gt=0)] = _field("cluster", 10.0, "Seconds to wait for an answer")
    pass_deadline: Annotated[float, Field(gt=0)] = _field(
        "pass", 120.0, "Seconds from the process's start after which no step is begun"
    )

    listen: str = _field("serve", "127.0.0.1:8080", "HOST:PORT of `syncctl serve`; beyond loopback a token is needed")
    http_token: SecretStr | None = _field("serve", None, "Bearer token that callers of `syncctl serve` must show")
    http_token_file: Path | None = _field("serve", None, "File with that token, read anew when it changes")

    log_format: Literal["auto", "text", "json"] = _field("logs", "auto", "auto: text on a terminal, else JSON lines")
    log_level: Literal["debug", "info", "warning", "error"] = _field("logs", "info", "The least that is logged")

    _claims: Mapping[str, Claim] = PrivateAttr(default_factory=dict)

    @property
    def claims(self) -> Mapping[str, Claim]:
        """What stands where settings are read, and is the fleet's to say."""
        return self._claims

    def claiming(self, claims: Mapping[str, Claim]) -> "Settings":
        """Return these settings with other claims."""
        settings = self.model_copy()
        settings._claims = claims  # noqa: SLF001 - its own
        return settings

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
                f"{json.dumps(value, ensure_ascii=False)} is no name of a namespace: small letters, digits and '-',"
                " at most 63, a letter or digit at the ends"
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

    @classmethod
    def settings_customise_sources(cls, *_: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from sources.load_settings only, which remembers where each came from."""
        return (sources["init_settings"],)


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
