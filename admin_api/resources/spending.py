"""Spending: the platform asks for a tenant's, a tenant for his own."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from litestar.params import QueryParameter

from admin_api.common.context import Context
from admin_api.common.paging import Page
from admin_api.common.views import view_of
from engine.services.money.spending import SpentBy, Step, read_spending
from engine.store.scope import Scope

Since = Annotated[date, QueryParameter(description="The first day, in the tenant's own calendar.")]
Until = Annotated[date, QueryParameter(description="The day after the last.")]
StepBy = Annotated[SpentBy, QueryParameter(description="Whose spending is a row.")]
StepSize = Annotated[Step, QueryParameter(description="A row for each day or each month.")]


class SpendingView(msgspec.Struct):
    """``of`` is the id of the line, package or agent; ``start`` the day or month."""

    start: str
    of: int | None
    calls: int
    seconds: int
    micro: int


async def spending(
    context: Context, scope: Scope, tenant_id: int, since: date, until: date, by: SpentBy, step: Step
) -> Page[SpendingView]:
    async with context.reading() as session:
        rows = await read_spending(session, scope, tenant_id, by, step, since, until)
    return Page([view_of(row, SpendingView) for row in rows])
