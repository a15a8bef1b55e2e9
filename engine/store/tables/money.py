"""Accounts, what engines hold of them, and the double-entry ledger."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import Table


class Account(Table):
    """A tenant's money. Free to be leased: balance + overdraft limit − leased − claimed.

    ``balance_micro`` is the sum of the tenant's ledger entries, kept beside them so that one UPDATE decides.
    """

    __tablename__ = "accounts"
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    balance_micro: Mapped[int] = mapped_column(default=0)
    overdraft_limit_micro: Mapped[int] = mapped_column(default=0)
    leased_micro: Mapped[int] = mapped_column(default=0)
    claimed_micro: Mapped[int] = mapped_column(default=0, server_default="0")
    """On its way out (``CreditClaim``): nothing of it is leased any more."""
    wanted_micro: Mapped[int] = mapped_column(default=0, server_default="0")
    """An engine is short of it: the others give back what they can do without."""
    __table_args__ = (
        CheckConstraint("leased_micro >= 0", name="leased_not_negative"),
        CheckConstraint("overdraft_limit_micro >= 0", name="overdraft_limit_not_negative"),
    )


class CreditLease(Table):
    """What an engine may hold on a tenant's account without asking again."""

    __tablename__ = "credit_leases"
    engine_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    amount_micro: Mapped[int]
    expires_at_ms: Mapped[int] = mapped_column(default=0, server_default="0")
    """Put off by its engine while that lives; past it an operator may void the lease."""
    __table_args__ = (CheckConstraint("amount_micro >= 0", name="lease_not_negative"),)


class CreditClaim(Table):
    """A refund, a transfer or a lowered overdraft that waits until calls have given up what they hold."""

    __tablename__ = "credit_claims"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    kind: Mapped[str] = mapped_column(String(16))  # refund | transfer | overdraft_limit
    cause_id: Mapped[str] = mapped_column(String(64))
    amount_micro: Mapped[int]
    payee_id: Mapped[int | None] = mapped_column(ForeignKey("tenants.id"))  # of a transfer
    state: Mapped[str] = mapped_column(String(16))  # pending | done | dropped
    created_at_ms: Mapped[int]
    note: Mapped[str] = mapped_column(String(200), default="")
    __table_args__ = (
        UniqueConstraint("tenant_id", "kind", "cause_id", name="one_claim_per_cause"),
        {"sqlite_autoincrement": True},
    )


class LedgerTransaction(Table):
    """Why money moved: the CDR, the order, the recharge … Append-only, held by triggers, as its entries are."""

    __tablename__ = "ledger_transactions"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))  # whose cause it is; of a transfer the payer
    kind: Mapped[str] = mapped_column(String(16))  # recharge | call_charge | correction | refund | transfer
    cause_id: Mapped[str] = mapped_column(String(64))  # the CDR's id, the recharge's key …
    created_at_ms: Mapped[int]
    note: Mapped[str] = mapped_column(String(200), default="")
    __table_args__ = (
        # With the tenant: a recharge's key is whatever its maker chose, and two tenants' may be the same.
        UniqueConstraint("tenant_id", "kind", "cause_id", name="one_transaction_per_cause"),
        {"sqlite_autoincrement": True},
    )


class LedgerEntry(Table):
    """One side of a transaction; a transaction's entries add up to zero.

    ``account_id`` is a tenant's id, or one of the platform's own accounts (``ledger_store.PlatformAccount``), which are
    below zero. ``amount_micro`` is signed: what an account is given is positive.
    """

    __tablename__ = "ledger_entries"
    transaction_id: Mapped[int] = mapped_column(ForeignKey("ledger_transactions.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    amount_micro: Mapped[int]
    __table_args__ = (
        Index("ledger_entries_by_account", "account_id", "transaction_id"),
        {"sqlite_with_rowid": False},
    )
