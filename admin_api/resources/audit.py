"""The audit log: the platform reads all of it, a tenant's administrators what is about their own."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.params import QueryParameter
from sqlalchemy import select

from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.paging import BeforeMs, GivenPage, Page, QueryId, SinceMs, Sorts, between, equal, page
from admin_api.common.views import view_of
from engine.domain.people.permission import Permission
from engine.store.access.audit import ActorKind, read_audit
from engine.store.listing import owned
from engine.store.scope import TenantScope
from engine.store.tables import User
from engine.store.tables.identity import AuditEntry

PLATFORM = "platform"
"""Who of the platform it was, is the platform's to know: a tenant reads this. Of a jump it reads the login."""

Word = Annotated[str | None, QueryParameter(pattern=r"^[A-Za-z0-9_.,:-]{1,200}$")]


class AuditEntryView(msgspec.Struct):
    """``before`` and ``after`` hold the columns that changed; secrets and numbers stand there as marks."""

    id: int
    at_ms: int
    actor_kind: str
    actor: str
    user_id: int | None
    api_key_id: int | None
    session_id: str | None
    address: str
    request_id: str
    tenant_id: int | None
    action: str
    entity: str
    entity_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


_SORTS = Sorts("-id", "id", id=AuditEntry.id)


@get(
    "/audit",
    opt={"permission": Permission.AUDIT_READ},
    dependencies=_SORTS.given,
    summary="Who changed what, newest first",
    tags=["audit"],
)
async def list_audit(
    context: GivenContext,
    audience: GivenScope,
    wanted: GivenPage,
    tenant_id: QueryId = None,
    actor_kind: Annotated[ActorKind | None, QueryParameter()] = None,
    user_id: QueryId = None,
    api_key_id: QueryId = None,
    entity: Word = None,
    entity_id: Word = None,
    action: Word = None,
    request_id: Word = None,
    from_ms: SinceMs = None,
    to_ms: BeforeMs = None,
) -> Page[AuditEntryView]:
    conditions = equal(
        (AuditEntry.tenant_id, tenant_id),
        (AuditEntry.actor_kind, None if actor_kind is None else actor_kind.value),
        (AuditEntry.user_id, user_id),
        (AuditEntry.api_key_id, api_key_id),
        (AuditEntry.entity, entity),
        (AuditEntry.entity_id, entity_id),
        (AuditEntry.action, action),
        (AuditEntry.request_id, request_id),
    )
    if user_id is not None and isinstance(audience, TenantScope):
        jumped = AuditEntry.actor_kind == ActorKind.JUMP.value
        conditions.append(jumped | AuditEntry.user_id.in_(select(User.id).where(User.tenant_id == audience.tenant_id)))
    conditions += between(AuditEntry.at_ms, from_ms, to_ms)
    async with context.reading() as session:
        rows = await read_audit(session, audience, *conditions, wanted=wanted)
        people = {row.user_id for row in rows if row.user_id is not None}
        own = select(User.id).where(User.id.in_(people), owned(audience, User))
        return page(rows, wanted, partial(_view, set((await session.scalars(own)).all())))


def _view(own_people: set[int], row: AuditEntry) -> AuditEntryView:
    view = view_of(row, AuditEntryView)
    if row.user_id is not None and row.user_id not in own_people:
        view.user_id, view.session_id, view.address = None, None, ""
        if row.actor_kind != ActorKind.JUMP:
            view.actor = PLATFORM
    return view
