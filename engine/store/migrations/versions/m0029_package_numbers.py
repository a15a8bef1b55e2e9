"""Packages with numbers: how many a package has of which line, which numbers and lines each bought one holds.

Revision ID: 0029
Revises: 0028
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("package_versions", sa.Column("numbers", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("x_numbers", sa.Column("bucket_id", _INTEGER, nullable=True))
    op.create_index(op.f("x_numbers_by_bucket_id"), "x_numbers", ["bucket_id"])
    op.add_column(
        "line_permissions", sa.Column("by_package", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.create_table(
        "package_lines",
        sa.Column("bucket_id", _INTEGER, nullable=False),
        sa.Column("line_id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(
            ["bucket_id"], ["minutes_buckets.id"], name=op.f("package_lines_bucket_id_refers_to_minutes_buckets")
        ),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name=op.f("package_lines_line_id_refers_to_lines")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("package_lines_tenant_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("bucket_id", "line_id", name=op.f("package_lines_key")),
    )
    op.create_index("package_lines_by_tenant", "package_lines", ["tenant_id", "line_id"])


def downgrade() -> None:
    op.drop_table("package_lines")
    op.drop_column("line_permissions", "by_package")
    op.drop_index(op.f("x_numbers_by_bucket_id"), table_name="x_numbers")
    op.drop_column("x_numbers", "bucket_id")
    op.drop_column("package_versions", "numbers")
