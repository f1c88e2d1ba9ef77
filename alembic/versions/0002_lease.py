"""Add the lease, the back-offs of pods that end, and the steps of passes"""

import sqlalchemy as sa
from alembic import op

from syncctl.db.times import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade():
    op.create_table(
        "lease",
        sa.Column("name", sa.String(20), nullable=False),
        sa.Column("holder", sa.Text()),
        sa.Column("token", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("acquired_at", UtcDateTime()),
        sa.Column("expires_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("name", name="pk_lease"),
    )
    op.execute("INSERT INTO lease (name) VALUES ('fleet')")
    op.create_table(
        "back_offs",
        sa.Column("client_id", ID, autoincrement=False, nullable=False),
        sa.Column("algorithm", sa.String(10), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("wait", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "algorithm", name="pk_back_offs"),
    )
    op.create_table(
        "pass_steps",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("pass_id", ID, nullable=False),
        sa.Column("pod", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text()),
        sa.Column("client_id", ID),
        sa.Column("algorithm", sa.Text()),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pass_steps"),
        sa.ForeignKeyConstraint(["pass_id"], ["passes.id"], name="fk_pass_steps_pass_id_passes", ondelete="CASCADE"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_pass_steps_pass_id", "pass_steps", ["pass_id"])


def downgrade():
    raise NotImplementedError("there is no way back but a backup")
