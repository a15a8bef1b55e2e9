"""CDRs to take away, as the listing shows them: the same filters, the same scope."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter
from litestar.response import Stream

from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.errors import Refused
from admin_api.common.fields import canonical
from admin_api.common.paging import INTEGER_MAX, QueryId
from admin_api.common.views import sees_customers
from engine.domain.cause import Cause
from engine.domain.cdr import CdrState
from engine.domain.people.permission import Permission
from engine.services.records.cdr_export import (
    MEDIA_TYPES,
    ROWS_MAX,
    ZONE_DEFAULT,
    ExportFormat,
    TooManyRows,
    UnknownZone,
    export_cdrs,
    zone_of,
)
from engine.store.records.cdr_store import CdrFilter


@get(
    "/cdr-export",
    opt={"permission": Permission.CALLS_EXPORT},
    summary="CDRs of a period as CSV or Parquet, newest first",
    tags=["calls"],
)
async def export(
    context: GivenContext,
    audience: GivenScope,
    from_ms: Annotated[int, QueryParameter(ge=0, le=INTEGER_MAX, description="Started since.")],
    to_ms: Annotated[int, QueryParameter(ge=0, le=INTEGER_MAX, description="Started before.")],
    shape: Annotated[ExportFormat, QueryParameter(name="format")] = ExportFormat.CSV,
    zone: Annotated[str, QueryParameter(max_length=64, description="Of the times, an IANA name.")] = ZONE_DEFAULT,
    bom: Annotated[bool, QueryParameter(description="Begin a CSV with a byte order mark, for Excel.")] = False,
    tenant_id: QueryId = None,
    agent_id: QueryId = None,
    call_state: Annotated[CdrState | None, QueryParameter(name="state")] = None,
    number: Annotated[str | None, QueryParameter(max_length=40, description="A, X or B.")] = None,
    answered: Annotated[bool | None, QueryParameter()] = None,
    cause: Annotated[Cause | None, QueryParameter()] = None,
) -> Stream:
    """Streamed; an answer that breaks off is cut short on the wire too, and never looks whole."""
    wanted = CdrFilter(
        tenant_id=tenant_id,
        agent_id=agent_id,
        state=call_state,
        from_ms=from_ms,
        to_ms=to_ms,
        number=None if number is None else canonical(number, "number"),
        number_sides=("a", "x", "b") if sees_customers(audience) else ("a", "x"),
        answered=answered,
        cause=cause,
    )
    try:
        octets = await export_cdrs(context.database, audience, wanted, shape=shape, zone=zone_of(zone), bom=bom)
    except UnknownZone as error:
        raise Refused("zone", str(error), 400) from error
    except TooManyRows as error:
        raise Refused("to_ms", f"more than {ROWS_MAX} CDRs: ask for a shorter period") from error
    return Stream(
        octets,
        media_type=MEDIA_TYPES[shape],
        headers={
            "Content-Disposition": f'attachment; filename="cdrs-{from_ms}-{to_ms}.{shape}"',
            "Cache-Control": "private, no-store",
        },
    )
