"""Remember replacements that were begun and whose successor is still to come"""

import sqlalchemy as sa
from alembic import op

from syncctl.db.times import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade():
    op.create_table(
        "begun_replacements",
        sa.Column("client_id", ID, autoincrement=False, nullable=False),
        sa.Column("algorithm", sa.String(10), nullable=False),
        sa.Column("begun_at", UtcDateTime(), nullable=False),
        sa.Column("stopped", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "algorithm", name="pk_begun_replacements"),
    )


def downgrade():
    raise NotImplementedError("there is no way back but a backup")
