"""What callers say: bodies and queries, with the Go service's JSON names."""

import re
import sys
from typing import Annotated, Any

from fastapi import Path
from msgspec.structs import asdict
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from syncctl.core.model import Algorithm, ClientChanges, NewClient
from syncctl.core.validation import LARGEST_ID, LARGEST_VERSION, LONGEST_NAME, TEXTS, client_problems
from syncctl.server.models import for_each_algorithm

_LARGEST = sys.float_info.max
_OURS = {"client_name": "name", "needRestart": "need_restart"}


def _judged(value: Any, info: ValidationInfo) -> Any:
    """Let core judge a field; an empty text is one that was not given."""
    field = str(info.field_name)
    if value != "" and (found := client_problems(**{_OURS.get(field, field): value})):
        text = "; ".join(problem.partition(": ")[2] for problem in found)
        raise PydanticCustomError("judged", "{problem}", {"problem": text})
    return value


def _text(field: str) -> Any:
    said = TEXTS[field]
    return Field(max_length=said.longest, description=said.description, examples=[said.example])


def _whole_number(value: Any) -> Any:
    """Take 7.0 for 7 in JSON, which knows no difference; in a URL, refuse what int() would read: 1_000, +1, 7.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,19}", value):
        raise ValueError("is not a whole number of 64 bits without a sign")
    return value


Name = Annotated[str, Field(max_length=LONGEST_NAME, description="Free text, unique", examples=["acme"])]
# Last in each Annotated: before it, a bound would be checked and not be described.
_WHOLE = BeforeValidator(_whole_number)
Version = Annotated[
    int, Field(ge=0, le=LARGEST_VERSION, description="Without, a new image, cpu or memory adds one"), _WHOLE
]
Priority = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST, description="Pods of higher priority are started first")]
BodyId = Annotated[int, Field(ge=0, le=LARGEST_ID, description="0 means: not given"), _WHOLE]
KnownId = Annotated[int, Field(ge=1, le=LARGEST_ID, description="The client's id"), _WHOLE]
AnyPath = Annotated[str, Path(description="The client's id; of what is no number, the id in the body counts")]
ClientId = Annotated[int, Path(ge=1, le=LARGEST_ID, description="The client's id"), _WHOLE]
Ignored = Annotated[str, Field(description="Kept by the server, ignored in requests")]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


@for_each_algorithm(bool | None, None)
class Switches(_Body):
    """Which algorithms to switch; those not given stay as they are."""

    def flags(self) -> dict[Algorithm, bool]:
        """Return those that are given."""
        given = {algorithm: getattr(self, algorithm) for algorithm in Algorithm}
        return {algorithm: flag for algorithm, flag in given.items() if flag is not None}


class ClientSent(_Body):
    """A client as callers send it, whole or in part. Null and an empty text say: not given."""

    id: BodyId | None = None
    client_name: Name | None = None
    version: Version | None = None
    image: Annotated[str, _text("image")] | None = None
    cpu: Annotated[str, _text("cpu")] | None = None
    memory: Annotated[str, _text("memory")] | None = None
    priority: Priority | None = None
    needRestart: bool | None = Field(None, description="Ask the next pass to replace the client's pods")  # noqa: N815
    algorithms: Switches | None = None
    restart_generation: Annotated[int, _WHOLE] | None = Field(
        None, description="Kept by the server, ignored in requests"
    )
    spawned_at: Ignored | None = None
    created_at: Ignored | None = None
    updated_at: Ignored | None = None


class ClientToDelete(ClientSent):
    """The client to delete: its id is enough."""

    id: KnownId


class ClientToChange(ClientToDelete):
    """What to change of a client. What is absent, null or an empty text stays as it is.

    What is sent back as the row has it is no change, however odd: the operation judges the rest.
    """

    version: Annotated[int, Field(ge=-LARGEST_VERSION - 1, le=LARGEST_VERSION), _WHOLE] | None = Field(
        None, description="Without, a new image, cpu or memory adds one"
    )

    def changes(self) -> ClientChanges:
        """Return what is to be changed."""
        given = {_OURS.get(field, field): value for field, value in self if value not in (None, "")}
        return ClientChanges(**{field: given.get(field) for field in ClientChanges.__struct_fields__})


class ClientToAdd(ClientToChange):
    """A client to add; its id is given by the server."""

    id: BodyId | None = None  # type: ignore[assignment]
    client_name: Annotated[Name, Field(min_length=1)]
    version: Version | None = None

    _judge = field_validator("client_name", *TEXTS)(_judged)

    def new(self) -> NewClient:
        """Return the client to add."""
        flags = self.algorithms.flags() if self.algorithms else {}
        given = {field: value for field, value in asdict(self.changes()).items() if value is not None}
        return NewClient(**given, algorithms=frozenset(algorithm for algorithm, on in flags.items() if on))


class AlgorithmsToSet(Switches):
    """Which algorithms of a client to switch on and off."""

    client_id: KnownId
    algorithm_id: BodyId | None = Field(None, description="Kept by the server, ignored in requests")

    def all_flags(self) -> dict[Algorithm, bool]:
        """Return a flag for each: what is not given is off. Nothing at all, when none is given."""
        given = self.flags()
        return {algorithm: given.get(algorithm, False) for algorithm in Algorithm} if given else {}


class Pages(BaseModel):
    """Which part of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=1000, description="How many at the most"), _WHOLE] = 100
    after: Annotated[int, Field(ge=0, le=LARGEST_ID, description="Only ids above this one"), _WHOLE] = 0
    enabled: Algorithm | None = Field(None, description="Only clients that have this one switched on")


class ClientPages(Pages):
    """Which part of the clients."""

    client_name: Annotated[Name, Field(min_length=1)] | None = Field(None, description="Only the client of this name")

    _judge = field_validator("client_name")(_judged)
