"""Roles of permissions, sessions, second factors, API keys, the audit log.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op


revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BUILT_IN = ("platform_admin", "tenant_admin", "department_head", "agent")


def upgrade() -> None:
    roles = op.create_table(
        "roles",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=True),
        sa.Column("audience", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("built_in", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("roles_tenant_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("roles_key")),
        sa.UniqueConstraint("tenant_id", "audience", "name", name="role_name_in_tenant"),
    )
    op.bulk_insert(
        roles,
        [{"audience": audience, "name": audience, "permissions": ["*"], "built_in": True} for audience in _BUILT_IN],
    )
    with op.batch_alter_table("users") as batch:
        batch.add_column(sa.Column("role_id", _INTEGER, nullable=True))
        batch.create_foreign_key(op.f("users_role_id_refers_to_roles"), "roles", ["role_id"], ["id"])
    op.execute("UPDATE users SET role_id = (SELECT id FROM roles WHERE audience = users.role AND built_in)")
    op.create_table(
        "user_sessions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("user_id", _INTEGER, nullable=False),
        sa.Column("credential", sa.String(length=16), nullable=False),
        sa.Column("rotation", _INTEGER, nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.Column("used_at_ms", _INTEGER, nullable=False),
        sa.Column("expires_at_ms", _INTEGER, nullable=False),
        sa.Column("ended_at_ms", _INTEGER, nullable=True),
        sa.Column("end_reason", sa.String(length=16), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("acting_for_tenant_id", _INTEGER, nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("user_sessions_user_id_refers_to_users")),
        sa.ForeignKeyConstraint(
            ["acting_for_tenant_id"],
            ["tenants.id"],
            name=op.f("user_sessions_acting_for_tenant_id_refers_to_tenants"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("user_sessions_key")),
    )
    op.create_index(op.f("user_sessions_by_user_id"), "user_sessions", ["user_id"])
    op.create_index(op.f("user_sessions_by_expires_at_ms"), "user_sessions", ["expires_at_ms"])
    op.create_table(
        "second_factors",
        sa.Column("user_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("sealed_secret", sa.String(length=200), nullable=False),
        sa.Column("confirmed_at_ms", _INTEGER, nullable=True),
        sa.Column("last_step", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("second_factors_user_id_refers_to_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("second_factors_key")),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("recovery_codes_user_id_refers_to_users")),
        sa.PrimaryKeyConstraint("user_id", "code_hash", name=op.f("recovery_codes_key")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("requests_per_minute_max", _INTEGER, nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.Column("expires_at_ms", _INTEGER, nullable=True),
        sa.Column("last_used_at_ms", _INTEGER, nullable=True),
        sa.Column("revoked_at_ms", _INTEGER, nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("api_keys_tenant_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_key")),
        sa.UniqueConstraint("prefix", name=op.f("api_keys_unique_prefix")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("api_keys_by_tenant_id"), "api_keys", ["tenant_id"])
    op.create_table(
        "audit_entries",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("at_ms", _INTEGER, nullable=False),
        sa.Column("actor_kind", sa.String(length=8), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("user_id", _INTEGER, nullable=True),
        sa.Column("api_key_id", _INTEGER, nullable=True),
        sa.Column("session_id", sa.String(length=32), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=True),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("entity", sa.String(length=64), nullable=False),
        sa.Column("entity_id", sa.String(length=200), nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_entries_key")),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_entries_by_tenant", "audit_entries", ["tenant_id", "id"])
    op.create_index("audit_entries_by_entity", "audit_entries", ["entity", "entity_id", "id"])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_entries_refuse_{verb.lower()} BEFORE {verb} ON audit_entries"
                " BEGIN SELECT RAISE(ABORT, 'audit_entries is append-only'); END"
            )
        return
    op.execute(
        "CREATE TRIGGER audit_entries_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    for table in ("audit_entries", "api_keys", "recovery_codes", "second_factors", "user_sessions"):
        op.drop_table(table)
    with op.batch_alter_table("users") as batch:
        batch.drop_constraint(op.f("users_role_id_refers_to_roles"), type_="foreignkey")
        batch.drop_column("role_id")
    op.drop_table("roles")
