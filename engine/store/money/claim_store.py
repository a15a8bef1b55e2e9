"""Claims on credit: refunds, transfers and lowered overdraft limits, which take effect on running calls.

What is claimed is leased no more. Where engines have leased it already, they hear of it by the change feed: they give
back what is free at once and the rest as their calls' slices end, since what a call holds is promised. Once enough is
back the claim is carried out, in the transaction that brings it back. So no money leaves that a call may yet cost, and
a balance is never below −overdraft limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.change_feed import lock_feed, record_change
from engine.store.money.lease_store import lock_accounts
from engine.store.money.ledger_store import AMOUNT_MICRO_MAX, KeyReused, Kind, PlatformAccount, UnknownTenant, post
from engine.store.tables import Account, CreditClaim

CLAIMS_PENDING_MAX = 100
"""Of one tenant; who has more waiting must wait himself."""


class ClaimKind(StrEnum):
    REFUND = "refund"
    TRANSFER = "transfer"
    OVERDRAFT_LIMIT = "overdraft_limit"


class ClaimState(StrEnum):
    PENDING = "pending"  # calls hold some of it
    DONE = "done"
    DROPPED = (
        "dropped"  # calls have cost so much meanwhile that the balance does not suffice, or another took its place
    )


class BalanceTooLow(Exception):
    """Money cannot leave that is not there; nobody is paid out of an overdraft."""


class TooManyClaims(Exception):
    """CLAIMS_PENDING_MAX are pending."""


async def refund(
    connection: AsyncConnection, tenant_id: int, amount_micro: int, key: str, now_ms: int, note: str = ""
) -> ClaimState:
    """Pays money back to a tenant, once for each ``key``.

    Raises ValueError for an amount out of bounds, UnknownTenant, BalanceTooLow, and KeyReused where the key was used
    for something else. Asked again with the same key, it says how the claim stands.
    """
    return await _claim(connection, ClaimKind.REFUND, tenant_id, None, amount_micro, key, now_ms, note)


async def transfer(
    connection: AsyncConnection,
    payer_id: int,
    payee_id: int,
    amount_micro: int,
    key: str,
    now_ms: int,
    note: str = "",
) -> ClaimState:
    """Moves money from one tenant to another, both sides in one transaction, once for each key of the payer.

    Raises as ``refund`` does.
    """
    if payer_id == payee_id:
        raise ValueError("a transfer has two sides")
    return await _claim(connection, ClaimKind.TRANSFER, payer_id, payee_id, amount_micro, key, now_ms, note)


async def lower_overdraft_limit(
    connection: AsyncConnection, tenant_id: int, limit_micro: int, now_ms: int
) -> ClaimState:
    """Brings the limit down to ``limit_micro``, in place of an earlier lowering that is still pending."""
    await lock_feed(connection)
    await lock_accounts(connection, [tenant_id])
    await drop_pending(connection, tenant_id, ClaimKind.OVERDRAFT_LIMIT)
    now = await connection.scalar(select(Account.overdraft_limit_micro).where(Account.tenant_id == tenant_id))
    if now is None:
        raise UnknownTenant(str(tenant_id))
    key = f"to {limit_micro} at {now_ms}"
    kind = ClaimKind.OVERDRAFT_LIMIT
    return await _claim(connection, kind, tenant_id, None, now - limit_micro, key, now_ms, "")


async def pending_limit(connection: AsyncConnection, tenant_id: int) -> int | None:
    """The overdraft limit that is to be, None where it is as it is to be."""
    return await connection.scalar(
        select(Account.overdraft_limit_micro - CreditClaim.amount_micro)
        .join(CreditClaim, CreditClaim.tenant_id == Account.tenant_id)
        .where(
            Account.tenant_id == tenant_id,
            CreditClaim.kind == ClaimKind.OVERDRAFT_LIMIT,
            CreditClaim.state == ClaimState.PENDING,
        )
    )


async def drop_pending(connection: AsyncConnection, tenant_id: int, kind: ClaimKind) -> None:
    """Gives up a tenant's pending claims of a kind; the caller has the feed's and the account's locks."""
    for claim in await _pending(connection, tenant_id):
        if claim.kind == kind:
            await _end(connection, claim, ClaimState.DROPPED)


