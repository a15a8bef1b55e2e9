"""The platform's part in how long recordings are kept: each tenant's least days, and deletion on request."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post, put
from litestar.params import JSONBody

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.errors import Refused
from admin_api.common.paging import Id
from admin_api.resources.calls import CallId
from admin_api.resources.kept_recordings import (
    Release,
    RetentionChange,
    RetentionView,
    change_retention,
    read_retention,
)
from engine.domain.people.permission import Permission
from engine.store.access.audit import audit
from engine.store.listing import read_one
from engine.store.records.retention_store import DeletionReason, decide_deletion, read_deletable
from engine.store.tables import Tenant


@get(
    "/tenants/{tenant_id:int}/recording-retention",
    opt={"permission": Permission.RECORDINGS_READ},
    summary="How long a tenant's recordings are kept",
    tags=["recordings"],
)
async def get_retention(context: GivenContext, audience: GivenScope, tenant_id: Id) -> RetentionView:
    async with context.reading() as session:
        found(await read_one(session, audience, Tenant, tenant_id), "tenant")
        return await read_retention(context, session, tenant_id)


@put(
    "/tenants/{tenant_id:int}/recording-retention",
    opt={"permission": Permission.RECORDINGS_KEEP},
    summary="Set how long a tenant's recordings are kept at least",
    tags=["recordings"],
)
async def put_retention(
    context: GivenContext, audience: GivenScope, tenant_id: Id, data: JSONBody[RetentionChange]
) -> RetentionView:
    async with context.reading() as session:
        found(await read_one(session, audience, Tenant, tenant_id), "tenant")
    return await change_retention(context, tenant_id, platform_days=data.days)


@post(
    "/cdrs/{cdr_id:str}/recording/deletion",
    status_code=202,
    opt={"permission": Permission.RECORDINGS_DELETE},
    summary="Delete a recording before its time, as a person's right may demand; not one that is held",
    tags=["recordings"],
)
async def delete_recording(
    request: Request[Principal, Any, Any],
    context: GivenContext,
    audience: GivenScope,
    cdr_id: CallId,
    data: JSONBody[Release],
) -> None:
    async with context.writing_quietly() as session:
        row, is_held = found(await read_deletable(session, audience, cdr_id), "recording")
        if is_held:
            raise Refused("cdr_id", "the recording is under a legal hold", 409)
        login, now_ms = request.user.login, context.now_ms()
        await decide_deletion(session, row, DeletionReason.REQUEST, data.reason, login, now_ms)
        audit(session, "delete", "recordings", cdr_id, tenant_id=row.tenant_id, after={"reason": data.reason})
