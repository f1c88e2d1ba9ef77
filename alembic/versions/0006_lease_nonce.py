"""Give every acquisition of the lease a nonce, for a failover may set its token back"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade():
    # Null for whoever holds it now: an older syncctl, which goes by the token alone.
    op.add_column("lease", sa.Column("nonce", sa.Text()))


def downgrade():
    raise NotImplementedError("there is no way back but a backup")
