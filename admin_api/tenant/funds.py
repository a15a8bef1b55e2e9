"""What a tenant's own money went on."""

from __future__ import annotations

from typing import Any

from litestar import Request, get

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.paging import Page
from admin_api.resources.spending import Since, SpendingView, StepBy, StepSize, Until, spending
from engine.domain.people.permission import Permission
from engine.services.money.spending import SpentBy, Step


@get(
    "/spending",
    opt={"permission": Permission.FUNDS_READ},
    summary="What you spent, by line, package or agent",
    tags=["funds"],
)
async def get_spending(
    request: Request[Principal, Any, Any],
    context: GivenContext,
    audience: GivenScope,
    since: Since,
    until: Until,
    by: StepBy = SpentBy.LINE,
    step: StepSize = Step.DAY,
) -> Page[SpendingView]:
    return await spending(context, audience, request.user.tenant_scope.tenant_id, since, until, by, step)
