"""How long recordings are kept: retention, legal holds and what was deleted, for the platform and for a tenant."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_api.common.auth import Principal
from admin_api.common.context import Context, GivenContext, GivenScope, found
from admin_api.common.errors import Refused
from admin_api.common.paging import BeforeMs, GivenPage, Id, Page, QueryId, SinceMs, Sorts, between, equal, page
from admin_api.common.views import view_of
from engine.domain.people.permission import Permission
from engine.store.records.cdr_store import read_cdr
from engine.store.records.retention_store import (
    HOLDS_PER_TENANT_MAX,
    count_holds,
    read_deletions,
    read_hold,
    read_holds,
    retention_of,
)
from engine.store.scope import Platform, Scope, TenantScope
from engine.store.tables import Agent, LegalHold, RecordingDeletion, RecordingRetention

Days = Annotated[int, Meta(ge=0, le=36_500)]
Reason = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*\Z", max_length=200)]
CdrId = Annotated[str, Meta(max_length=32, pattern=r"^[A-Za-z0-9._-]+\Z")]
RowId = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class RetentionView(msgspec.Struct):
    """Days from a call's start; 0: for ever; null: nothing set. ``days`` is what counts, the longer of the others."""

    days: int
    platform_days: int | None
    tenant_days: int | None


class RetentionChange(msgspec.Struct, forbid_unknown_fields=True):
    """``days`` 0: for ever; null: as before anything was set."""

    days: Days | None


class NewHold(msgspec.Struct, forbid_unknown_fields=True):
    """Of one recording (``cdr_id``), of an agent's (``agent_id``), or with neither of all of the tenant's. The platform
    names the tenant, unless the CDR or the agent does."""

    reason: Reason
    cdr_id: CdrId | UnsetType = UNSET
    agent_id: RowId | UnsetType = UNSET
    tenant_id: RowId | UnsetType = UNSET


class Release(msgspec.Struct, forbid_unknown_fields=True):
    reason: Reason


class HoldView(msgspec.Struct):
    id: int
    tenant_id: int
    agent_id: int | None
    cdr_id: str | None
    reason: str
    by_platform: bool
    placed_by: str
    placed_at_ms: int
    released_by: str | None
    released_at_ms: int | None
    release_reason: str | None


class DeletionView(msgspec.Struct):
    """``deleted_at_ms`` is null while the file may still be there. ``decided_by`` is empty where a rule decided."""

    cdr_id: str
    tenant_id: int | None
    agent_id: int | None
    started_at_ms: int | None
    duration_ms: int
    size_octets: int
    sha256: str
    reason: str
    rule: str
    decided_by: str
    decided_at_ms: int
    deleted_at_ms: int | None


def _hold_view(scope: Scope, hold: LegalHold) -> HoldView:
    view = view_of(hold, HoldView)
    if hold.by_platform and not isinstance(scope, Platform):
        view.placed_by = "platform"
        view.released_by = None if view.released_by is None else "platform"
    return view


def _deletion_view(scope: Scope, row: Any) -> DeletionView:
    view = view_of(row, DeletionView)
    if view.decided_by and not isinstance(scope, Platform):
        view.decided_by = "platform"
    return view


async def read_retention(context: Context, session: AsyncSession, tenant_id: int) -> RetentionView:
    retention = await retention_of(session, tenant_id)
    days = retention.days(context.retention_days)
    return RetentionView(days, retention.platform_days, retention.tenant_days)


async def change_retention(context: Context, tenant_id: int, **days: int | None) -> RetentionView:
    """Of the columns that are given; what the tenant wants must not be less than what the platform says."""
    async with context.writing_quietly() as session:
        row = await session.get(RecordingRetention, tenant_id)
        if row is None:
            row = RecordingRetention(tenant_id=tenant_id)
            session.add(row)
        for name, value in days.items():
            setattr(row, name, value)
        await session.flush()
        view = await read_retention(context, session, tenant_id)
        wanted = days.get("tenant_days")
        if wanted is not None and view.days != wanted:
            raise Refused("days", f"must not be less than the platform's {view.days} (0: for ever)")
        return view


