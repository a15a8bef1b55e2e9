"""Rate plans with entries and versions, buy rates of trunks, package minutes.

Revision ID: 0006
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op


revision = "0006"
down_revision = "0007"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_RATES = (
    ("connect_fee_micro", _INTEGER, "0"),
    ("rounding", sa.String(length=8), "half_up"),
    ("rounded_to_micro", _INTEGER, "1"),
    ("zone", sa.String(length=64), "Asia/Shanghai"),
    ("entries", sa.JSON(), "[]"),
    ("others_refused", sa.Boolean(), sa.false()),
    ("loss_allowed", sa.Boolean(), sa.false()),
    ("version", _INTEGER, "1"),
)
_CDRS = ("cost_micro", "rate_id", "rate_version")
_FIRST_VERSION = (
    "id", "per_minute_micro", "first_increment_seconds", "next_increment_seconds", "minimum_seconds",
)


def upgrade() -> None:
    with op.batch_alter_table("rates") as batch:
        for name, kind, default in _RATES:
            batch.add_column(sa.Column(name, kind, nullable=False, server_default=default))
    versions = op.create_table(
        "rate_versions",
        sa.Column("rate_id", _INTEGER, nullable=False),
        sa.Column("version", _INTEGER, nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["rate_id"], ["rates.id"], name=op.f("rate_versions_rate_id_refers_to_rates")),
        sa.PrimaryKeyConstraint("rate_id", "version", name=op.f("rate_versions_key")),
    )
    columns = [sa.column(name) for name in _FIRST_VERSION]
    rows = op.get_bind().execute(sa.select(*columns).select_from(sa.table("rates"))).mappings().all()
    if rows:
        op.bulk_insert(
            versions,
            [{"rate_id": row["id"], "version": 1, "content": dict(row), "created_at_ms": 0} for row in rows],
        )
    with op.batch_alter_table("trunks") as batch:
        batch.add_column(sa.Column("buy_rate_id", _INTEGER, nullable=True))
        batch.create_foreign_key("trunks_buy_rate_id_refers_to_rates", "rates", ["buy_rate_id"], ["id"])
    with op.batch_alter_table("cdrs") as batch:
        batch.add_column(sa.Column("package_seconds", _INTEGER, nullable=False, server_default="0"))
        for name in _CDRS:
            batch.add_column(sa.Column(name, _INTEGER, nullable=True))
    op.create_table(
        "minutes_buckets",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("agent_id", _INTEGER, nullable=True),
        sa.Column("line_ids", sa.JSON(), nullable=False),
        sa.Column("cause_id", sa.String(length=64), nullable=False),
        sa.Column("seconds_bought", _INTEGER, nullable=False),
        sa.Column("seconds_left", _INTEGER, nullable=False),
        sa.Column("starts_at_ms", _INTEGER, nullable=False),
        sa.Column("expires_at_ms", _INTEGER, nullable=False),
        sa.CheckConstraint("seconds_left >= 0", name="seconds_left_not_negative"),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("minutes_buckets_agent_id_refers_to_agents")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("minutes_buckets_tenant_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("minutes_buckets_key")),
        sa.UniqueConstraint("cause_id", name=op.f("minutes_buckets_unique_cause_id")),
    )
    op.create_index(op.f("minutes_buckets_by_tenant_id"), "minutes_buckets", ["tenant_id"])
    op.create_table(
        "minutes_leases",
        sa.Column("engine_id", sa.String(length=64), nullable=False),
        sa.Column("bucket_id", _INTEGER, nullable=False),
        sa.Column("seconds", _INTEGER, nullable=False),
        sa.CheckConstraint("seconds >= 0", name="minutes_lease_not_negative"),
        sa.ForeignKeyConstraint(
            ["bucket_id"], ["minutes_buckets.id"], name=op.f("minutes_leases_bucket_id_refers_to_minutes_buckets")
        ),
        sa.PrimaryKeyConstraint("engine_id", "bucket_id", name=op.f("minutes_leases_key")),
    )
    op.create_table(
        "minutes_uses",
        sa.Column("cdr_id", sa.String(length=32), nullable=False),
        sa.Column("bucket_id", _INTEGER, nullable=False),
        sa.Column("seconds", _INTEGER, nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(
            ["bucket_id"], ["minutes_buckets.id"], name=op.f("minutes_uses_bucket_id_refers_to_minutes_buckets")
        ),
        sa.PrimaryKeyConstraint("cdr_id", "bucket_id", name=op.f("minutes_uses_key")),
    )


def downgrade() -> None:
    op.drop_table("minutes_uses")
    op.drop_table("minutes_leases")
    op.drop_index(op.f("minutes_buckets_by_tenant_id"), "minutes_buckets")
    op.drop_table("minutes_buckets")
    with op.batch_alter_table("cdrs") as batch:
        for name in (*_CDRS, "package_seconds"):
            batch.drop_column(name)
    with op.batch_alter_table("trunks") as batch:
        batch.drop_constraint("trunks_buy_rate_id_refers_to_rates", type_="foreignkey")
        batch.drop_column("buy_rate_id")
    op.drop_table("rate_versions")
    with op.batch_alter_table("rates") as batch:
        for name, _, _ in reversed(_RATES):
            batch.drop_column(name)
