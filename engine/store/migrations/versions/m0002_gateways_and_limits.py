"""Gateways, number rules and registrations of trunks; limits on trunks, lines, tenants and X numbers.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op


revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _limits() -> list[sa.Column]:
    return [
        sa.Column("calls_max", _INTEGER, nullable=False, server_default="0"),
        sa.Column("calls_per_second_max", _INTEGER, nullable=False, server_default="0"),
    ]


def upgrade() -> None:
    with op.batch_alter_table("trunks") as batch:
        batch.add_column(sa.Column("calls_per_second_max", _INTEGER, nullable=False, server_default="0"))
        batch.add_column(sa.Column("gateways", sa.JSON(), nullable=False, server_default="[]"))
        batch.add_column(sa.Column("caller_display", sa.String(length=8), nullable=False, server_default="from"))
        batch.add_column(sa.Column("dial_strip_digits", _INTEGER, nullable=False, server_default="0"))
        batch.add_column(sa.Column("dial_prefix", sa.String(length=16), nullable=False, server_default=sa.text("''")))
        batch.add_column(sa.Column("registration", sa.JSON(none_as_null=True), nullable=True))
    for table in ("lines", "tenants", "x_numbers"):
        with op.batch_alter_table(table) as batch:
            for column in _limits():
                batch.add_column(column)


def downgrade() -> None:
    for table in ("lines", "tenants", "x_numbers"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("calls_per_second_max")
            batch.drop_column("calls_max")
    with op.batch_alter_table("trunks") as batch:
        for name in (
            "registration",
            "dial_prefix",
            "dial_strip_digits",
            "caller_display",
            "gateways",
            "calls_per_second_max",
        ):
            batch.drop_column(name)
