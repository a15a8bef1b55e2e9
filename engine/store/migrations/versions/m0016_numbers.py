"""Carriers' settings and who may use them; numbers' pools, states and histories.

Who has numbers of a carrier's may use it from now on, as he could before.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("carriers") as batch:
        batch.add_column(sa.Column("kind", sa.String(length=24), nullable=False, server_default="sip_trunk"))
        batch.add_column(sa.Column("config", sa.JSON(), nullable=False, server_default="{}"))
        batch.add_column(sa.Column("sealed_secrets", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("lines") as batch:
        batch.add_column(sa.Column("is_custom", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch.add_column(sa.Column("replacement", sa.JSON(none_as_null=True), nullable=True))
    for table, subject in (("carrier_permissions", "carrier"), ("line_permissions", "line")):
        op.create_table(
            table,
            sa.Column("id", _INTEGER, nullable=False),
            sa.Column("tenant_id", _INTEGER, nullable=False),
            sa.Column(f"{subject}_id", _INTEGER, nullable=False),
            sa.Column("granted_at_ms", _INTEGER, nullable=False),
            sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"{table}_tenant_id_refers_to_tenants")),
            sa.ForeignKeyConstraint(
                [f"{subject}_id"], [f"{subject}s.id"], name=op.f(f"{table}_{subject}_id_refers_to_{subject}s")
            ),
            sa.PrimaryKeyConstraint("id", name=op.f(f"{table}_key")),
            sa.UniqueConstraint("tenant_id", f"{subject}_id", name=f"one_permission_per_{subject}"),
            sqlite_autoincrement=True,
        )
        op.create_index(op.f(f"{table}_by_{subject}_id"), table, [f"{subject}_id"])
    op.create_table(
        "number_pools",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("line_id", _INTEGER, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("pool_key", sa.String(length=64), nullable=False, server_default=sa.text("''")),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name=op.f("number_pools_line_id_refers_to_lines")),
        sa.PrimaryKeyConstraint("id", name=op.f("number_pools_key")),
        sa.UniqueConstraint("line_id", "code", name="pool_code_in_line"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("x_numbers") as batch:
        for column in ("pool_id", "department_id", "quarantined_until_ms"):
            batch.add_column(sa.Column(column, _INTEGER, nullable=True))
        for column in ("idle_since_ms", "in_use_since_ms"):
            batch.add_column(sa.Column(column, _INTEGER, nullable=False, server_default="0"))
        batch.create_foreign_key(op.f("x_numbers_pool_id_refers_to_number_pools"), "number_pools", ["pool_id"], ["id"])
        batch.create_foreign_key(
            op.f("x_numbers_department_id_refers_to_departments"), "departments", ["department_id"], ["id"]
        )
        batch.create_index(op.f("x_numbers_by_pool_id"), ["pool_id"])
        batch.create_index(op.f("x_numbers_by_department_id"), ["department_id"])
    # No word but these two was ever taken; a foreign one carried no call and goes on carrying none.
    op.execute("UPDATE x_numbers SET status = 'suspended' WHERE status NOT IN ('active', 'suspended')")
    with op.batch_alter_table("x_numbers") as batch:
        batch.create_check_constraint(
            op.f("resting_numbers_are_nobodys"), "status IN ('active', 'suspended') OR tenant_id IS NULL"
        )
    op.create_table(
        "number_moves",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("x_number_id", _INTEGER, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at_ms", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=True),
        sa.Column("from_department_id", _INTEGER, nullable=True),
        sa.Column("from_agent_id", _INTEGER, nullable=True),
        sa.Column("to_department_id", _INTEGER, nullable=True),
        sa.Column("to_agent_id", _INTEGER, nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=False, server_default=sa.text("''")),
        sa.Column("by_user_id", _INTEGER, nullable=True),
        sa.Column("by_platform", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["x_number_id"], ["x_numbers.id"], name=op.f("number_moves_x_number_id_refers_to_x_numbers")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("number_moves_tenant_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("number_moves_key")),
        sqlite_autoincrement=True,
    )
    op.create_index("number_moves_by_x_number", "number_moves", ["x_number_id", "id"])
    op.create_index("number_moves_by_time", "number_moves", ["at_ms"])
    op.execute(
        "INSERT INTO carrier_permissions (tenant_id, carrier_id, granted_at_ms)"
        " SELECT DISTINCT x_numbers.tenant_id, lines.carrier_id, 0 FROM x_numbers"
        " JOIN lines ON lines.id = x_numbers.line_id WHERE x_numbers.tenant_id IS NOT NULL"
    )


def downgrade() -> None:
    for table in ("number_moves", "line_permissions", "carrier_permissions"):
        op.drop_table(table)
    # Where numbers had no rest, one that rests was one that carries no call.
    op.execute("UPDATE x_numbers SET status = 'suspended' WHERE status NOT IN ('active', 'suspended')")
    with op.batch_alter_table("x_numbers") as batch:
        batch.drop_constraint(op.f("resting_numbers_are_nobodys"), type_="check")
        batch.drop_constraint(op.f("x_numbers_pool_id_refers_to_number_pools"), type_="foreignkey")
        batch.drop_constraint(op.f("x_numbers_department_id_refers_to_departments"), type_="foreignkey")
        batch.drop_index(op.f("x_numbers_by_pool_id"))
        batch.drop_index(op.f("x_numbers_by_department_id"))
        for column in ("pool_id", "department_id", "quarantined_until_ms", "idle_since_ms", "in_use_since_ms"):
            batch.drop_column(column)
    op.drop_table("number_pools")
    with op.batch_alter_table("lines") as batch:
        batch.drop_column("is_custom")
        batch.drop_column("replacement")
    with op.batch_alter_table("carriers") as batch:
        for column in ("kind", "config", "sealed_secrets"):
            batch.drop_column(column)
