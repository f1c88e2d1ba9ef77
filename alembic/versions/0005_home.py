"""Remember the fleet's home, the namespace in which its pods are made"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade():
    # The next pass that makes pods, or finds some, fills them in: only a cluster knows.
    op.add_column("fleet", sa.Column("home", sa.Text()))
    op.add_column("fleet", sa.Column("home_name", sa.Text()))


def downgrade():
    raise NotImplementedError("there is no way back but a backup")
