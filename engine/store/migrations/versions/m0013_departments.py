"""Departments with their heads, and agents' phones unique within their tenant alone.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op


revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "departments",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("parent_id", _INTEGER, nullable=True),
        sa.Column("path", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("departments_tenant_id_refers_to_tenants")),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["departments.id"], name=op.f("departments_parent_id_refers_to_departments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("departments_key")),
    )
    for column in ("tenant_id", "parent_id", "path"):
        op.create_index(op.f(f"departments_by_{column}"), "departments", [column])
    with op.batch_alter_table("agents") as batch:
        batch.add_column(sa.Column("department_id", _INTEGER, nullable=True))
        batch.create_foreign_key(
            op.f("agents_department_id_refers_to_departments"), "departments", ["department_id"], ["id"]
        )
        batch.drop_constraint("agents_unique_phone", type_="unique")
        batch.create_unique_constraint("agent_phone_in_tenant", ["tenant_id", "phone"])
        batch.create_index(op.f("agents_by_department_id"), ["department_id"])
    op.create_table(
        "department_heads",
        sa.Column("department_id", _INTEGER, nullable=False),
        sa.Column("agent_id", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(
            ["department_id"], ["departments.id"], name=op.f("department_heads_department_id_refers_to_departments")
        ),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("department_heads_agent_id_refers_to_agents")),
        sa.PrimaryKeyConstraint("department_id", "agent_id", name=op.f("department_heads_key")),
    )
    op.create_index(op.f("department_heads_by_agent_id"), "department_heads", ["agent_id"])


def downgrade() -> None:
    op.drop_table("department_heads")
    with op.batch_alter_table("agents") as batch:
        batch.drop_index(op.f("agents_by_department_id"))
        batch.drop_constraint("agent_phone_in_tenant", type_="unique")
        # Fails where two tenants' agents have one phone: which of them is to lose it, nobody but the operator knows.
        batch.create_unique_constraint("agents_unique_phone", ["phone"])
        batch.drop_constraint(op.f("agents_department_id_refers_to_departments"), type_="foreignkey")
        batch.drop_column("department_id")
    op.drop_table("departments")
