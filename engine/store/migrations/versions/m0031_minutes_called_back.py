"""Minutes leases with an end, and buckets of which an engine is short.

Revision ID: 0031
Revises: 0030
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("minutes_leases", sa.Column("expires_at_ms", _INTEGER, server_default="0", nullable=False))
    op.add_column("minutes_buckets", sa.Column("wanted_seconds", _INTEGER, server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("minutes_buckets", "wanted_seconds")
    op.drop_column("minutes_leases", "expires_at_ms")
