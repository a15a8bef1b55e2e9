"""The money's part of the world, and of the matrix of routes and audiences."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.money.order import OrderAction, OrderKind
from engine.services.money.recharges import create_recharge
from engine.services.sales.orders import Wanted, act, create_order
from engine.services.sales.packages import Terms, create_package
from engine.store.scope import AgentScope, TenantScope
from engine.store.tables.orders import AgentSpendCap, MoneyEvent
from engine.store.tables.velocity import VelocityAlarm

FREE_OF_CHARGE = Terms(minutes=10, price_micro=0)


async def make_money_world(session: AsyncSession, now_ms: int) -> None:
    """Packages 1 (all), 2 (tenant 1) and 3 (tenant 2); agents 1, 2, 3 have bought package 1, in minutes 1, 2, 3.

    Order 4 of agent 1 waits for approval, order 5 of his is a draft, order 6 of tenant 2 waits.
    """
    for code, tenant_id in (("all", None), ("one", 1), ("two", 2)):
        await create_package(
            session, code=code, name=f"Package {code}", terms=FREE_OF_CHARGE, tenant_id=tenant_id, now_ms=now_ms
        )
    for tenant_id, agent_id in ((1, 1), (1, 2), (2, 3)):
        wanted = Wanted(OrderKind.PURCHASE, f"order of agent {agent_id}", package_id=1)
        order = await create_order(session, AgentScope(tenant_id, agent_id), wanted, "w", now_ms)
        await act(session, order, OrderAction.APPROVE, "w", now_ms)
    for key, draft in (("waits", False), ("draft", True)):
        wanted = Wanted(OrderKind.PURCHASE, key, package_id=1)
        await create_order(session, AgentScope(1, 1), wanted, "w", now_ms, draft=draft)
    for tenant_id in (1, 2):
        values = {"key": f"recharge of {tenant_id}", "reference": f"r{tenant_id}", "provider": "by_hand", "by": "w"}
        await create_recharge(session, tenant_id, amount_micro=9, now_ms=now_ms, **values)
    for tenant_id, agent_id in ((1, 1), (2, 3)):
        session.add(MoneyEvent(tenant_id=tenant_id, kind="low_balance", subject="s", content={}, at_ms=now_ms))
        alarm = VelocityAlarm(tenant_id=tenant_id, agent_id=agent_id, measure="attempts", limited_by="usual")
        alarm.value, alarm.limit, alarm.usual, alarm.raised_at_ms, alarm.stops_calls = 60, 50, 10, now_ms, True
        session.add(alarm)
        await session.flush()
        session.add(AgentSpendCap(agent_id=agent_id, tenant_id=tenant_id, day_cap_micro=1000 + agent_id))
    await create_order(session, TenantScope(2), Wanted(OrderKind.PURCHASE, "waits", package_id=3), "w", now_ms)


_PACKAGE = {"code": "p9", "name": "N", "minutes": 1, "price_micro": 1}
_BUY = {"kind": "purchase", "key": "k", "package_id": 1}
_OTHERS = ("agent2", "agent3")
_T2 = ("Package two", "order of agent 3", '"tenant_id":2')
_A2 = (*_T2, "order of agent 2")

MONEY_CASES: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("platform", "GET", "/packages", "", {"shows": ("Package one", "Package two")}),
    ("platform", "POST", "/packages", "", {"body": _PACKAGE, "status": 201}),
    ("platform", "GET", "/packages/{package_id:int}", "/packages/3", {"shows": ("Package two",)}),
    (
        "platform",
        "PATCH",
        "/packages/{package_id:int}",
        "/packages/3",
        {"body": {"minutes": 7}, "shows": ('"version":2',)},
    ),
    ("platform", "GET", "/packages/{package_id:int}/versions", "/packages/3/versions", {"shows": ('"version":1',)}),
    ("platform", "GET", "/orders", "", {"shows": ("order of agent 1", "order of agent 3")}),
    ("platform", "GET", "/orders/{order_id:int}", "/orders/3", {"shows": ("order of agent 3",)}),
    ("platform", "GET", "/orders/{order_id:int}/history", "/orders/3/history", {"shows": ("fulfilled",)}),
    ("platform", "GET", "/orders/minutes", "", {"shows": ("order:1", "order:3")}),
    ("platform", "POST", "/orders/{order_id:int}/approve", "/orders/4/approve", {"body": {}, "shows": ("fulfilled",)}),
    ("platform", "POST", "/orders/{order_id:int}/reject", "/orders/4/reject", {"body": {}, "shows": ("rejected",)}),
    (
        "platform",
        "POST",
        "/tenants/{tenant_id:int}/refunds",
        "/tenants/1/refunds",
        {"body": {"amount_micro": 1, "key": "k"}, "shows": ("done", "4999")},
    ),
    (
        "platform",
        "POST",
        "/tenants/{tenant_id:int}/transfers",
        "/tenants/1/transfers",
        {"body": {"amount_micro": 1, "key": "k", "payee_id": 2}, "shows": ("done", "4999")},
    ),
    (
        "platform",
        "POST",
        "/tenants/{tenant_id:int}/corrections",
        "/tenants/1/corrections",
        {"body": {"amount_micro": -1, "key": "k", "note": "why"}, "shows": ("4999",)},
    ),
    (
        "platform",
        "PUT",
        "/tenants/{tenant_id:int}/overdraft-limit",
        "/tenants/1/overdraft-limit",
        {"body": {"limit_micro": 77, "reason": "why"}, "shows": ("77",)},
    ),
    (
        "platform",
        "GET",
        "/tenants/{tenant_id:int}/overdraft-changes",
        "/tenants/1/overdraft-changes",
        {"shows": ("items",)},
    ),
    ("platform", "GET", "/tenants/{tenant_id:int}/money-rules", "/tenants/1/money-rules", {"shows": ("zone",)}),
    (
        "platform",
        "PATCH",
        "/tenants/{tenant_id:int}/money-rules",
        "/tenants/1/money-rules",
        {"body": {"day_cap_micro": 77}, "shows": ('"day_cap_micro":77',)},
    ),
    ("tenant1", "GET", "/money-rules", "", {"shows": ("zone",)}),
    ("tenant1", "PATCH", "/money-rules", "", {"body": {"low_balance_micro": 0}, "shows": ('"low_balance_micro":0',)}),
    ("platform", "GET", "/money-events", "", {"shows": ('"tenant_id":1', '"tenant_id":2')}),
    ("tenant1", "GET", "/money-events", "", {"shows": ('"tenant_id":1',), "hides": ('"tenant_id":2',)}),
    ("platform", "GET", "/velocity-alarms", "", {"shows": ('"tenant_id":1', '"tenant_id":2')}),
    (
        "platform",
        "POST",
        "/velocity-alarms/{alarm_id:int}/acknowledgement",
        "/velocity-alarms/2/acknowledgement",
        {"body": {"note": "seen"}, "shows": ('"acknowledged_by":"platform"',)},
    ),
    ("tenant1", "GET", "/velocity-alarms", "", {"shows": ('"tenant_id":1',), "hides": ('"tenant_id":2',)}),
    (
        "tenant1",
        "POST",
        "/velocity-alarms/{alarm_id:int}/acknowledgement",
        "/velocity-alarms/1/acknowledgement",
        {"body": {}, "foreign": ("tenant2",), "shows": ('"acknowledged_by":"tenant1"',)},
    ),
    ("tenant1", "GET", "/spend-caps", "", {"shows": ('"day_cap_micro":1001',), "hides": ('"day_cap_micro":1003',)}),
    (
        "tenant1",
        "PUT",
        "/spend-caps/{agent_id:int}",
        "/spend-caps/2",
        {"foreign": ("tenant2",), "body": {"day_cap_micro": 77}, "shows": ('"agent_id":2', "77")},
    ),
    (
        "tenant1",
        "DELETE",
        "/spend-caps/{agent_id:int}",
        "/spend-caps/1",
        {"foreign": ("tenant2",), "status": 204},
    ),
    (
        "platform",
        "GET",
        "/tenants/{tenant_id:int}/spending",
        "/tenants/1/spending?since=2027-01-15&until=2027-01-17&by=agent",
        {"shows": ('"of":1', '"of":2')},
    ),
    (
        "tenant1",
        "GET",
        "/spending",
        "/spending?since=2027-01-15&until=2027-01-17&by=agent",
        {"shows": ('"of":1', "120000"), "hides": ('"of":3',)},
    ),
    ("platform", "GET", "/recharges", "", {"shows": ("recharge of 1", "recharge of 2")}),
    (
        "platform",
        "POST",
        "/tenants/{tenant_id:int}/recharge-orders",
        "/tenants/1/recharge-orders",
        {"body": {"amount_micro": 9, "key": "k"}, "status": 201, "shows": ("created",)},
    ),
    ("platform", "POST", "/recharges/{recharge_id:int}/confirm", "/recharges/1/confirm", {"shows": ("credited",)}),
    ("platform", "POST", "/recharges/{recharge_id:int}/close", "/recharges/1/close", {"shows": ("closed",)}),
    ("tenant1", "GET", "/recharges", "", {"shows": ("recharge of 1",), "hides": ("recharge of 2", *_T2)}),
    (
        "tenant1",
        "POST",
        "/recharges",
        "",
        {"body": {"amount_micro": 9, "key": "k"}, "status": 201, "shows": ("created", '"tenant_id":1')},
    ),
    (
        "platform",
        "GET",
        "/tenants/{tenant_id:int}/statements/{month:str}",
        "/tenants/1/statements/2027-02",
        {"shows": ("closing_balance",)},
    ),
    (
        "platform",
        "POST",
        "/tenants/{tenant_id:int}/statements/{month:str}/close",
        "/tenants/1/statements/2026-12/close",
        {"shows": ("closing_balance",)},
    ),
    (
        "tenant1",
        "GET",
        "/statements/{month:str}",
        "/statements/2027-01",
        {"shows": ("key of tenant 1",), "hides": ("key of tenant 2", *_T2)},
    ),
    ("tenant1", "GET", "/packages", "", {"shows": ("Package all", "Package one"), "hides": _T2}),
    (
        "tenant1",
        "GET",
        "/packages/{package_id:int}",
        "/packages/2",
        {"foreign": ("tenant2",), "shows": ("Package one",)},
    ),
    ("tenant1", "GET", "/orders", "", {"shows": ("order of agent 1", "order of agent 2"), "hides": _T2}),
    (
        "tenant1",
        "POST",
        "/orders",
        "",
        {
            "body": _BUY | {"agent_id": 2},
            "foreign_body": _BUY | {"agent_id": 3, "key": "f"},
            "status": 201,
            "shows": ("submitted",),
        },
    ),
    (
        "tenant1",
        "GET",
        "/orders/{order_id:int}",
        "/orders/1",
        {"foreign": ("tenant2",), "shows": ("order of agent 1",)},
    ),
    (
        "tenant1",
        "GET",
        "/orders/{order_id:int}/history",
        "/orders/1/history",
        {"foreign": ("tenant2",), "shows": ("fulfilled",)},
    ),
    ("tenant1", "GET", "/orders/minutes", "", {"shows": ("order:1", "order:2"), "hides": ("order:3", *_T2)}),
    ("tenant1", "POST", "/orders/{order_id:int}/submit", "/orders/5/submit", {"foreign": ("tenant2",)}),
    ("tenant1", "POST", "/orders/{order_id:int}/cancel", "/orders/4/cancel", {"foreign": ("tenant2",)}),
    ("agent1", "GET", "/packages", "", {"shows": ("Package all", "Package one"), "hides": _T2}),
    ("agent1", "GET", "/packages/{package_id:int}", "/packages/2", {"foreign": ("agent3",), "shows": ("Package one",)}),
    ("agent1", "GET", "/orders", "", {"shows": ("order of agent 1",), "hides": _A2}),
    (
        "agent1",
        "POST",
        "/orders",
        "",
        {
            "body": _BUY | {"key": "mine", "agent_id": 2},  # he buys for himself, whatever he says
            "foreign_body": {"kind": "return", "key": "f", "bucket_id": 2},
            "status": 201,
            "shows": ('"agent_id":1',),
        },
    ),
    ("agent1", "GET", "/orders/{order_id:int}", "/orders/1", {"foreign": _OTHERS, "shows": ("order of agent 1",)}),
    (
        "agent1",
        "GET",
        "/orders/{order_id:int}/history",
        "/orders/1/history",
        {"foreign": _OTHERS, "shows": ("fulfilled",)},
    ),
    ("agent1", "GET", "/orders/minutes", "", {"shows": ("order:1",), "hides": ("order:2", "order:3")}),
    ("agent1", "POST", "/orders/{order_id:int}/submit", "/orders/5/submit", {"foreign": _OTHERS}),
    ("agent1", "POST", "/orders/{order_id:int}/cancel", "/orders/4/cancel", {"foreign": _OTHERS}),
]
"""Who, method, route, path (empty: the route), and what else a ``Case`` holds; below the audience's own prefix."""
