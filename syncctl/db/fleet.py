"""The fleet's row: its own settings."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select, update

from syncctl.core.fleet import FIELDS, FleetSettings
from syncctl.db.tables import fleet

SETTINGS = tuple(fleet.c[key] for key in FIELDS)
"""The columns that `settings_of` reads."""


def settings_of(row: Row[Any]) -> FleetSettings | None:
    """Return what these columns of a row say; None when any is null: nobody has set them since an upgrade."""
    values = {column.name: getattr(row, column.name) for column in SETTINGS}
    return None if None in values.values() else FleetSettings(**values)


def read_settings(connection: Connection) -> FleetSettings | None:
    """Return the fleet's own settings; None while they are unset."""
    return settings_of(connection.execute(select(*SETTINGS)).one())


def store_settings(connection: Connection, settings: FleetSettings) -> None:
    """Store the fleet's own settings."""
    connection.execute(update(fleet).values(msgspec.structs.asdict(settings)))