async def _owner(session: AsyncSession, scope: Scope, data: NewHold) -> tuple[int, int | None, str | None]:
    """(tenant_id, agent_id, cdr_id) of a new hold. Refused, or not found, where that is not ``scope``'s."""
    if data.cdr_id is not UNSET and data.agent_id is not UNSET:
        raise Refused("agent_id", "a hold is of a recording or of an agent")
    own_tenant = scope.tenant_id if isinstance(scope, TenantScope) else None
    if data.tenant_id is not UNSET and own_tenant not in (None, data.tenant_id):
        raise Refused("tenant_id", "is not known")
    if data.cdr_id is not UNSET:
        cdr = await read_cdr(session, scope, data.cdr_id)
        if cdr is None or cdr.tenant_id is None or cdr.recording_path is None:
            raise Refused("cdr_id", "there is no such recording")
        tenant_id, agent_id, cdr_id = int(cdr.tenant_id), None, data.cdr_id
    elif data.agent_id is not UNSET:
        agent = await session.scalar(select(Agent).where(Agent.id == data.agent_id))
        if agent is None or own_tenant not in (None, agent.tenant_id):
            raise Refused("agent_id", "is not known")
        tenant_id, agent_id, cdr_id = agent.tenant_id, agent.id, None
    elif own_tenant is None and data.tenant_id is UNSET:
        raise Refused("tenant_id", "a hold needs a tenant, an agent or a recording")
    else:
        tenant_id = own_tenant if own_tenant is not None else int(data.tenant_id or 0)
        agent_id, cdr_id = None, None
    if data.tenant_id not in (UNSET, tenant_id):
        raise Refused("tenant_id", "is not the tenant of that")
    return tenant_id, agent_id, cdr_id


_HOLD_SORTS = Sorts("id", "id", id=LegalHold.id, placed_at_ms=LegalHold.placed_at_ms)
_DELETION_SORTS = Sorts(
    "-decided_at_ms", "cdr_id", decided_at_ms=RecordingDeletion.decided_at_ms, cdr_id=RecordingDeletion.cdr_id
)


class LegalHoldController(Controller):
    path = "/legal-holds"
    tags = ("recordings",)

    @get(
        "/",
        opt={"permission": Permission.RECORDINGS_READ},
        dependencies=_HOLD_SORTS.given,
        summary="Legal holds: what is kept whatever its age",
    )
    async def list_holds(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        released: Annotated[bool, QueryParameter()] = False,
        tenant_id: QueryId = None,
        agent_id: QueryId = None,
        from_ms: SinceMs = None,
        to_ms: BeforeMs = None,
    ) -> Page[HoldView]:
        conditions = equal((LegalHold.tenant_id, tenant_id), (LegalHold.agent_id, agent_id))
        conditions += between(LegalHold.placed_at_ms, from_ms, to_ms)
        async with context.reading() as session:
            rows = await read_holds(session, audience, *conditions, released=released, wanted=wanted)
        return page(rows, wanted, partial(_hold_view, audience))

    @post("/", opt={"permission": Permission.RECORDINGS_KEEP}, summary="Place a hold")
    async def place_hold(
        self,
        request: Request[Principal, Any, Any],
        context: GivenContext,
        audience: GivenScope,
        data: JSONBody[NewHold],
    ) -> HoldView:
        async with context.writing_quietly() as session:
            tenant_id, agent_id, cdr_id = await _owner(session, audience, data)
            if await count_holds(session, tenant_id) >= HOLDS_PER_TENANT_MAX:
                raise Refused("reason", f"the tenant has {HOLDS_PER_TENANT_MAX} holds: hold an agent, or all", 409)
            hold = LegalHold(tenant_id=tenant_id, agent_id=agent_id, cdr_id=cdr_id, reason=data.reason)
            hold.by_platform = isinstance(audience, Platform)
            hold.placed_by, hold.placed_at_ms = request.user.login, context.now_ms()
            session.add(hold)
            await session.flush()
            return _hold_view(audience, hold)

    @post(
        "/{hold_id:int}/release",
        status_code=200,
        opt={"permission": Permission.RECORDINGS_KEEP},
        summary="Release a hold; a tenant none of the platform's",
    )
    async def release_hold(
        self,
        request: Request[Principal, Any, Any],
        context: GivenContext,
        audience: GivenScope,
        hold_id: Id,
        data: JSONBody[Release],
    ) -> HoldView:
        async with context.writing_quietly() as session:
            hold = found(await read_hold(session, audience, hold_id), "hold")
            if hold.by_platform and not isinstance(audience, Platform):
                raise Refused("hold_id", "the platform has placed it", 409)
            if hold.released_at_ms is None:
                hold.released_by, hold.released_at_ms = request.user.login, context.now_ms()
                hold.release_reason = data.reason
                await session.flush()
            return _hold_view(audience, hold)


class RecordingDeletionController(Controller):
    path = "/recording-deletions"
    tags = ("recordings",)

    @get(
        "/",
        opt={"permission": Permission.RECORDINGS_READ},
        dependencies=_DELETION_SORTS.given,
        summary="Recordings that are no more, and why, newest first",
    )
    async def list_deletions(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        tenant_id: QueryId = None,
        agent_id: QueryId = None,
        from_ms: SinceMs = None,
        to_ms: BeforeMs = None,
    ) -> Page[DeletionView]:
        conditions = equal((RecordingDeletion.tenant_id, tenant_id), (RecordingDeletion.agent_id, agent_id))
        conditions += between(RecordingDeletion.decided_at_ms, from_ms, to_ms)
        async with context.reading() as session:
            rows = await read_deletions(session, audience, *conditions, wanted=wanted)
        return page(rows, wanted, partial(_deletion_view, audience))
