"""Old entries may leave the audit log, once it is on record that they do.

Revision ID: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ON_RECORD = "(SELECT coalesce(max(until_ms), 0) FROM audit_prunings)"


def upgrade() -> None:
    op.create_table(
        "audit_prunings",
        sa.Column("until_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("at_ms", _INTEGER, nullable=False),
        sa.Column("entries", _INTEGER, nullable=False),
        sa.Column("days", _INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("until_ms", name=op.f("audit_prunings_key")),
    )
    op.create_index(op.f("audit_entries_by_at_ms"), "audit_entries", ["at_ms"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_entries_refuse_delete")
        op.execute(
            "CREATE TRIGGER audit_entries_refuse_delete BEFORE DELETE ON audit_entries"
            f" WHEN OLD.at_ms >= {_ON_RECORD}"
            " BEGIN SELECT RAISE(ABORT, 'audit_entries is append-only'); END"
        )
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_prunings_refuse_{verb.lower()} BEFORE {verb} ON audit_prunings"
                " BEGIN SELECT RAISE(ABORT, 'audit_prunings is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_unless_pruned() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN IF OLD.at_ms >= {_ON_RECORD} THEN"
        " RAISE EXCEPTION 'audit_entries is append-only' USING ERRCODE = 'check_violation'; END IF; RETURN OLD; END $$"
    )
    op.execute("DROP TRIGGER audit_entries_refuse_change ON audit_entries")
    op.execute(
        "CREATE TRIGGER audit_entries_refuse_change BEFORE UPDATE OR TRUNCATE ON audit_entries"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER audit_entries_refuse_delete BEFORE DELETE ON audit_entries"
        " FOR EACH ROW EXECUTE FUNCTION refuse_unless_pruned()"
    )
    op.execute(
        "CREATE TRIGGER audit_prunings_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_prunings"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    op.drop_index(op.f("audit_entries_by_at_ms"), "audit_entries")
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_entries_refuse_delete")
        op.execute(
            "CREATE TRIGGER audit_entries_refuse_delete BEFORE DELETE ON audit_entries"
            " BEGIN SELECT RAISE(ABORT, 'audit_entries is append-only'); END"
        )
    else:
        op.execute("DROP TRIGGER audit_entries_refuse_delete ON audit_entries")
        op.execute("DROP TRIGGER audit_entries_refuse_change ON audit_entries")
        op.execute(
            "CREATE TRIGGER audit_entries_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute("DROP FUNCTION refuse_unless_pruned()")
    op.drop_table("audit_prunings")
