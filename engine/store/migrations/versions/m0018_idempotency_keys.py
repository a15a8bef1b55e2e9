"""Idempotency keys of requests, and what was answered.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("claim_id", sa.String(length=32), nullable=False),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.Column("has_written", sa.Boolean(), nullable=False),
        sa.Column("status", _INTEGER, nullable=True),
        sa.Column("content_type", sa.String(length=100), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("claimed_until_ms", _INTEGER, nullable=False),
        sa.Column("expires_at_ms", _INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("idempotency_keys_key")),
    )
    op.create_index(op.f("idempotency_keys_by_expires_at_ms"), "idempotency_keys", ["expires_at_ms"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
