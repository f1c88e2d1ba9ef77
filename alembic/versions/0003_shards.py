"""Count per shard what the guard looks at, and note the shard of a pass"""

import sqlalchemy as sa
from alembic import op

from syncctl.db.times import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("lease", sa.Column("live", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("lease", sa.Column("orphans", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("lease", sa.Column("counted_at", UtcDateTime()))
    # The whole fleet is a shard as well, named like all others.
    op.execute("UPDATE lease SET name = '0/1'")
    op.add_column("passes", sa.Column("shard", sa.String(20), nullable=False, server_default="0/1"))


def downgrade():
    raise NotImplementedError("there is no way back but a backup")
