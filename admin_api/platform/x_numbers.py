"""The pool of X numbers, and who has which."""

from __future__ import annotations

from typing import Literal

import msgspec
from litestar import patch, post, put
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import Number, RowId, Status, apply, canonical, given
from admin_api.common.paging import Id
from admin_api.common.views import XNumberView, view_of
from admin_api.common.x_numbers import XNumberController
from engine.domain.permission import Permission
from engine.services.numbers import allocate_to_tenant
from engine.store.listing import read_one
from engine.store.tables import XNumber

UnknownCallerPolicy = Literal["refuse", "owner"]


class NewXNumber(msgspec.Struct, forbid_unknown_fields=True):
    number: Number
    line_id: RowId
    unknown_caller_policy: UnknownCallerPolicy = "refuse"


class XNumberPatch(msgspec.Struct, forbid_unknown_fields=True):
    line_id: RowId | UnsetType = UNSET
    unknown_caller_policy: UnknownCallerPolicy | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class TenantAllocation(msgspec.Struct, forbid_unknown_fields=True):
    """``null`` takes the number back."""

    tenant_id: RowId | None


class PlatformXNumberController(XNumberController):
    @post("/", opt={"permission": Permission.NUMBERS_WRITE}, summary="Add an X number to a line")
    async def create_x_number(self, context: GivenContext, data: JSONBody[NewXNumber]) -> XNumberView:
        values = given(data)
        values["number"] = canonical(data.number, "number")
        row = XNumber(**values)
        async with context.writing() as session:
            session.add(row)
            await session.flush()
            return view_of(row, XNumberView)

    @patch("/{x_number_id:int}", opt={"permission": Permission.NUMBERS_WRITE}, summary="Change or suspend an X number")
    async def patch_x_number(
        self, context: GivenContext, audience: GivenScope, x_number_id: Id, data: JSONBody[XNumberPatch]
    ) -> XNumberView:
        async with context.writing() as session:
            row = found(await read_one(session, audience, XNumber, x_number_id), "X number")
            apply(row, given(data))
            await session.flush()
            return view_of(row, XNumberView)

    @put(
        "/{x_number_id:int}/tenant",
        opt={"permission": Permission.NUMBERS_WRITE},
        summary="Allocate an X number to a tenant",
    )
    async def allocate(
        self, context: GivenContext, audience: GivenScope, x_number_id: Id, data: JSONBody[TenantAllocation]
    ) -> XNumberView:
        async with context.writing() as session:
            row = await allocate_to_tenant(session, audience, x_number_id, data.tenant_id, context.now_ms())
            return view_of(row, XNumberView)
