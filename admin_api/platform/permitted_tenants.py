"""Which tenants may use a carrier, or a line by itself: listed, given and taken back in one way."""

from __future__ import annotations

from admin_api.common.context import Context, found
from admin_api.common.paging import Page, Sorts
from admin_api.common.rows import list_rows
from admin_api.common.views import TenantPermissionView
from engine.services.lines.carriers import Permitted, forbid, permit
from engine.store.listing import read_one
from engine.store.scope import Scope
from engine.store.sorting import PageWanted
from engine.store.tables import Carrier
from engine.store.tables.numbers import CarrierPermission, LinePermission


def sorts_of(table: type[CarrierPermission] | type[LinePermission]) -> Sorts:
    return Sorts("id", "id", id=table.id, tenant_id=table.tenant_id, granted_at_ms=table.granted_at_ms)


async def list_permitted(
    context: Context, scope: Scope, of: Permitted, row_id: int, wanted: PageWanted
) -> Page[TenantPermissionView]:
    async with context.reading() as session:
        found(await read_one(session, scope, of, row_id), of.__tablename__.removesuffix("s"))
    shape = TenantPermissionView
    if of is Carrier:
        return await list_rows(context, scope, CarrierPermission, shape, wanted, CarrierPermission.carrier_id == row_id)
    return await list_rows(context, scope, LinePermission, shape, wanted, LinePermission.line_id == row_id)


async def give(context: Context, tenant_id: int, of: Permitted, row_id: int) -> None:
    async with context.writing() as session:
        await permit(session, tenant_id, of, row_id, context.now_ms())


async def take(context: Context, tenant_id: int, of: Permitted, row_id: int) -> None:
    async with context.writing() as session:
        await forbid(session, tenant_id, of, row_id)
