"""What a plan charges of callback calls, and how long a callback call's first leg was up.

Revision ID: 0030
Revises: 0029
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("rates", sa.Column("callback_legs", sa.String(length=8), server_default="both", nullable=False))
    op.add_column("cdrs", sa.Column("first_leg_ms", _INTEGER, nullable=True))


def downgrade() -> None:
    op.drop_column("cdrs", "first_leg_ms")
    op.drop_column("rates", "callback_legs")
