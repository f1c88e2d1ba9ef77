"""Plans in files: made by one person, reviewed by another, carried out to the letter or not at all."""

import json
from pathlib import Path
from typing import Annotated

import msgspec

from syncctl.core.errors import InvalidInput
from syncctl.core.facts import Policy
from syncctl.core.fields import FieldChange
from syncctl.core.judge import JudgedPlan
from syncctl.core.plan_documents import step_document
from syncctl.core.saved import SavedStep
from syncctl.operations.planning import PassOptions

FORMAT = 1


class _Format(msgspec.Struct):
    """What every version of the file has."""

    format: int


class _Change(msgspec.Struct):
    field: str
    was: str | None = msgspec.field(name="from")
    to: str | None


class _Step(msgspec.Struct):
    pod: str
    step: str
    cause: str
    uid: str | None = None
    changes: list[_Change] = []


class _Document(_Format):
    """What is read back; the steps are for people, and to say what differs.

    What has a default was not in every file of this format.
    """

    digest: str
    policy: Policy
    allow_deletions: Annotated[int, msgspec.Meta(ge=0)] | None
    adopt: bool
    move_here: bool = False
    allow_pods: list[str] = []
    adopt_pods: list[str] = []
    steps: list[_Step] = []


def save_plan(file: Path, judged: JudgedPlan, options: PassOptions) -> None:
    """Write the plan's digest and the run's options, and the steps for a reader.

    Raises:
        InvalidInput: the file cannot be written.
    """
    document = {
        "format": FORMAT,
        "digest": judged.digest,
        "policy": options.policy.value,
        "allow_deletions": options.allow_deletions,
        "adopt": options.adopt,
        "move_here": options.move_here,
        "allow_pods": sorted(options.allow_pods),
        "adopt_pods": sorted(options.adopt_pods),
        "steps": [step_document(step, judged.plan.blueprint) for step in judged.plan.drifted],
    }
    try:
        file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise InvalidInput(f"plan {file}", [f"cannot be written: {error.strerror}"]) from error


def read_plan(file: Path) -> PassOptions:
    """Return the options that carry out exactly this plan.

    Raises:
        InvalidInput: the file is no saved plan.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"plan {file}", [f"cannot be read: {error.strerror}"]) from error
    try:
        if (found := msgspec.json.decode(content, type=_Format).format) != FORMAT:
            raise InvalidInput(f"plan {file}", [f"is of format {found}, expected {FORMAT}"])
        document = msgspec.json.decode(content, type=_Document)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"plan {file}", [f"is no plan of `syncctl sync plan --out`: {error}"]) from error
    return PassOptions(
        policy=document.policy,
        allow_deletions=document.allow_deletions,
        adopt=document.adopt,
        move_here=document.move_here,
        expected_digest=document.digest,
        allow_pods=frozenset(document.allow_pods),
        adopt_pods=frozenset(document.adopt_pods),
        expected_steps=tuple(map(_saved, document.steps)),
    )


def _saved(step: _Step) -> SavedStep:
    changes = tuple(FieldChange(each.field, each.was, each.to) for each in step.changes)
    return SavedStep(step.pod, step.step, step.cause, step.uid, changes)
