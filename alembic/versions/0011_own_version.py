"""Keep the revision in a table of our own

Alembic's usual one is shared by all programs of a database that use Alembic. It is taken over before any of these
scripts runs (syncctl/db/migrations.py); no other table changes.
"""

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade():
    pass


def downgrade():
    raise NotImplementedError("there is no way back but a backup")
