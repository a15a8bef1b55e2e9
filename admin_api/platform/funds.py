"""A tenant's money in the platform's hands: paid out, moved, put right; and what it went on."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get, post, put
from litestar.params import JSONBody
from msgspec import Meta

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import AmountMicro, Key, Note, PositiveAmountMicro, RowId
from admin_api.common.paging import GivenPage, Id, Page, Sorts, page
from admin_api.common.views import AccountView, view_of
from admin_api.resources.spending import Since, SpendingView, StepBy, StepSize, Until, spending
from engine.domain.people.permission import Permission
from engine.domain.refusal import Refusal
from engine.services.money.funds import change_overdraft, correct_balance, pay_out, read_overdraft_changes
from engine.services.money.spending import SpentBy, Step
from engine.store.listing import read_one
from engine.store.money.ledger_store import AMOUNT_MICRO_MAX
from engine.store.tables import Account, Tenant
from engine.store.tables.orders import OverdraftChange

_READ, _WRITE = {"permission": Permission.FUNDS_READ}, {"permission": Permission.FUNDS_WRITE}

Reason = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]+\Z", min_length=1, max_length=200)]
SignedAmountMicro = Annotated[int, Meta(ge=-AMOUNT_MICRO_MAX, le=AMOUNT_MICRO_MAX)]
FundsKey = Annotated[str, Meta(pattern=r"^[\x21-\x7e]+\Z", max_length=50)]


class NewRefund(msgspec.Struct, forbid_unknown_fields=True):
    amount_micro: PositiveAmountMicro
    key: Key
    note: Note = ""


class NewTransfer(msgspec.Struct, forbid_unknown_fields=True):
    payee_id: RowId
    amount_micro: PositiveAmountMicro
    key: Key
    note: Note = ""


class NewCorrection(msgspec.Struct, forbid_unknown_fields=True):
    """Above 0: the tenant is given; below: he is charged. It says why."""

    amount_micro: SignedAmountMicro
    key: FundsKey
    note: Reason


class NewOverdraftLimit(msgspec.Struct, forbid_unknown_fields=True):
    limit_micro: AmountMicro
    reason: Reason


class PaidOut(msgspec.Struct):
    """``pending``: running calls hold some of it, and it is done as they give it up; ``dropped``: they spent it."""

    state: str
    balance_micro: int


class Corrected(msgspec.Struct):
    applied: bool
    balance_micro: int


class OverdraftChangeView(msgspec.Struct):
    from_micro: int
    to_micro: int
    reason: str
    by: str
    at_ms: int


_CHANGE_SORTS = Sorts("-id", "id", id=OverdraftChange.id)


class FundsController(Controller):
    path = "/tenants/{tenant_id:int}"
    tags = ("funds",)

    @post("/refunds", status_code=200, opt=_WRITE, summary="Pay money back to a tenant, once for each key")
    async def create_refund(
        self, context: GivenContext, audience: GivenScope, tenant_id: Id, data: JSONBody[NewRefund]
    ) -> PaidOut:
        async with context.writing() as session:
            now_ms = context.now_ms()
            state = await pay_out(session, tenant_id, None, data.amount_micro, data.key, data.note, now_ms)
            account = found(await read_one(session, audience, Account, tenant_id), "tenant")
            return PaidOut(state, account.balance_micro)

    @post("/transfers", status_code=200, opt=_WRITE, summary="Move money to another tenant, once for each key")
    async def create_transfer(
        self, context: GivenContext, audience: GivenScope, tenant_id: Id, data: JSONBody[NewTransfer]
    ) -> PaidOut:
        async with context.writing() as session:
            now_ms = context.now_ms()
            state = await pay_out(session, tenant_id, data.payee_id, data.amount_micro, data.key, data.note, now_ms)
            account = found(await read_one(session, audience, Account, tenant_id), "tenant")
            return PaidOut(state, account.balance_micro)

    @post("/corrections", status_code=200, opt=_WRITE, summary="Put a balance right, once for each key")
    async def create_correction(
        self, context: GivenContext, audience: GivenScope, tenant_id: Id, data: JSONBody[NewCorrection]
    ) -> Corrected:
        if not data.amount_micro:
            raise Refusal("zero", "amount_micro", "corrects nothing")
        async with context.writing() as session:
            applied = await correct_balance(
                session, tenant_id, data.amount_micro, data.key, data.note, context.now_ms()
            )
            account = found(await read_one(session, audience, Account, tenant_id), "tenant")
            return Corrected(applied, account.balance_micro)

    @put("/overdraft-limit", opt=_WRITE, summary="Set how far below zero a tenant may go, and say why")
    async def put_overdraft_limit(
        self,
        request: Request[Principal, Any, Any],
        context: GivenContext,
        audience: GivenScope,
        tenant_id: Id,
        data: JSONBody[NewOverdraftLimit],
    ) -> AccountView:
        """A lower limit is in force once running calls have given up what they hold of it."""
        async with context.writing() as session:
            by, now_ms = request.user.login, context.now_ms()
            await change_overdraft(session, tenant_id, data.limit_micro, data.reason, by, now_ms)
            return view_of(found(await read_one(session, audience, Account, tenant_id), "tenant"), AccountView)

    @get(
        "/overdraft-changes",
        opt=_READ,
        dependencies=_CHANGE_SORTS.given,
        summary="Who changed the overdraft limit, and why; newest first",
    )
    async def list_overdraft_changes(
        self, context: GivenContext, audience: GivenScope, wanted: GivenPage, tenant_id: Id
    ) -> Page[OverdraftChangeView]:
        async with context.reading() as session:
            found(await read_one(session, audience, Tenant, tenant_id), "tenant")
            rows = wanted.of_rows(await read_overdraft_changes(session, audience, tenant_id))
            return page(rows, wanted, lambda row: view_of(row, OverdraftChangeView))

    @get("/spending", opt=_READ, summary="What a tenant spent, by line, package or agent")
    async def get_spending(
        self,
        context: GivenContext,
        audience: GivenScope,
        tenant_id: Id,
        since: Since,
        until: Until,
        by: StepBy = SpentBy.LINE,
        step: StepSize = Step.DAY,
    ) -> Page[SpendingView]:
        async with context.reading() as session:
            found(await read_one(session, audience, Tenant, tenant_id), "tenant")
        return await spending(context, audience, tenant_id, since, until, by, step)
