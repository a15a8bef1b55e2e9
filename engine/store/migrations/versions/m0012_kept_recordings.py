"""Where recordings lie, how long they are kept, why they are gone or never were.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op


revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("cdrs") as batch:
        batch.add_column(sa.Column("unrecorded_because", sa.String(length=16), nullable=True))
    with op.batch_alter_table("recordings") as batch:
        batch.add_column(sa.Column("engine_id", sa.String(length=64), nullable=False, server_default=sa.text("''")))
        batch.add_column(sa.Column("place", sa.String(length=8), nullable=False, server_default="disk"))
        batch.add_column(sa.Column("tenant_id", _INTEGER, nullable=True))
        batch.add_column(sa.Column("agent_id", _INTEGER, nullable=True))
        batch.add_column(sa.Column("started_at_ms", _INTEGER, nullable=True))
    op.create_index("recordings_by_tenant_and_time", "recordings", ["tenant_id", "started_at_ms", "cdr_id"])
    op.create_index("recordings_by_place", "recordings", ["engine_id", "place", "cdr_id"])
    op.create_table(
        "recording_manifests",
        sa.Column("engine_id", sa.String(length=64), nullable=False),
        sa.Column("folder", sa.String(length=255), nullable=False),
        sa.Column("tenant_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("changed_at_ms", _INTEGER, nullable=False),
        sa.Column("written_at_ms", _INTEGER, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("engine_id", "folder", "tenant_id", name=op.f("recording_manifests_key")),
    )
    op.create_table(
        "recording_deletions",
        sa.Column("cdr_id", sa.String(length=32), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("engine_id", sa.String(length=64), nullable=False),
        sa.Column("place", sa.String(length=8), nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=True),
        sa.Column("agent_id", _INTEGER, nullable=True),
        sa.Column("started_at_ms", _INTEGER, nullable=True),
        sa.Column("duration_ms", _INTEGER, nullable=False),
        sa.Column("size_octets", _INTEGER, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("rule", sa.String(length=200), nullable=False),
        sa.Column("decided_by", sa.String(length=64), nullable=False),
        sa.Column("decided_at_ms", _INTEGER, nullable=False),
        sa.Column("deleted_at_ms", _INTEGER, nullable=True),
        sa.PrimaryKeyConstraint("cdr_id", name=op.f("recording_deletions_key")),
    )
    op.create_index(op.f("recording_deletions_by_deleted_at_ms"), "recording_deletions", ["deleted_at_ms"])
    op.create_index("recording_deletions_by_tenant", "recording_deletions", ["tenant_id", "decided_at_ms", "cdr_id"])
    op.create_table(
        "recording_retentions",
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("platform_days", _INTEGER, nullable=True),
        sa.Column("tenant_days", _INTEGER, nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("recording_retentions_tenant_id_refers_to_tenants")
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("recording_retentions_key")),
    )
    op.create_table(
        "legal_holds",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("agent_id", _INTEGER, nullable=True),
        sa.Column("cdr_id", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("by_platform", sa.Boolean(), nullable=False),
        sa.Column("placed_by", sa.String(length=64), nullable=False),
        sa.Column("placed_at_ms", _INTEGER, nullable=False),
        sa.Column("released_by", sa.String(length=64), nullable=True),
        sa.Column("released_at_ms", _INTEGER, nullable=True),
        sa.Column("release_reason", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("legal_holds_tenant_id_refers_to_tenants")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("legal_holds_agent_id_refers_to_agents")),
        sa.PrimaryKeyConstraint("id", name=op.f("legal_holds_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("legal_holds_by_tenant_id"), "legal_holds", ["tenant_id"])
    op.create_index(op.f("legal_holds_by_cdr_id"), "legal_holds", ["cdr_id"])


def downgrade() -> None:
    for table in ("legal_holds", "recording_retentions", "recording_deletions", "recording_manifests"):
        op.drop_table(table)
    op.drop_index("recordings_by_place", "recordings")
    op.drop_index("recordings_by_tenant_and_time", "recordings")
    with op.batch_alter_table("recordings") as batch:
        for column in ("started_at_ms", "agent_id", "tenant_id", "place", "engine_id"):
            batch.drop_column(column)
    with op.batch_alter_table("cdrs") as batch:
        batch.drop_column("unrecorded_because")
