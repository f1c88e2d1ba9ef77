"""How Alembic reaches the database: through syncctl, which hands over its connection, or as a developer's command."""

import os

from alembic import context
from sqlalchemy import inspect

from syncctl.core.errors import SettingsError
from syncctl.db import triggers
from syncctl.db.engine import connect
from syncctl.db.migrations import locked
from syncctl.db.schema import OWN_VERSION
from syncctl.db.tables import metadata


def run(connection):
    """Run the migrations in the transaction of the connection."""
    say = context.config.attributes.get("say", print)
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=OWN_VERSION.name,
        compare_server_default=True,
        render_as_batch=connection.dialect.name == "sqlite",
        on_version_apply=lambda step, **_: say(f"revision {step.up_revision_id}: {step.up_revision.doc}"),
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise SettingsError("these migrations look at the database they change, so there is no --sql")
if (given := context.config.attributes.get("connection")) is not None:
    run(given)
elif url := os.environ.get("SYNCCTL_DATABASE_URL"):
    engine = connect(url)
    with locked(engine) as connection:
        triggers.remove(connection)
        run(connection)
        if inspect(connection).has_table("changes"):
            triggers.install(connection)
    engine.dispose()
else:
    raise SettingsError("SYNCCTL_DATABASE_URL is not set")
