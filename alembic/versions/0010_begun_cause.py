"""Note for what a replacement was begun"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("begun_replacements", sa.Column("cause", sa.String(20), nullable=False, server_default=sa.text("''")))


def downgrade():
    raise NotImplementedError("there is no way back but a backup")
