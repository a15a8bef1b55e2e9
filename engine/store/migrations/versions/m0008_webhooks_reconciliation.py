"""Webhooks with their outbox; reconciliation with carriers' CDRs.

Revision ID: 0008
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op


revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("sealed_secret", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.Column("failing_since_ms", _INTEGER, nullable=True),
        sa.Column("last_error", sa.String(length=100), nullable=True),
        sa.Column("leased_until_ms", _INTEGER, nullable=False, server_default="0"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("webhooks_tenant_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("webhooks_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("webhooks_by_tenant_id"), "webhooks", ["tenant_id"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("webhook_id", _INTEGER, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=64), nullable=False),
        sa.Column("occurred_at_ms", _INTEGER, nullable=False),
        sa.Column("payload", sa.JSON(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", _INTEGER, nullable=False),
        sa.Column("next_attempt_at_ms", _INTEGER, nullable=False),
        sa.Column("give_up_at_ms", _INTEGER, nullable=False),
        sa.Column("last_status", _INTEGER, nullable=True),
        sa.Column("last_error", sa.String(length=100), nullable=True),
        sa.Column("delivered_at_ms", _INTEGER, nullable=True),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("webhook_deliveries_webhook_id_refers_to_webhooks")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_deliveries_key")),
        sa.UniqueConstraint("webhook_id", "kind", "subject_id", name="one_delivery_per_fact"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "webhook_deliveries_by_due_time", "webhook_deliveries", ["webhook_id", "state", "next_attempt_at_ms"]
    )
    op.create_index("webhook_deliveries_by_time", "webhook_deliveries", ["occurred_at_ms"])
    op.create_table(
        "carrier_record_formats",
        sa.Column("carrier_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["carrier_id"], ["carriers.id"], name=op.f("carrier_record_formats_carrier_id_refers_to_carriers")
        ),
        sa.PrimaryKeyConstraint("carrier_id", name=op.f("carrier_record_formats_key")),
    )
    op.create_table(
        "reconciliations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("trunk_id", _INTEGER, nullable=False),
        sa.Column("line_id", _INTEGER, nullable=True),
        sa.Column("from_ms", _INTEGER, nullable=False),
        sa.Column("to_ms", _INTEGER, nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.Column("clock_offset_ms", _INTEGER, nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["trunk_id"], ["trunks.id"], name=op.f("reconciliations_trunk_id_refers_to_trunks")),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name=op.f("reconciliations_line_id_refers_to_lines")),
        sa.PrimaryKeyConstraint("id", name=op.f("reconciliations_key")),
    )
    op.create_index("reconciliations_by_time", "reconciliations", ["created_at_ms", "id"])
    op.create_table(
        "reconciliation_differences",
        sa.Column("reconciliation_id", sa.String(length=64), nullable=False),
        sa.Column("position", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("cdr_id", sa.String(length=32), nullable=True),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reconciliation_id"],
            ["reconciliations.id"],
            name=op.f("reconciliation_differences_reconciliation_id_refers_to_reconciliations"),
        ),
        sa.PrimaryKeyConstraint("reconciliation_id", "position", name=op.f("reconciliation_differences_key")),
    )


def downgrade() -> None:
    for table in (
        "reconciliation_differences",
        "reconciliations",
        "carrier_record_formats",
        "webhook_deliveries",
        "webhooks",
    ):
        op.drop_table(table)
