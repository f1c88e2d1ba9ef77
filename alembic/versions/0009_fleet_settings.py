"""Keep the fleet's own settings: what its pods are made of and what a pass may do"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

DEFAULTS = {
    "fleet_name": "default",
    "pod_template": "",
    "default_image": "",
    "default_cpu": "500m",
    "default_memory": "256Mi",
    "orphan_limit": 10,
    "orphan_percent": 30.0,
    "switch_off_limit": 0,
    "replace_percent": 25.0,
    "halt_percent": 20.0,
}
TYPES = {str: sa.Text, int: sa.Integer, float: sa.Double}


def upgrade():
    for name, value in DEFAULTS.items():
        op.add_column("fleet", sa.Column(name, TYPES[type(value)]()))
    connection = op.get_bind()
    if not _has_been_at_work(connection):
        fleet = sa.table("fleet", *map(sa.column, DEFAULTS))
        connection.execute(sa.update(fleet).values(DEFAULTS))


def downgrade():
    raise NotImplementedError("there is no way back but a backup")


def _has_been_at_work(connection):
    """Whether pods may have been made already, by settings that each process had for itself and that nobody knows here.

    The Go service sets spawned_at too, and its pods were made by no settings of ours.
    """
    home, go_service = connection.execute(sa.text("SELECT home, go_service FROM fleet")).one()
    passes = connection.execute(sa.text("SELECT EXISTS (SELECT 1 FROM passes)")).scalar()
    spawned = connection.execute(sa.text("SELECT EXISTS (SELECT 1 FROM clients WHERE spawned_at IS NOT NULL)")).scalar()
    return home is not None or passes or (spawned and not go_service)
