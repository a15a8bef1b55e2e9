"""Which carriers and lines a tenant may use, to look at; the carriers' and lines' own routes give and take it."""

from __future__ import annotations

import msgspec
from litestar import Controller, get
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.paging import Id
from engine.domain.people.permission import Permission
from engine.store.listing import read_one
from engine.store.scope import Scope
from engine.store.tables import Tenant
from engine.store.tables.numbers import CarrierPermission, LinePermission

_READ = {"permission": Permission.TENANTS_READ}


class TenantPermissions(msgspec.Struct):
    """All lines of ``carrier_ids`` may be used, and ``line_ids`` beside them."""

    carrier_ids: list[int]
    line_ids: list[int]


async def _permissions(session: AsyncSession, scope: Scope, tenant_id: int) -> TenantPermissions:
    found(await read_one(session, scope, Tenant, tenant_id), "tenant")
    carriers = select(CarrierPermission.carrier_id).where(CarrierPermission.tenant_id == tenant_id)
    lines = select(LinePermission.line_id).where(LinePermission.tenant_id == tenant_id)
    return TenantPermissions(
        carrier_ids=sorted((await session.scalars(carriers)).all()),
        line_ids=sorted((await session.scalars(lines)).all()),
    )


class TenantPermissionController(Controller):
    path = "/tenants/{tenant_id:int}"
    tags = ("tenants",)

    @get("/permissions", opt=_READ, summary="The carriers and lines that a tenant may use")
    async def get_permissions(self, context: GivenContext, audience: GivenScope, tenant_id: Id) -> TenantPermissions:
        async with context.reading() as session:
            return await _permissions(session, audience, tenant_id)
