"""Alarms of too many calls or too much money at once: shown, and acknowledged."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar.params import QueryParameter

from admin_api.common.context import Context, found
from admin_api.common.fields import Note
from admin_api.common.paging import Page, Sorts, page
from admin_api.common.views import view_of
from engine.services.velocity_alarms import acknowledge, read_alarm, refuse_not_his
from engine.store.scope import Scope
from engine.store.sorting import PageWanted
from engine.store.tables.velocity import VelocityAlarm
from engine.store.velocity_store import read_alarms

OpenFilter = Annotated[bool | None, QueryParameter(name="open")]


class Acknowledgement(msgspec.Struct, forbid_unknown_fields=True):
    note: Note = ""


class VelocityAlarmView(msgspec.Struct):
    """``value`` was above ``limit`` within five minutes: calls for ``attempts``, micro-units for ``spending``.

    ``limited_by``: a ``rule`` that names the limit, or a multiple of what is ``usual``. Without ``agent_id`` it is of
    the tenant as a whole. While it is not acknowledged no other is raised for the same, and with ``stops_calls`` no
    new call begins.
    """

    id: int
    tenant_id: int
    agent_id: int | None
    measure: str
    limited_by: str
    value: int
    limit: int
    usual: int | None
    stops_calls: bool
    raised_at_ms: int
    acknowledged_at_ms: int | None
    acknowledged_by: str | None
    note: str


ALARM_SORTS = Sorts("-id", "id", id=VelocityAlarm.id, raised_at_ms=VelocityAlarm.raised_at_ms)


async def alarm_page(
    context: Context, scope: Scope, is_open: bool | None, tenant_id: int | None, wanted: PageWanted
) -> Page[VelocityAlarmView]:
    conditions = [] if tenant_id is None else [VelocityAlarm.tenant_id == tenant_id]
    if is_open is not None:
        acknowledged = VelocityAlarm.acknowledged_at_ms.is_not(None)
        conditions.append(~acknowledged if is_open else acknowledged)
    async with context.reading() as session:
        rows = await read_alarms(session, scope, *conditions, wanted=wanted)
    return page(rows, wanted, lambda row: view_of(row, VelocityAlarmView))


async def acknowledge_alarm(
    context: Context, scope: Scope, alarm_id: int, data: Acknowledgement, by: str
) -> VelocityAlarmView:
    async with context.writing() as session:
        alarm = found(await read_alarm(session, scope, alarm_id), "alarm")
        refuse_not_his(scope, alarm)
        await acknowledge(session, alarm, by, data.note, context.now_ms())
        return view_of(alarm, VelocityAlarmView)
