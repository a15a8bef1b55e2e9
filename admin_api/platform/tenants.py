"""Tenants, their accounts and their money."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Controller, delete, get, patch, post, put
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import Code, Key, Name, Note, PositiveAmountMicro, Status, apply, given
from admin_api.common.paging import BeforeMs, GivenPage, Id, Page, SinceMs, Sorts, between, equal, page
from admin_api.common.rows import list_rows
from admin_api.common.sorts import LEDGER_SORTS
from admin_api.common.views import AccountView, LedgerEntryView, TenantView, view_of
from admin_api.resources.performance import Zone, zone_of
from admin_api.resources.suspension import Suspension, SuspensionAnswer, cut_calls
from engine.domain.month import ZONE, day_start_ms
from engine.domain.people.permission import Permission
from engine.services.money.accounts import create_tenant
from engine.store.listing import read_one, read_page
from engine.store.money.ledger_store import Kind, read_ledger, recharge
from engine.store.records.performance_store import accounts_of, tenants_since
from engine.store.tables import Account, LedgerTransaction, Tenant


class NewTenant(msgspec.Struct, forbid_unknown_fields=True):
    code: Code
    name: Name


CallLimit = Annotated[int, Meta(ge=0, le=1_000_000, description="0: no limit.")]


class TenantPatch(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    calls_max: CallLimit | UnsetType = UNSET
    calls_per_second_max: CallLimit | UnsetType = UNSET


class NewRecharge(msgspec.Struct, forbid_unknown_fields=True):
    """``key`` is the caller's name for this payment: sent again, it is not paid in again."""

    amount_micro: PositiveAmountMicro
    key: Key
    note: Note = ""


class RechargeAnswer(msgspec.Struct):
    applied: bool
    """False where this key had been applied before."""
    balance_micro: int


class TenantRow(msgspec.Struct):
    """``calls_today`` and ``answered_today`` count since midnight in ``zone``, running calls among them."""

    id: int
    code: str
    name: str
    status: str
    calls_max: int
    calls_per_second_max: int
    created_at_ms: int
    balance_micro: int
    overdraft_limit_micro: int
    calls_today: int
    answered_today: int


def _row(tenant: Tenant, account: Account | None, today: Any) -> TenantRow:
    shown = msgspec.structs.asdict(view_of(tenant, TenantView))
    return TenantRow(
        **shown,
        balance_micro=0 if account is None else account.balance_micro,
        overdraft_limit_micro=0 if account is None else account.overdraft_limit_micro,
        calls_today=0 if today is None else today.calls,
        answered_today=0 if today is None else today.answered,
    )


_SORTS = Sorts("id", "id", id=Tenant.id, code=Tenant.code, name=Tenant.name, created_at_ms=Tenant.created_at_ms)
_ACCOUNT_SORTS = Sorts("tenant_id", "tenant_id", tenant_id=Account.tenant_id, balance_micro=Account.balance_micro)


