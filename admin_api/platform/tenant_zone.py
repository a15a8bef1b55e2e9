"""The time zone by which a tenant's days and months are counted."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import put
from litestar.params import JSONBody
from msgspec import Meta

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.paging import Id
from engine.domain.people.permission import Permission
from engine.services.money.tenant_zone import set_zone
from engine.store.listing import read_one
from engine.store.tables import Tenant


class TenantZone(msgspec.Struct, forbid_unknown_fields=True):
    """An IANA name."""

    zone: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+_./-]+\Z", max_length=64)]


@put(
    "/tenants/{tenant_id:int}/zone",
    opt={"permission": Permission.TENANTS_WRITE},
    summary="Say by which time zone a tenant's days and months are counted",
    tags=["tenants"],
)
async def put_zone(
    context: GivenContext, audience: GivenScope, tenant_id: Id, data: JSONBody[TenantZone]
) -> TenantZone:
    """Not once a month of his is closed."""
    async with context.writing() as session:
        found(await read_one(session, audience, Tenant, tenant_id), "tenant")
        return TenantZone((await set_zone(session, audience, tenant_id, data.zone)).zone)
