"""Bindings of a tenant in the order in which they are listed.

Revision ID: 0025
Revises: 0024
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("bindings_by_tenant_and_time", "bindings", ["tenant_id", "created_at_ms", "id"])
    op.drop_index("bindings_by_tenant_id", "bindings")


def downgrade() -> None:
    op.create_index("bindings_by_tenant_id", "bindings", ["tenant_id"])
    op.drop_index("bindings_by_tenant_and_time", "bindings")
