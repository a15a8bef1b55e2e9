"""Which notices have been published over MQTT.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("money_events") as table:
        table.add_column(sa.Column("published_at_ms", _INTEGER, nullable=True))
    unpublished = sa.text("published_at_ms IS NULL")
    op.create_index(
        "money_events_unpublished", "money_events", ["at_ms"], sqlite_where=unpublished, postgresql_where=unpublished
    )


def downgrade() -> None:
    op.drop_index("money_events_unpublished", "money_events")
    with op.batch_alter_table("money_events") as table:
        table.drop_column("published_at_ms")
