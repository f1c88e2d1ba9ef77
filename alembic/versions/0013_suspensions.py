"""Leave clients, or the fleet, alone until some time; stop clients past the limit of stops

Replacements name the pods that make way: one that was begun is told by that from one that only was to begin.
"""

import sqlalchemy as sa
from alembic import op

from syncctl.db.times import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade():
    op.create_table(
        "suspensions",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("client_id", ID),
        sa.Column("client_name", sa.Text),
        sa.Column("algorithm", sa.String(10)),
        sa.Column("stops", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False, server_default=sa.func.current_timestamp()),
        sa.Column("started_by", sa.Text, nullable=False),
        sa.Column("ends_at", UtcDateTime),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("ended_by", sa.Text),
        sa.Column("end_reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_suspensions"),
        sa.CheckConstraint("reason <> ''", name="reason"),
        sa.CheckConstraint("client_id IS NOT NULL OR (algorithm IS NULL AND NOT stops)", name="of_fleet"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "allowed_stops",
        sa.Column("client_id", ID, primary_key=True, autoincrement=False),
        sa.Column("nonce", sa.String(16), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("client_id", name="pk_allowed_stops"),
    )
    op.add_column("passes", sa.Column("suspended_down", sa.Integer, nullable=False, server_default="0"))
    op.add_column("begun_replacements", sa.Column("uids", sa.Text, nullable=False, server_default=sa.text("''")))


def downgrade():
    raise NotImplementedError("there is no way back but a backup")
