"""Who left, and what of his went where.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "offboardings",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("agent_id", _INTEGER, nullable=False),
        sa.Column("successor_id", _INTEGER, nullable=True),
        sa.Column("moves", sa.JSON(), nullable=False),
        sa.Column("applied_at_ms", _INTEGER, nullable=False),
        sa.Column("undone_at_ms", _INTEGER, nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("offboardings_tenant_id_refers_to_tenants")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("offboardings_agent_id_refers_to_agents")),
        sa.ForeignKeyConstraint(
            ["successor_id"], ["agents.id"], name=op.f("offboardings_successor_id_refers_to_agents")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("offboardings_key")),
    )
    op.create_index(op.f("offboardings_by_agent_id"), "offboardings", ["agent_id"])
    op.create_index("offboardings_by_tenant", "offboardings", ["tenant_id", "applied_at_ms", "id"])


def downgrade() -> None:
    op.drop_table("offboardings")
