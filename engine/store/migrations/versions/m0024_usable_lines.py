"""Which of its tenant's lines a department or an agent may use.

Revision ID: 0024
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0019"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _refers(column: str, table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{table}.id"], name=op.f(f"usable_lines_{column}_refers_to_{table}"))


def upgrade() -> None:
    op.create_table(
        "usable_lines",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("department_id", _INTEGER, nullable=True),
        sa.Column("agent_id", _INTEGER, nullable=True),
        sa.Column("line_ids", sa.JSON(), nullable=False),
        sa.Column("carrier_ids", sa.JSON(), nullable=False),
        sa.Column("changed_at_ms", _INTEGER, nullable=False),
        sa.CheckConstraint("(department_id IS NULL) <> (agent_id IS NULL)", name="list_of_one_holder"),
        _refers("tenant_id", "tenants"),
        _refers("department_id", "departments"),
        _refers("agent_id", "agents"),
        sa.PrimaryKeyConstraint("id", name=op.f("usable_lines_key")),
        sa.UniqueConstraint("department_id", name="one_list_per_department"),
        sa.UniqueConstraint("agent_id", name="one_list_per_agent"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("usable_lines_by_tenant_id"), "usable_lines", ["tenant_id"])


def downgrade() -> None:
    op.drop_table("usable_lines")
