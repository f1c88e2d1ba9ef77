"""Give back-offs a time by the database's clock"""

from datetime import timedelta

import sqlalchemy as sa
from alembic import op

from syncctl.db.times import UtcDateTime, database_time

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PASS = timedelta(minutes=5)


def upgrade():
    connection = op.get_bind()
    now = connection.execute(sa.select(database_time())).scalar_one()
    _give_back_offs_a_time(connection, now)


def downgrade():
    raise NotImplementedError("there is no way back but a backup")


def _give_back_offs_a_time(connection, now):
    """Of a number of passes to wait make a time; what those pods were made of nobody has noted."""
    rows = connection.execute(sa.text("SELECT client_id, algorithm, failures, wait FROM back_offs")).all()
    op.drop_table("back_offs")
    back_offs = op.create_table(
        "back_offs",
        sa.Column("client_id", ID, autoincrement=False, nullable=False),
        sa.Column("algorithm", sa.String(10), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.Column("made_of", sa.String(16), nullable=False),
        sa.Column("pod", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "algorithm", name="pk_back_offs"),
    )
    columns = ("client_id", "algorithm", "failures", "until", "made_of", "pod")
    converted = [(client, algorithm, failures, now + wait * PASS, "", "") for client, algorithm, failures, wait in rows]
    op.bulk_insert(back_offs, [dict(zip(columns, row, strict=True)) for row in converted])
