"""Packages, orders, recharges, and what tenants are told of their money.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op


revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "closed_months",
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("ends_at_ms", _INTEGER, nullable=False),
        sa.Column("last_transaction_id", _INTEGER, nullable=False),
        sa.Column("closing_micro", _INTEGER, nullable=False),
        sa.Column("closed_at_ms", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("closed_months_tenant_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "month", name=op.f("closed_months_key")),
    )
    op.create_table(
        "money_events",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("at_ms", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("money_events_tenant_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("money_events_key")),
        sa.UniqueConstraint("tenant_id", "kind", "subject", name="one_event_per_subject"),
        sqlite_autoincrement=True,
    )
    op.create_index("money_events_by_tenant", "money_events", ["tenant_id", "id"], unique=False)
    op.create_table(
        "money_rules",
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("zone", sa.String(length=64), server_default="Asia/Shanghai", nullable=False),
        sa.Column("low_balance_micro", _INTEGER, nullable=True),
        sa.Column("low_since_ms", _INTEGER, nullable=True),
        sa.Column("day_cap_micro", _INTEGER, nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("money_rules_tenant_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("money_rules_key")),
    )
    op.create_table(
        "overdraft_changes",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("from_micro", _INTEGER, nullable=False),
        sa.Column("to_micro", _INTEGER, nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at_ms", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("overdraft_changes_tenant_id_refers_to_tenants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("overdraft_changes_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("overdraft_changes_by_tenant_id"), "overdraft_changes", ["tenant_id"], unique=False)
    op.create_table(
        "packages",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=True),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("on_sale", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("renewals_approved", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("version", _INTEGER, nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("packages_tenant_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("packages_key")),
        sa.UniqueConstraint("code", name=op.f("packages_unique_code")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("packages_by_tenant_id"), "packages", ["tenant_id"], unique=False)
    op.create_table(
        "recharges",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=32), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("amount_micro", _INTEGER, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("provider_trade", sa.String(length=64), nullable=True),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.Column("paid_at_ms", _INTEGER, nullable=True),
        sa.Column("credited_at_ms", _INTEGER, nullable=True),
        sa.Column("confirmed_by", sa.String(length=64), nullable=True),
        sa.CheckConstraint("amount_micro > 0", name="recharge_above_zero"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("recharges_tenant_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("recharges_key")),
        sa.UniqueConstraint("provider", "provider_trade", name="one_recharge_per_trade"),
        sa.UniqueConstraint("reference", name=op.f("recharges_unique_reference")),
        sa.UniqueConstraint("tenant_id", "key", name="one_recharge_per_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "package_versions",
        sa.Column("package_id", _INTEGER, nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("minutes", _INTEGER, nullable=False),
        sa.Column("line_ids", sa.JSON(), nullable=False),
        sa.Column("price_micro", _INTEGER, nullable=False),
        sa.Column("period_unit", sa.String(length=8), nullable=False),
        sa.Column("period_count", _INTEGER, nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.CheckConstraint("minutes > 0 AND period_count > 0", name="package_not_empty"),
        sa.CheckConstraint("price_micro >= 0", name="package_price_not_negative"),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name=op.f("package_versions_package_id_refers_to_packages")
        ),
        sa.PrimaryKeyConstraint("package_id", "version", name=op.f("package_versions_key")),
    )
    op.create_table(
        "agent_spend_caps",
        sa.Column("agent_id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("day_cap_micro", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("agent_spend_caps_agent_id_refers_to_agents")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("agent_spend_caps_tenant_id_refers_to_tenants")
        ),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("agent_spend_caps_key")),
    )
    op.create_index(op.f("agent_spend_caps_by_tenant_id"), "agent_spend_caps", ["tenant_id"], unique=False)
    op.create_table(
        "orders",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("agent_id", _INTEGER, nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("package_id", _INTEGER, nullable=False),
        sa.Column("package_version", _INTEGER, nullable=False),
        sa.Column("bucket_id", _INTEGER, nullable=True),
        sa.Column("to_agent_id", _INTEGER, nullable=True),
        sa.Column("first_order_id", _INTEGER, nullable=True),
        sa.Column("period_number", _INTEGER, nullable=False),
        sa.Column("anchor_ms", _INTEGER, nullable=True),
        sa.Column("auto_renew", sa.Boolean(), nullable=False),
        sa.Column("amount_micro", _INTEGER, nullable=False),
        sa.Column("refunded_seconds", _INTEGER, nullable=True),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.Column("decide_by_ms", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("orders_agent_id_refers_to_agents")),
        sa.ForeignKeyConstraint(
            ["bucket_id"], ["minutes_buckets.id"], name=op.f("orders_bucket_id_refers_to_minutes_buckets")
        ),
        sa.ForeignKeyConstraint(["first_order_id"], ["orders.id"], name=op.f("orders_first_order_id_refers_to_orders")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("orders_tenant_id_refers_to_tenants")),
        sa.ForeignKeyConstraint(["to_agent_id"], ["agents.id"], name=op.f("orders_to_agent_id_refers_to_agents")),
        sa.PrimaryKeyConstraint("id", name=op.f("orders_key")),
        sa.UniqueConstraint("tenant_id", "key", name="one_order_per_key"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("orders_by_agent_id"), "orders", ["agent_id"], unique=False)
    op.create_index(op.f("orders_by_bucket_id"), "orders", ["bucket_id"], unique=False)
    op.create_index("orders_by_first_order", "orders", ["first_order_id", "period_number"], unique=False)
    op.create_index("orders_by_state", "orders", ["state", "decide_by_ms"], unique=False)
    op.create_index("orders_by_tenant", "orders", ["tenant_id", "id"], unique=False)
    op.create_table(
        "order_events",
        sa.Column("order_id", _INTEGER, nullable=False),
        sa.Column("position", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("at_ms", _INTEGER, nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("order_events_order_id_refers_to_orders")),
        sa.PrimaryKeyConstraint("order_id", "position", name=op.f("order_events_key")),
    )


def downgrade() -> None:
    op.drop_table("order_events")
    op.drop_index("orders_by_tenant", table_name="orders")
    op.drop_index("orders_by_state", table_name="orders")
    op.drop_index("orders_by_first_order", table_name="orders")
    op.drop_index(op.f("orders_by_bucket_id"), table_name="orders")
    op.drop_index(op.f("orders_by_agent_id"), table_name="orders")
    op.drop_table("orders")
    op.drop_index(op.f("agent_spend_caps_by_tenant_id"), table_name="agent_spend_caps")
    op.drop_table("agent_spend_caps")
    op.drop_table("package_versions")
    op.drop_table("recharges")
    op.drop_index(op.f("packages_by_tenant_id"), table_name="packages")
    op.drop_table("packages")
    op.drop_index(op.f("overdraft_changes_by_tenant_id"), table_name="overdraft_changes")
    op.drop_table("overdraft_changes")
    op.drop_table("money_rules")
    op.drop_index("money_events_by_tenant", table_name="money_events")
    op.drop_table("money_events")
    op.drop_table("closed_months")