class TenantController(Controller):
    path = "/tenants"
    tags = ("tenants",)

    @get("/", opt={"permission": Permission.TENANTS_READ}, dependencies=_SORTS.given, summary="Tenants")
    async def list_tenants(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        tenant_status: Annotated[Status | None, QueryParameter(name="status")] = None,
        zone: Zone = ZONE,
    ) -> Page[TenantRow]:
        conditions = [] if tenant_status is None else [Tenant.status == tenant_status]
        today_ms = day_start_ms(context.now_ms(), zone_of(zone))
        async with context.reading() as session:
            rows = await read_page(session, audience, Tenant, *conditions, wanted=wanted)
            ids = [row.id for row in rows]
            accounts = {row.tenant_id: row for row in await accounts_of(session, ids)}
            today = await tenants_since(session, ids, today_ms)
        return page(rows, wanted, lambda row: _row(row, accounts.get(row.id), today.get(row.id)))

    @post("/", opt={"permission": Permission.TENANTS_WRITE}, summary="Make a tenant, with an account at ¥0")
    async def create_tenant(self, context: GivenContext, data: JSONBody[NewTenant]) -> TenantView:
        """He may go below zero once ``PUT /tenants/{id}/overdraft-limit`` says how far, and why."""
        async with context.writing() as session:
            tenant = await create_tenant(session, code=data.code, name=data.name, now_ms=context.now_ms())
            return view_of(tenant, TenantView)

    @get("/{tenant_id:int}", opt={"permission": Permission.TENANTS_READ}, summary="One tenant")
    async def get_tenant(self, context: GivenContext, audience: GivenScope, tenant_id: Id) -> TenantView:
        async with context.reading() as session:
            return view_of(found(await read_one(session, audience, Tenant, tenant_id), "tenant"), TenantView)

    @patch("/{tenant_id:int}", opt={"permission": Permission.TENANTS_WRITE}, summary="Change, suspend or wake a tenant")
    async def patch_tenant(
        self, context: GivenContext, audience: GivenScope, tenant_id: Id, data: JSONBody[TenantPatch]
    ) -> TenantView:
        """How far below zero he may go is set by ``PUT /tenants/{id}/overdraft-limit``, with a reason."""
        async with context.writing() as session:
            tenant = found(await read_one(session, audience, Tenant, tenant_id), "tenant")
            apply(tenant, given(data))
            await session.flush()
            return view_of(tenant, TenantView)

    @put("/{tenant_id:int}/suspension", opt={"permission": Permission.TENANTS_WRITE}, summary="Suspend a tenant")
    async def put_suspension(
        self, context: GivenContext, audience: GivenScope, tenant_id: Id, data: JSONBody[Suspension]
    ) -> SuspensionAnswer:
        async with context.writing() as session:
            found(await read_one(session, audience, Tenant, tenant_id), "tenant").status = "suspended"
        return await cut_calls(context, data, tenant_id, None)

    @delete(
        "/{tenant_id:int}/suspension",
        opt={"permission": Permission.TENANTS_WRITE},
        status_code=200,
        summary="Wake a suspended tenant",
    )
    async def delete_suspension(self, context: GivenContext, audience: GivenScope, tenant_id: Id) -> TenantView:
        async with context.writing() as session:
            tenant = found(await read_one(session, audience, Tenant, tenant_id), "tenant")
            tenant.status = "active"
            await session.flush()
            return view_of(tenant, TenantView)

    @get("/{tenant_id:int}/account", opt={"permission": Permission.FUNDS_READ}, summary="A tenant's money")
    async def get_account(self, context: GivenContext, audience: GivenScope, tenant_id: Id) -> AccountView:
        async with context.reading() as session:
            return view_of(found(await read_one(session, audience, Account, tenant_id), "tenant"), AccountView)

    @get(
        "/{tenant_id:int}/ledger",
        opt={"permission": Permission.FUNDS_READ},
        dependencies=LEDGER_SORTS.given,
        summary="What came in and went out, newest first",
    )
    async def list_ledger(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        tenant_id: Id,
        kind: Annotated[Kind | None, QueryParameter()] = None,
        from_ms: SinceMs = None,
        to_ms: BeforeMs = None,
    ) -> Page[LedgerEntryView]:
        conditions = equal((LedgerTransaction.kind, kind)) + between(LedgerTransaction.created_at_ms, from_ms, to_ms)
        async with context.reading() as session:
            found(await read_one(session, audience, Tenant, tenant_id), "tenant")
            rows = await read_ledger(session, audience, tenant_id, *conditions, wanted=wanted)
        return page(rows, wanted, partial(view_of, shape=LedgerEntryView))

    @post(
        "/{tenant_id:int}/recharges",
        opt={"permission": Permission.FUNDS_WRITE},
        status_code=200,
        summary="Pay into a tenant's account, once for each key",
    )
    async def create_recharge(
        self, context: GivenContext, audience: GivenScope, tenant_id: Id, data: JSONBody[NewRecharge]
    ) -> RechargeAnswer:
        async with context.writing() as session:
            applied = await recharge(session, tenant_id, data.amount_micro, data.key, context.now_ms(), data.note)
            account = found(await read_one(session, audience, Account, tenant_id), "tenant")
            return RechargeAnswer(applied, account.balance_micro)


class AccountController(Controller):
    path = "/accounts"
    tags = ("tenants",)

    @get(
        "/", opt={"permission": Permission.FUNDS_READ}, dependencies=_ACCOUNT_SORTS.given, summary="All tenants' money"
    )
    async def list_accounts(self, context: GivenContext, audience: GivenScope, wanted: GivenPage) -> Page[AccountView]:
        return await list_rows(context, audience, Account, AccountView, wanted)
