"""A fleet's own settings, changed as `syncctl fleet set` does."""

from typing import Any

from msgspec.structs import replace
from sqlalchemy import Engine

from syncctl.core.fleet import FIELDS, FleetSettings
from syncctl.db.engine import writing
from syncctl.db.fleet import read_settings, store_settings


def set_fleet(engine: Engine, **changes: Any) -> FleetSettings:
    """Change these of the fleet's settings, and return all."""
    with writing(engine) as connection:
        settings = replace(read_settings(connection) or FleetSettings(), **changes)
        store_settings(connection, settings)
    return settings


def of_the_fleet(given: dict[str, Any]) -> dict[str, Any]:
    """Take out of these settings those that are the fleet's own."""
    return {key: given.pop(key) for key in FIELDS if key in given}
