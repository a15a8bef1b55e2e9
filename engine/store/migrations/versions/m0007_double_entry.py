"""A double-entry ledger that only grows; claims on credit, leases that expire.

Revision ID: 0007
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op


revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LEDGER = ("ledger_transactions", "ledger_entries")

# A platform's account for the other side of what was one-sided: engine.store.money.ledger_store.PlatformAccount.
_OTHER_SIDE = "CASE kind WHEN 'call_charge' THEN -1 WHEN 'recharge' THEN -2 ELSE -3 END"


def upgrade() -> None:
    for table, name in (
        ("accounts", "claimed_micro"),
        ("accounts", "wanted_micro"),
        ("credit_leases", "expires_at_ms"),
    ):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column(name, _INTEGER, nullable=False, server_default="0"))
    op.create_table(
        "credit_claims",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("cause_id", sa.String(length=64), nullable=False),
        sa.Column("amount_micro", _INTEGER, nullable=False),
        sa.Column("payee_id", _INTEGER, nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("credit_claims_tenant_id_refers_to_tenants")),
        sa.ForeignKeyConstraint(["payee_id"], ["tenants.id"], name=op.f("credit_claims_payee_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("credit_claims_key")),
        sa.UniqueConstraint("tenant_id", "kind", "cause_id", name="one_claim_per_cause"),
        sqlite_autoincrement=True,
    )
    op.execute("CREATE TABLE ledger_before AS SELECT * FROM ledger_entries")
    op.drop_table("ledger_entries")
    op.create_table(
        "ledger_transactions",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("cause_id", sa.String(length=64), nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("ledger_transactions_tenant_id_refers_to_tenants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ledger_transactions_key")),
        sa.UniqueConstraint("tenant_id", "kind", "cause_id", name="one_transaction_per_cause"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "ledger_entries",
        sa.Column("transaction_id", _INTEGER, nullable=False),
        sa.Column("account_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("amount_micro", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["ledger_transactions.id"],
            name=op.f("ledger_entries_transaction_id_refers_to_ledger_transactions"),
        ),
        sa.PrimaryKeyConstraint("transaction_id", "account_id", name=op.f("ledger_entries_key")),
        sqlite_with_rowid=False,
    )
    op.create_index("ledger_entries_by_account", "ledger_entries", ["account_id", "transaction_id"])
    op.execute(
        "INSERT INTO ledger_transactions (id, tenant_id, kind, cause_id, created_at_ms, note)"
        " SELECT id, tenant_id, kind, cause_id, created_at_ms, note FROM ledger_before"
    )
    op.execute("INSERT INTO ledger_entries SELECT id, tenant_id, amount_micro FROM ledger_before")
    op.execute(f"INSERT INTO ledger_entries SELECT id, {_OTHER_SIDE}, -amount_micro FROM ledger_before")
    op.execute("DROP TABLE ledger_before")
    if op.get_bind().dialect.name == "sqlite":
        for table in _LEDGER:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_refuse_{verb.lower()} BEFORE {verb} ON {table}"
                    f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        return
    op.execute(
        "SELECT setval(pg_get_serial_sequence('ledger_transactions', 'id'),"
        " (SELECT coalesce(max(id), 0) + 1 FROM ledger_transactions), false)"
    )
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'check_violation'; END $$"
    )
    for table in _LEDGER:
        op.execute(
            f"CREATE TRIGGER {table}_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    op.execute(
        "CREATE TABLE ledger_before AS"
        " SELECT account_id AS tenant_id, kind, cause_id, amount_micro, created_at_ms, note"
        " FROM ledger_transactions JOIN ledger_entries ON transaction_id = id WHERE account_id > 0 ORDER BY id"
    )
    op.drop_table("ledger_entries")
    op.drop_table("ledger_transactions")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION refuse_change()")
    op.create_table(
        "ledger_entries",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("tenant_id", _INTEGER, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("cause_id", sa.String(length=64), nullable=False),
        sa.Column("amount_micro", _INTEGER, nullable=False),
        sa.Column("created_at_ms", _INTEGER, nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("ledger_entries_tenant_id_refers_to_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("ledger_entries_key")),
        sa.UniqueConstraint("tenant_id", "kind", "cause_id", name="one_entry_per_cause"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ledger_entries_by_tenant_id"), "ledger_entries", ["tenant_id"])
    op.execute(
        "INSERT INTO ledger_entries (tenant_id, kind, cause_id, amount_micro, created_at_ms, note)"
        " SELECT tenant_id, kind, cause_id, amount_micro, created_at_ms, note FROM ledger_before"
    )
    op.execute("DROP TABLE ledger_before")
    op.drop_table("credit_claims")
    for table, name in (
        ("credit_leases", "expires_at_ms"),
        ("accounts", "wanted_micro"),
        ("accounts", "claimed_micro"),
    ):
        with op.batch_alter_table(table) as batch:
            batch.drop_column(name)
