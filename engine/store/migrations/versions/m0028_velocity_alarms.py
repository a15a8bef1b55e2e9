"""Velocity alarms: engines' windows, days' fastest ones, alarms, and what tenants' rules say of them.

Revision ID: 0028
Revises: 0027
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LIMITS = (
    "velocity_attempts_max",
    "velocity_spend_max_micro",
    "agent_velocity_attempts_max",
    "agent_velocity_spend_max_micro",
)


def upgrade() -> None:
    op.add_column("money_rules", sa.Column("velocity_factor", _INTEGER, server_default="5", nullable=False))
    for name in _LIMITS:
        op.add_column("money_rules", sa.Column(name, _INTEGER, nullable=True))
    op.add_column(
        "money_rules", sa.Column("velocity_stops_calls", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.create_table(
        "velocity_windows",
        sa.Column("engine_id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("agent_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("attempts", _INTEGER, nullable=False),
        sa.Column("spent_micro", _INTEGER, nullable=False),
        sa.Column("at_ms", _INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("engine_id", "tenant_id", "agent_id", name=op.f("velocity_windows_key")),
    )
    op.create_index(op.f("velocity_windows_by_at_ms"), "velocity_windows", ["at_ms"])
    op.create_table(
        "velocity_days",
        sa.Column("tenant_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("agent_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("starts_at_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("attempts", _INTEGER, nullable=False),
        sa.Column("spent_micro", _INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "agent_id", "starts_at_ms", name=op.f("velocity_days_key")),
    )
    op.create_index("velocity_days_by_time", "velocity_days", ["starts_at_ms"])
    op.create_table(
        "velocity_alarms",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("agent_id", _INTEGER, nullable=True),
        sa.Column("measure", sa.String(length=16), nullable=False),
        sa.Column("limited_by", sa.String(length=8), nullable=False),
        sa.Column("value", _INTEGER, nullable=False),
        sa.Column("limit", _INTEGER, nullable=False),
        sa.Column("usual", _INTEGER, nullable=True),
        sa.Column("stops_calls", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("raised_at_ms", _INTEGER, nullable=False),
        sa.Column("acknowledged_at_ms", _INTEGER, nullable=True),
        sa.Column("acknowledged_by", sa.String(length=64), nullable=True),
        sa.Column("note", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("velocity_alarms_tenant_id_refers_to_tenants")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("velocity_alarms_agent_id_refers_to_agents")),
        sa.PrimaryKeyConstraint("id", name=op.f("velocity_alarms_key")),
        sqlite_autoincrement=True,
    )
    op.create_index("velocity_alarms_by_spender", "velocity_alarms", ["tenant_id", "agent_id", "id"])
    op.create_index("velocity_alarms_open", "velocity_alarms", ["acknowledged_at_ms"])


def downgrade() -> None:
    op.drop_table("velocity_alarms")
    op.drop_table("velocity_days")
    op.drop_table("velocity_windows")
    for name in ("velocity_factor", *_LIMITS, "velocity_stops_calls"):
        op.drop_column("money_rules", name)