async def _claim(
    connection: AsyncConnection,
    kind: ClaimKind,
    tenant_id: int,
    payee_id: int | None,
    amount_micro: int,
    key: str,
    now_ms: int,
    note: str,
) -> ClaimState:
    if not 0 < amount_micro <= AMOUNT_MICRO_MAX:
        raise ValueError("a claim is above 0 and within bounds")
    await lock_feed(connection)
    parties = {tenant_id, payee_id} - {None}
    if parties - await lock_accounts(connection, [party for party in parties if party is not None]):
        raise UnknownTenant(str(tenant_id))
    insert: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert
    values = {"tenant_id": tenant_id, "kind": kind, "cause_id": key, "amount_micro": amount_micro}
    values |= {"payee_id": payee_id, "state": ClaimState.PENDING, "created_at_ms": now_ms, "note": note}
    made = await connection.scalar(
        insert(CreditClaim).values(values).on_conflict_do_nothing().returning(CreditClaim.id)
    )
    if made is None:
        return await _earlier(connection, kind, tenant_id, key, (amount_micro, payee_id))
    pending = await _pending(connection, tenant_id)
    if len(pending) > CLAIMS_PENDING_MAX:
        raise TooManyClaims
    leaving_micro = sum(claim.amount_micro for claim in pending if claim.kind != ClaimKind.OVERDRAFT_LIMIT)
    balance_micro = await connection.scalar(select(Account.balance_micro).where(Account.tenant_id == tenant_id))
    if kind is not ClaimKind.OVERDRAFT_LIMIT and (balance_micro or 0) < leaving_micro:
        raise BalanceTooLow
    await connection.execute(
        update(Account).where(Account.tenant_id == tenant_id).values(claimed_micro=Account.claimed_micro + amount_micro)
    )
    await advance(connection, tenant_id, now_ms)
    state = await connection.scalar(select(CreditClaim.state).where(CreditClaim.id == made))
    return ClaimState(str(state))


async def _earlier(
    connection: AsyncConnection, kind: ClaimKind, tenant_id: int, key: str, wanted: tuple[int, int | None]
) -> ClaimState:
    earlier = (
        await connection.execute(
            select(CreditClaim.state, CreditClaim.amount_micro, CreditClaim.payee_id).where(
                CreditClaim.tenant_id == tenant_id, CreditClaim.kind == kind, CreditClaim.cause_id == key
            )
        )
    ).one()
    if (earlier.amount_micro, earlier.payee_id) != wanted:
        raise KeyReused(key)
    return ClaimState(earlier.state)


async def advance_all(connection: AsyncConnection, now_ms: int) -> None:
    """Carries out what may be carried out by now, after a recharge for instance."""
    pending = select(CreditClaim.tenant_id).where(CreditClaim.state == ClaimState.PENDING).distinct()
    tenants = sorted((await connection.scalars(pending)).all())
    for tenant_id in tenants:
        await advance(connection, tenant_id, now_ms)


async def advance(connection: AsyncConnection, tenant_id: int, now_ms: int) -> None:
    """Carries a tenant's claims out in their order, as far as engines have given credit back. Engines are told."""
    pending = await _pending(connection, tenant_id)
    if not pending:
        return
    await lock_feed(connection)
    await lock_accounts(connection, [tenant_id, *(claim.payee_id for claim in pending if claim.payee_id)])
    for claim in await _pending(connection, tenant_id):
        account = (
            await connection.execute(
                select(
                    Account.balance_micro,
                    (Account.balance_micro + Account.overdraft_limit_micro - Account.leased_micro).label("unleased"),
                ).where(Account.tenant_id == tenant_id)
            )
        ).one()
        if claim.kind != ClaimKind.OVERDRAFT_LIMIT and account.balance_micro < claim.amount_micro:
            await _end(connection, claim, ClaimState.DROPPED)
        elif account.unleased < claim.amount_micro:
            break
        else:
            await _end(connection, claim, ClaimState.DONE)
            await _carry_out(connection, claim, now_ms)
    await record_change(connection, "accounts", tenant_id, now_ms)


async def _carry_out(connection: AsyncConnection, claim: Row[*tuple[Any, ...]], now_ms: int) -> None:
    if claim.kind == ClaimKind.OVERDRAFT_LIMIT:
        await connection.execute(
            update(Account)
            .where(Account.tenant_id == claim.tenant_id)
            .values(overdraft_limit_micro=Account.overdraft_limit_micro - claim.amount_micro)
        )
        return
    kind, payee = Kind.TRANSFER, claim.payee_id
    if claim.kind == ClaimKind.REFUND:
        kind, payee = Kind.REFUND, PlatformAccount.PAYMENTS
    amounts_micro = {claim.tenant_id: -claim.amount_micro, payee: claim.amount_micro}
    await post(connection, kind, claim.tenant_id, claim.cause_id, amounts_micro, now_ms, claim.note)


async def _end(connection: AsyncConnection, claim: Row[*tuple[Any, ...]], state: ClaimState) -> None:
    await connection.execute(update(CreditClaim).where(CreditClaim.id == claim.id).values(state=state))
    await connection.execute(
        update(Account)
        .where(Account.tenant_id == claim.tenant_id)
        .values(claimed_micro=Account.claimed_micro - claim.amount_micro)
    )


async def _pending(connection: AsyncConnection, tenant_id: int) -> Sequence[Row[*tuple[Any, ...]]]:
    statement = select(
        CreditClaim.id,
        CreditClaim.tenant_id,
        CreditClaim.kind,
        CreditClaim.cause_id,
        CreditClaim.amount_micro,
        CreditClaim.payee_id,
        CreditClaim.note,
    ).where(CreditClaim.tenant_id == tenant_id, CreditClaim.state == ClaimState.PENDING)
    return (await connection.execute(statement.order_by(CreditClaim.id))).all()
