"""Reconciling carriers' CDR files with ours."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Controller, get, post, put
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import Meta

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.errors import Refused
from admin_api.common.fields import RowId, TimeMs
from admin_api.common.paging import BeforeMs, GivenPage, Id, Page, QueryId, SinceMs, Sorts, between, equal, page
from admin_api.common.views import view_of
from engine.domain.people.permission import Permission
from engine.domain.reconciliation import DifferenceKind
from engine.services.records.carrier_records import FILE_OCTETS_MAX, RecordFormat
from engine.services.records.reconciliation import ReconciliationRefused, reconcile
from engine.store.listing import read_one
from engine.store.records.reconciliation_store import (
    read_differences,
    read_reconciliation,
    read_reconciliations,
    read_record_format,
    write_record_format,
)
from engine.store.tables import Carrier, Reconciliation, ReconciliationDifference

ReconciliationId = Annotated[str, PathParameter(pattern=r"^[0-9a-f]{64}\Z")]

_BODY_OCTETS_MAX = FILE_OCTETS_MAX * 4 // 3 + 64 * 1024
"""The file in base64, and what is around it."""


class NewReconciliation(msgspec.Struct, forbid_unknown_fields=True):
    """``content`` is the carrier's file in base64; ``format`` stands for that of the trunk's carrier."""

    trunk_id: RowId
    from_ms: TimeMs
    to_ms: TimeMs
    content: Annotated[bytes, Meta(max_length=FILE_OCTETS_MAX)]
    line_id: RowId | None = None
    format: RecordFormat | None = None


class ReconciliationView(msgspec.Struct):
    """``clock_offset_ms``: the carrier's clock less ours."""

    id: str
    trunk_id: int
    line_id: int | None
    from_ms: int
    to_ms: int
    created_at_ms: int
    clock_offset_ms: int
    summary: dict[str, Any]


class DifferenceView(msgspec.Struct):
    position: int
    kind: str
    cdr_id: str | None
    content: dict[str, Any]


_SORTS = Sorts("-created_at_ms", "id", created_at_ms=Reconciliation.created_at_ms, id=Reconciliation.id)
_DIFFERENCE_SORTS = Sorts("position", "position", position=ReconciliationDifference.position)


@get(
    "/carriers/{carrier_id:int}/record-format",
    opt={"permission": Permission.RECONCILIATIONS_READ},
    summary="How a carrier writes its CDR files",
    tags=["carriers"],
)
async def get_record_format(context: GivenContext, audience: GivenScope, carrier_id: Id) -> RecordFormat:
    async with context.reading() as session:
        found(await read_one(session, audience, Carrier, carrier_id), "carrier")
        content = found(await read_record_format(session, carrier_id), "record format")
    return msgspec.convert(content, RecordFormat)


@put(
    "/carriers/{carrier_id:int}/record-format",
    opt={"permission": Permission.RECONCILIATIONS_WRITE},
    summary="Say how a carrier writes its CDR files",
    tags=["carriers"],
)
async def put_record_format(
    context: GivenContext, audience: GivenScope, carrier_id: Id, data: JSONBody[RecordFormat]
) -> RecordFormat:
    async with context.writing_quietly() as session:
        found(await read_one(session, audience, Carrier, carrier_id), "carrier")
        await write_record_format(session, carrier_id, msgspec.to_builtins(data))
    return data


class ReconciliationController(Controller):
    path = "/reconciliations"
    tags = ("carriers",)

    @get(
        "/",
        opt={"permission": Permission.RECONCILIATIONS_READ},
        dependencies=_SORTS.given,
        summary="Reconciliations, newest first",
    )
    async def list_reconciliations(
        self,
        context: GivenContext,
        wanted: GivenPage,
        trunk_id: QueryId = None,
        line_id: QueryId = None,
        from_ms: SinceMs = None,
        to_ms: BeforeMs = None,
    ) -> Page[ReconciliationView]:
        conditions = equal((Reconciliation.trunk_id, trunk_id), (Reconciliation.line_id, line_id))
        conditions += between(Reconciliation.created_at_ms, from_ms, to_ms)
        async with context.reading() as session:
            rows = await read_reconciliations(session, *conditions, wanted=wanted)
            return page(rows, wanted, partial(view_of, shape=ReconciliationView))

    @post(
        "/",
        opt={"permission": Permission.RECONCILIATIONS_WRITE},
        status_code=200,
        request_max_body_size=_BODY_OCTETS_MAX,
        summary="Compare a carrier's file with ours; the same again gives the same",
    )
    async def create_reconciliation(
        self, context: GivenContext, data: JSONBody[NewReconciliation]
    ) -> ReconciliationView:
        try:
            made = await reconcile(
                context.database,
                content=data.content,
                trunk_id=data.trunk_id,
                line_id=data.line_id,
                from_ms=data.from_ms,
                to_ms=data.to_ms,
                record_format=data.format,
                now_ms=context.now_ms(),
            )
        except ReconciliationRefused as refusal:
            raise Refused(refusal.field, str(refusal)) from refusal
        async with context.reading() as session:
            return view_of(found(await read_reconciliation(session, made.id), "reconciliation"), ReconciliationView)

    @get("/{reconciliation_id:str}", opt={"permission": Permission.RECONCILIATIONS_READ}, summary="One reconciliation")
    async def get_reconciliation(
        self, context: GivenContext, reconciliation_id: ReconciliationId
    ) -> ReconciliationView:
        async with context.reading() as session:
            row = found(await read_reconciliation(session, reconciliation_id), "reconciliation")
            return view_of(row, ReconciliationView)

    @get(
        "/{reconciliation_id:str}/differences",
        opt={"permission": Permission.RECONCILIATIONS_READ},
        dependencies=_DIFFERENCE_SORTS.given,
        summary="What differs, in order of time",
    )
    async def list_differences(
        self,
        context: GivenContext,
        wanted: GivenPage,
        reconciliation_id: ReconciliationId,
        kind: Annotated[DifferenceKind | None, QueryParameter()] = None,
    ) -> Page[DifferenceView]:
        async with context.reading() as session:
            found(await read_reconciliation(session, reconciliation_id), "reconciliation")
            rows = await read_differences(session, reconciliation_id, kind=kind, wanted=wanted)
            return page(rows, wanted, partial(view_of, shape=DifferenceView))
