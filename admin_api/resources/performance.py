"""How agents and their numbers did: calls, answer rate, talk time; from CDRs, each within its scope."""

from __future__ import annotations

from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Controller, get
from litestar.params import QueryParameter
from sqlalchemy import String

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.errors import Refused
from admin_api.common.paging import INTEGER_MAX, GivenPage, Id, Page, QueryId, Sorts, page
from engine.domain.month import ZONE, month_of, month_starts_ms
from engine.domain.people.permission import Permission
from engine.store.department_store import below
from engine.store.listing import read_one
from engine.store.records.performance_store import FIGURES, figure, months, number_usage, performance
from engine.store.tables import Agent, Department

MONTHS_MAX = 24

_READ = {"permission": Permission.CALLS_READ}
Zone = Annotated[str, QueryParameter(max_length=64, pattern=r"^[A-Za-z0-9_+/-]+\Z", description="As Asia/Shanghai.")]
Month = Annotated[str, QueryParameter(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])\Z", description="As 2026-11.")]
FromMs = Annotated[int, QueryParameter(ge=0, le=INTEGER_MAX, description="Started since.")]
ToMs = Annotated[int, QueryParameter(ge=0, le=INTEGER_MAX, description="Started before.")]


class NumberUsage(msgspec.Struct):
    """``answer_rate`` is from 0 to 1, null where there were no calls."""

    x_number: str
    calls: int
    answered: int
    answer_rate: float | None
    talk_seconds: int


class AgentPerformance(msgspec.Struct):
    agent_id: int
    code: str
    name: str
    calls: int
    answered: int
    answer_rate: float | None
    talk_seconds: int
    charge_micro: int


class MonthlyPerformance(msgspec.Struct):
    month: str
    calls: int
    answered: int
    answer_rate: float | None
    talk_seconds: int
    charge_micro: int


def zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # KeyError: there is none of this name; OSError: it names a folder
        raise Refused("zone", "is no time zone", 400) from None


def _figures(row: Any) -> dict[str, Any]:
    """Talk is rounded down to whole seconds, as a whole and not call by call."""
    return {
        "calls": row.calls,
        "answered": row.answered,
        "answer_rate": round(row.answered / row.calls, 4) if row.calls else None,
        "talk_seconds": row.talk_ms // 1000,
    }


def _usage(row: Any) -> NumberUsage:
    return NumberUsage(x_number=row.x_number, **_figures(row))


def _performance(row: Any) -> AgentPerformance:
    return AgentPerformance(
        agent_id=row.agent_id, code=row.code, name=row.name, charge_micro=row.charge_micro, **_figures(row)
    )


_SORTS = Sorts(
    "agent_id",
    "agent_id",
    agent_id=figure("agent_id"),
    code=figure("code", String),
    name=figure("name", String),
    **FIGURES,
)
_USAGE_SORTS = Sorts("x_number", "x_number", x_number=figure("x_number", String), **FIGURES)


class PerformanceController(Controller):
    path = "/agents"
    tags = ("agents",)

    @get("/performance", opt=_READ, dependencies=_SORTS.given, summary="Each agent's month")
    async def list_performance(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        month: Month,
        zone: Zone = ZONE,
        department_id: QueryId = None,
    ) -> Page[AgentPerformance]:
        try:
            from_ms, to_ms = month_starts_ms(int(month[:4]), int(month[5:]), 1, zone_of(zone))
        except (ValueError, OverflowError):
            raise Refused("month", "is out of range", 400) from None
        conditions = []
        async with context.reading() as session:
            if department_id is not None:
                department = await read_one(session, audience, Department, department_id)
                owner_id = 0 if department is None else department.tenant_id
                conditions.append(Agent.department_id.in_(below(owner_id, [department_id])))
            rows = await performance(session, audience, *conditions, from_ms=from_ms, to_ms=to_ms, wanted=wanted)
        return page(rows, wanted, _performance)

    @get("/{agent_id:int}/performance", opt=_READ, summary="An agent's last months, the newest first")
    async def list_months(
        self,
        context: GivenContext,
        audience: GivenScope,
        agent_id: Id,
        months_count: Annotated[int, QueryParameter(name="months", ge=1, le=MONTHS_MAX)] = 12,
        zone: Zone = ZONE,
    ) -> Page[MonthlyPerformance]:
        where = zone_of(zone)
        year, month = month_of(context.now_ms(), where)
        first = year * 12 + month - months_count
        starts_ms = month_starts_ms(first // 12, first % 12 + 1, months_count, where)
        async with context.reading() as session:
            found(await read_one(session, audience, Agent, agent_id), "agent")
            by_place = await months(session, audience, agent_id, starts_ms)
        items = []
        for place in range(months_count - 1, -1, -1):
            name = f"{(first + place) // 12:04}-{(first + place) % 12 + 1:02}"
            if (row := by_place.get(place)) is None:
                items.append(MonthlyPerformance(name, 0, 0, None, 0, 0))
            else:
                items.append(MonthlyPerformance(month=name, charge_micro=row.charge_micro, **_figures(row)))
        return Page(items)

    @get(
        "/{agent_id:int}/number-usage",
        opt=_READ,
        dependencies=_USAGE_SORTS.given,
        summary="How an agent's calls went, by X number",
    )
    async def list_number_usage(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        agent_id: Id,
        from_ms: FromMs,
        to_ms: ToMs,
    ) -> Page[NumberUsage]:
        async with context.reading() as session:
            found(await read_one(session, audience, Agent, agent_id), "agent")
            rows = await number_usage(session, audience, agent_id, from_ms, to_ms, wanted)
        return page(rows, wanted, _usage)
