"""Keep the guard's latch and what is left undone apart, and give back-offs a time by the database's clock"""

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
    _take_the_latch_out_of_the_history(connection)
    _make_room_for_what_is_left_undone()
    # Of passes before nobody has counted them.
    for number in ("problems", "unhealthy"):
        op.add_column("passes", sa.Column(number, sa.Integer(), nullable=False, server_default="0"))


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


def _take_the_latch_out_of_the_history(connection):
    """Latch, bucket by bucket, the orphans that were refused and that no later pass has seen the end of."""
    latches = op.create_table(
        "guard_latches",
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("refused_since", UtcDateTime(), nullable=False),
        sa.Column("found_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "bucket", name="pk_guard_latches"),
    )
    op.create_table(
        "guard_allowances",
        sa.Column("pod", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("client_id", ID, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pod", "uid", name="pk_guard_allowances"),
    )
    results = {}
    orphans = "SELECT DISTINCT pass_id, result FROM pass_steps WHERE cause = 'orphan'"
    for number, result in connection.execute(sa.text(orphans)):
        results.setdefault(number, set()).add(result)
    passes = sa.table(
        "passes",
        *map(sa.column, ("id", "who", "host", "shard", "error")),
        sa.column("finished_at", UtcDateTime()),
    )
    columns = passes.c.id, passes.c.finished_at, passes.c.who, passes.c.host, passes.c.shard
    had_a_plan = sa.select(*columns).where(passes.c.error.is_(None)).order_by(passes.c.id)
    latched = {}
    for number, finished_at, who, host, shard in connection.execute(had_a_plan):
        index, of = map(int, shard.split("/"))
        found = results.get(number, set())
        for bucket in range(index, 256, of):
            if "refused" in found:
                latched.setdefault(bucket, (finished_at, f"{who}@{host}"))
            elif "deleted" in found or not found & {"deferred", "failed"}:
                latched.pop(bucket, None)
    columns = ("kind", "bucket", "refused_since", "found_by")
    rows = [("orphans", bucket, *first) for bucket, first in latched.items()]
    op.bulk_insert(latches, [dict(zip(columns, row, strict=True)) for row in rows])


def _make_room_for_what_is_left_undone():
    op.create_table(
        "standing_steps",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("first_pass", ID, nullable=False),
        sa.Column("ended_by", ID),
        sa.Column("digest", sa.String(16), nullable=False),
        sa.Column("pod", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text()),
        sa.Column("client_id", ID, nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_standing_steps"),
        sa.ForeignKeyConstraint(
            ["ended_by"], ["passes.id"], name="fk_standing_steps_ended_by_passes", ondelete="CASCADE"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_standing_steps_ended_by", "standing_steps", ["ended_by"])
