"""Bindings: made, listed and ended by tenants and by agents, each within its scope."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, delete, get, patch, post
from litestar.params import JSONBody, QueryParameter

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import Number, RowId, TimeMs, canonical
from admin_api.common.paging import BeforeMs, GivenPage, Page, QueryId, SinceMs, Sorts, between, equal, page
from admin_api.common.views import BindingView, masked_for, view_of
from admin_api.resources.calls import CallId
from engine.domain.people.permission import Permission
from engine.services.lines.bindings import create_binding, set_expiry, unbind
from engine.store.listing import read_binding, read_bindings
from engine.store.scope import AgentScope, Scope, TenantScope
from engine.store.tables import Binding


class NewBinding(msgspec.Struct, forbid_unknown_fields=True):
    """Without ``a_number`` A is the agent's own phone; agents need give neither it nor ``agent_id``."""

    x_number: Number
    b_number: Number
    a_number: Number | None = None
    agent_id: RowId | None = None
    direction: Literal["both", "a_to_b", "b_to_a"] = "both"
    recording: bool = True
    expires_at_ms: TimeMs | None = None


class BindingExpiry(msgspec.Struct, forbid_unknown_fields=True):
    """``null``: until it is ended."""

    expires_at_ms: TimeMs | None


def _binding_view(scope: Scope, row: Any) -> BindingView:
    return masked_for(scope, view_of(row, BindingView))


_SORTS = Sorts("-created_at_ms", "id", created_at_ms=Binding.created_at_ms, id=Binding.id)


class BindingController(Controller):
    path = "/bindings"
    tags = ("bindings",)

    @get("/", opt={"permission": Permission.BINDINGS_READ}, dependencies=_SORTS.given, summary="Bindings, newest first")
    async def list_bindings(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        live: Annotated[bool, QueryParameter(description="Only those in force.")] = True,
        number: Annotated[str | None, QueryParameter(max_length=40, description="A or X.")] = None,
        agent_id: QueryId = None,
        from_ms: SinceMs = None,
        to_ms: BeforeMs = None,
    ) -> Page[BindingView]:
        conditions = equal((Binding.agent_id, agent_id)) + between(Binding.created_at_ms, from_ms, to_ms)
        async with context.reading() as session:
            rows = await read_bindings(
                session,
                audience,
                *conditions,
                live_at_ms=context.now_ms() if live else None,
                number=None if number is None else canonical(number, "number"),
                wanted=wanted,
            )
        return page(rows, wanted, partial(_binding_view, audience))

    @post("/", opt={"permission": Permission.BINDINGS_WRITE}, summary="Bind A and B on X")
    async def create_binding(
        self, context: GivenContext, audience: GivenScope, data: JSONBody[NewBinding]
    ) -> BindingView:
        assert isinstance(audience, TenantScope | AgentScope), "nobody else has the permission"
        binding_id = context.new_id()
        async with context.writing() as session:
            await create_binding(
                session,
                audience,
                binding_id=binding_id,
                x_number=data.x_number,
                a_number=data.a_number,
                b_number=data.b_number,
                agent_id=data.agent_id,
                direction=data.direction,
                recording=data.recording,
                expires_at_ms=data.expires_at_ms,
                now_ms=context.now_ms(),
            )
            return _binding_view(audience, await read_binding(session, audience, binding_id))

    @get("/{binding_id:str}", opt={"permission": Permission.BINDINGS_READ}, summary="One binding")
    async def get_binding(self, context: GivenContext, audience: GivenScope, binding_id: CallId) -> BindingView:
        async with context.reading() as session:
            return _binding_view(audience, found(await read_binding(session, audience, binding_id), "binding"))

    @patch(
        "/{binding_id:str}", opt={"permission": Permission.BINDINGS_WRITE}, summary="Let a binding end at another time"
    )
    async def patch_binding(
        self, context: GivenContext, audience: GivenScope, binding_id: CallId, data: JSONBody[BindingExpiry]
    ) -> BindingView:
        async with context.writing() as session:
            await set_expiry(session, audience, binding_id, data.expires_at_ms, context.now_ms())
            return _binding_view(audience, await read_binding(session, audience, binding_id))

    @delete("/{binding_id:str}", opt={"permission": Permission.BINDINGS_WRITE}, summary="End a binding")
    async def delete_binding(self, context: GivenContext, audience: GivenScope, binding_id: CallId) -> None:
        async with context.writing() as session:
            await unbind(session, audience, binding_id, context.now_ms())
