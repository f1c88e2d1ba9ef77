"""Make the tables, or adopt those of the Go service"""

import uuid
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects.postgresql import JSONB

from syncctl.db.adoption import adopt
from syncctl.db.times import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
NO = sa.text("false")


def upgrade():
    connection = op.get_bind()
    now = datetime.now(UTC)
    there = sa.inspect(connection)
    adoptable = there.has_table("clients") or there.has_table("algorithm_status")
    _make_new_tables()
    # A later migration notes in the database that the Go service may still be at work.
    context.config.attributes["adopted"] = adoptable
    if adoptable:
        adopt(connection, now, context.config.attributes.get("say", print))
    else:
        _make_tables_of_go_service()
    fleet = sa.table("fleet", sa.column("uuid"), sa.column("created_at", UtcDateTime()))
    connection.execute(sa.insert(fleet).values(uuid=str(uuid.uuid4()), created_at=now))


def downgrade():
    raise NotImplementedError("there is no way back but a backup")


def _make_new_tables():
    op.create_table(
        "deleted_clients",
        sa.Column("client_id", ID, autoincrement=False, nullable=False),
        sa.Column("client_name", sa.String(100), nullable=False),
        sa.Column("algorithm_status_id", ID),
        sa.Column("deleted_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name="pk_deleted_clients"),
    )
    op.create_table(
        "fleet",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False, server_default="1"),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fleet"),
        sa.CheckConstraint("id = 1", name=op.f("ck_fleet_one_row")),
    )
    op.create_table(
        "passes",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_passes"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_passes_started_at", "passes", ["started_at"])
    op.create_table(
        "adopted_algorithm_status",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("client_id", ID),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("original", JSON, nullable=False),
        sa.Column("adopted_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_adopted_algorithm_status"),
    )


def _make_tables_of_go_service():
    sqlite = op.get_bind().dialect.name == "sqlite"
    clients_types = sa.CheckConstraint(
        "typeof(client_name) = 'text' AND length(client_name) <= 100"
        " AND typeof(image) = 'text' AND length(image) <= 255"
        " AND typeof(cpu) = 'text' AND length(cpu) <= 50"
        " AND typeof(memory) = 'text' AND length(memory) <= 50"
        " AND typeof(version) = 'integer' AND typeof(priority) = 'real' AND need_restart IN (0, 1)"
        " AND typeof(restart_generation) = 'integer'",
        name=op.f("ck_clients_types"),
    )
    status_types = sa.CheckConstraint(
        "vwap IN (0, 1) AND twap IN (0, 1) AND hft IN (0, 1)", name=op.f("ck_algorithm_status_types")
    )
    op.create_table(
        "clients",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("client_name", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("image", sa.String(255), nullable=False, server_default=""),
        sa.Column("cpu", sa.String(50), nullable=False, server_default=""),
        sa.Column("memory", sa.String(50), nullable=False, server_default=""),
        sa.Column("priority", sa.Double(), nullable=False, server_default=sa.text("1.0")),
        sa.Column("need_restart", sa.Boolean(), nullable=False, server_default=NO),
        sa.Column("spawned_at", UtcDateTime()),
        sa.Column("created_at", UtcDateTime(), nullable=False, server_default=sa.func.current_timestamp()),
        sa.Column("updated_at", UtcDateTime(), nullable=False, server_default=sa.func.current_timestamp()),
        sa.Column("restart_generation", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name="pk_clients"),
        sa.UniqueConstraint("client_name", name="uq_clients_client_name"),
        sa.CheckConstraint("restart_generation >= 0", name=op.f("ck_clients_restart_generation")),
        *([clients_types] if sqlite else []),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "algorithm_status",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("client_id", ID, nullable=False),
        sa.Column("vwap", sa.Boolean(), nullable=False, server_default=NO),
        sa.Column("twap", sa.Boolean(), nullable=False, server_default=NO),
        sa.Column("hft", sa.Boolean(), nullable=False, server_default=NO),
        sa.PrimaryKeyConstraint("id", name="pk_algorithm_status"),
        sa.UniqueConstraint("client_id", name="uq_algorithm_status_client_id"),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.id"], name="fk_algorithm_status_client_id_clients", ondelete="CASCADE"
        ),
        *([status_types] if sqlite else []),
        sqlite_autoincrement=True,
    )
