"""How what a tenant is held to is shown."""

from __future__ import annotations

from typing import Any

import msgspec

from admin_api.common.context import Context
from admin_api.common.paging import Page, Sorts, page
from admin_api.common.views import view_of
from engine.store.notice_store import read_events
from engine.store.scope import Scope
from engine.store.sorting import PageWanted
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


EVENT_SORTS = Sorts("-id", "id", id=MoneyEvent.id)


async def event_page(context: Context, scope: Scope, tenant_id: int | None, wanted: PageWanted) -> Page[MoneyEventView]:
    async with context.reading() as session:
        rows = await read_events(session, scope, tenant_id=tenant_id, wanted=wanted)
    return page(rows, wanted, lambda row: view_of(row, MoneyEventView))
