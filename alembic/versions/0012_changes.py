"""Keep every change of a row, and what began a pass

The triggers are made after the last migration of each upgrade, for they follow the tables' columns (db/triggers.py).
Changes from before this revision are not known. A fleet whose settings are set demands no reason.
"""

import sqlalchemy as sa
from alembic import op

from syncctl.db.times import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade():
    sqlite = op.get_bind().dialect.name == "sqlite"
    json = sa.JSON() if sqlite else sa.dialects.postgresql.JSONB()
    op.create_table(
        "changes",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("table_name", sa.String(30), nullable=False),
        sa.Column("op", sa.String(10), nullable=False),
        sa.Column("row_id", ID),
        sa.Column("client_id", ID),
        sa.Column("client_name", sa.Text),
        sa.Column("before", json),
        sa.Column("after", json),
        *(sa.Column(name, sa.Text) for name in ("actor", "via", "reason", "db_user", "app", "address")),
        sa.PrimaryKeyConstraint("id", name="pk_changes"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_changes_at", "changes", ["at"])
    op.create_index("ix_changes_client_id", "changes", ["client_id"])
    op.add_column("passes", sa.Column("trigger", sa.String(10), nullable=False, server_default=sa.text("''")))
    op.add_column("passes", sa.Column("digest", sa.String(64), nullable=False, server_default=sa.text("''")))
    op.add_column("fleet", sa.Column("require_reason", sa.Boolean))
    op.execute(sa.text("UPDATE fleet SET require_reason = false"))


def downgrade():
    raise NotImplementedError("there is no way back but a backup")
