"""How what a tenant is held to is shown, and what he was told of it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.params import QueryParameter

from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.paging import BeforeMs, GivenPage, Page, QueryId, SinceMs, Sorts, between, equal, page
from admin_api.common.views import view_of
from engine.domain.people.permission import Permission
from engine.store.money.notice_store import NoticeKind, read_events
from engine.store.tables.orders import MoneyEvent


class MoneyRulesView(msgspec.Struct):
    """``zone`` is that of his days and months; a null is no cap, no threshold, and not low."""

    tenant_id: int
    zone: str
    day_cap_micro: int | None
    low_balance_micro: int | None
    low_since_ms: int | None
    velocity_factor: int
    velocity_attempts_max: int | None
    velocity_spend_max_micro: int | None
    agent_velocity_attempts_max: int | None
    agent_velocity_spend_max_micro: int | None
    velocity_stops_calls: bool


class MoneyEventView(msgspec.Struct):
    """``content`` of ``low_balance``: ``left_micro`` that could still be spent, ``threshold_micro``.

    Of ``velocity`` it is what the alarm says, its id as ``alarm_id``.
    """

    id: int
    tenant_id: int
    kind: str
    content: dict[str, Any]
    at_ms: int


_EVENT_SORTS = Sorts("-id", "id", id=MoneyEvent.id)


@get(
    "/money-events",
    opt={"permission": Permission.FUNDS_READ},
    dependencies=_EVENT_SORTS.given,
    summary="What tenants were told of their money, newest first",
    tags=["funds"],
)
async def list_money_events(
    context: GivenContext,
    audience: GivenScope,
    wanted: GivenPage,
    kind: Annotated[NoticeKind | None, QueryParameter()] = None,
    tenant_id: QueryId = None,
    from_ms: SinceMs = None,
    to_ms: BeforeMs = None,
) -> Page[MoneyEventView]:
    conditions = equal((MoneyEvent.kind, kind), (MoneyEvent.tenant_id, tenant_id))
    conditions += between(MoneyEvent.at_ms, from_ms, to_ms)
    async with context.reading() as session:
        rows = await read_events(session, audience, *conditions, wanted=wanted)
    return page(rows, wanted, partial(view_of, shape=MoneyEventView))
