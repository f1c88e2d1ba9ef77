"""Plans in files: made by one person, reviewed by another, carried out to the letter or not at all."""

import json
from pathlib import Path
from typing import Any

from syncctl.core.errors import InvalidInput
from syncctl.core.guard import Policy
from syncctl.operations.sync import JudgedPlan, PassOptions

FORMAT = 1


def save_plan(file: Path, judged: JudgedPlan, options: PassOptions, steps: list[dict[str, Any]]) -> None:
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
        "steps": steps,
    }
    try:
        file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise InvalidInput(f"plan {file}", [f"cannot be written: {error.strerror}"]) from error


def read_plan(file: Path) -> PassOptions:
    """Return the options by which exactly this plan is carried out.

    Raises:
        InvalidInput: the file is no saved plan.
    """
    try:
        document = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"plan {file}", [f"cannot be read: {error}"]) from error
    try:
        if document["format"] != FORMAT:
            raise InvalidInput(f"plan {file}", [f"is of format {document['format']}, expected {FORMAT}"])
        allowed = document["allow_deletions"]
        return PassOptions(
            policy=Policy(document["policy"]),
            allow_deletions=None if allowed is None else int(allowed),
            adopt=bool(document["adopt"]),
            expected_digest=str(document["digest"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"plan {file}", ["is no plan of `syncctl sync plan --out`"]) from error
