"""Whether a trunk may lead a call elsewhere.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("trunks") as batch:
        batch.add_column(sa.Column("redirects_max", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("trunks") as batch:
        batch.drop_column("redirects_max")
