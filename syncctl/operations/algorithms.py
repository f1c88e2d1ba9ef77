"""Switch algorithms on and off."""

from collections.abc import Mapping
from datetime import UTC, datetime

from syncctl.core.errors import InvalidInput
from syncctl.core.model import Algorithm, Client
from syncctl.db import clients as rows
from syncctl.db.engine import Engine, writing


def set_algorithms(engine: Engine, reference: str | int, flags: Mapping[Algorithm, bool]) -> Client:
    """Switch the algorithms in `flags` on or off and leave the others; the next pass starts and stops their pods.

    Raises:
        InvalidInput: there is nothing to switch.
        ClientNotFound
    """
    if not flags:
        options = " or ".join(f"--{algorithm}" for algorithm in Algorithm)
        raise InvalidInput(f'client "{reference}"', ["nothing to switch"], f"give {options}, or its --no- form")
    with writing(engine) as connection:
        client = rows.find_client(connection, reference)
        return rows.set_algorithms(connection, client.id, flags, datetime.now(UTC))
