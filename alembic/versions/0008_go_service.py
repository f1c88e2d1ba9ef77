"""Note that the tables were the Go service's: it may still be at work, and its pods run"""

from datetime import timedelta

import sqlalchemy as sa
from alembic import context, op

from syncctl.db.times import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Clients that are older than the fleet were there before syncctl was; hosts' clocks may differ by less than this.
MARGIN = timedelta(hours=1)


def upgrade():
    op.add_column("fleet", sa.Column("go_service", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    if context.config.attributes.get("adopted") or _was_adopted_before(op.get_bind()):
        fleet = sa.table("fleet", sa.column("go_service", sa.Boolean()))
        op.get_bind().execute(sa.update(fleet).values(go_service=sa.true()))


def downgrade():
    raise NotImplementedError("there is no way back but a backup")


def _was_adopted_before(connection):
    fleet = sa.table("fleet", sa.column("created_at", UtcDateTime()))
    clients = sa.table("clients", sa.column("created_at", UtcDateTime()))
    taken_out = sa.table("adopted_algorithm_status", sa.column("id"))
    made = connection.execute(sa.select(fleet.c.created_at)).scalar()
    oldest = connection.execute(sa.select(sa.func.min(clients.c.created_at, type_=UtcDateTime()))).scalar()
    older = made is not None and oldest is not None and oldest < made - MARGIN
    return older or connection.execute(sa.select(sa.exists().select_from(taken_out))).scalar()
