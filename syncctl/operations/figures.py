"""What a monitoring system asks of a fleet: how much there is, and how the last passes went."""

from collections.abc import Mapping
from dataclasses import dataclass

from syncctl.core.model import Algorithm
from syncctl.db.clients import count_clients
from syncctl.db.engine import Engine, reading
from syncctl.db.history import PassRecord, last_pass, last_success


@dataclass(frozen=True, slots=True)
class Figures:
    """A fleet in numbers.

    From `last_success` on each part of the fleet has had a pass that exited with 0; None when one never had.
    """

    clients: int
    enabled: Mapping[Algorithm, int]
    last_pass: PassRecord | None
    last_success: PassRecord | None


def read_figures(engine: Engine) -> Figures:
    """Read the figures, all of one moment."""
    with reading(engine) as connection:
        clients, enabled = count_clients(connection)
        return Figures(clients, enabled, last_pass(connection), last_success(connection))
