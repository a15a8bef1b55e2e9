"""Failed logins and keys' budgets, which several API processes count together.

Revision ID: 0027
Revises: 0026
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "login_failures",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("failures", _INTEGER, nullable=False),
        sa.Column("last_ms", _INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("login_failures_key")),
    )
    op.create_index(op.f("login_failures_by_last_ms"), "login_failures", ["last_ms"])
    op.create_table(
        "api_key_budgets",
        sa.Column("api_key_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("left_milli", _INTEGER, nullable=False),
        sa.Column("at_ms", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(
            ["api_key_id"], ["api_keys.id"], name=op.f("api_key_budgets_api_key_id_refers_to_api_keys")
        ),
        sa.PrimaryKeyConstraint("api_key_id", name=op.f("api_key_budgets_key")),
    )


def downgrade() -> None:
    op.drop_table("api_key_budgets")
    op.drop_table("login_failures")
