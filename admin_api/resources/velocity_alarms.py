"""Alarms of too many calls or too much money at once: shown, and acknowledged."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get, post
from litestar.params import JSONBody, QueryParameter

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import Note
from admin_api.common.paging import BeforeMs, GivenPage, Id, Page, QueryId, SinceMs, Sorts, between, equal, page
from admin_api.common.views import view_of
from engine.domain.people.permission import Permission
from engine.services.money.velocity_alarms import acknowledge, read_alarm, refuse_not_his
from engine.store.money.velocity_store import read_alarms
from engine.store.tables.velocity import VelocityAlarm


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


_SORTS = Sorts("-id", "id", id=VelocityAlarm.id, raised_at_ms=VelocityAlarm.raised_at_ms)


class VelocityAlarmController(Controller):
    path = "/velocity-alarms"
    tags = ("funds",)

    @get(
        "/",
        opt={"permission": Permission.FUNDS_READ},
        dependencies=_SORTS.given,
        summary="Alarms of who calls or spends too fast, newest first",
    )
    async def list_velocity_alarms(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        is_open: Annotated[bool | None, QueryParameter(name="open", description="Acknowledged by nobody yet.")] = None,
        tenant_id: QueryId = None,
        agent_id: QueryId = None,
        from_ms: SinceMs = None,
        to_ms: BeforeMs = None,
    ) -> Page[VelocityAlarmView]:
        conditions = equal((VelocityAlarm.tenant_id, tenant_id), (VelocityAlarm.agent_id, agent_id))
        conditions += between(VelocityAlarm.raised_at_ms, from_ms, to_ms)
        if is_open is not None:
            acknowledged = VelocityAlarm.acknowledged_at_ms.is_not(None)
            conditions.append(~acknowledged if is_open else acknowledged)
        async with context.reading() as session:
            rows = await read_alarms(session, audience, *conditions, wanted=wanted)
        return page(rows, wanted, partial(view_of, shape=VelocityAlarmView))

    @post(
        "/{alarm_id:int}/acknowledgement",
        status_code=200,
        opt={"permission": Permission.FUNDS_WRITE},
        summary="Acknowledge an alarm: calls that it stopped go on, and another may be raised",
    )
    async def acknowledge_velocity_alarm(
        self,
        request: Request[Principal, Any, Any],
        context: GivenContext,
        audience: GivenScope,
        alarm_id: Id,
        data: JSONBody[Acknowledgement],
    ) -> VelocityAlarmView:
        """For a quarter of an hour after it none is raised of the same agent or tenant. One that keeps all of a
        tenant's agents from calling is the platform's to acknowledge."""
        async with context.writing() as session:
            alarm = found(await read_alarm(session, audience, alarm_id), "alarm")
            refuse_not_his(audience, alarm)
            await acknowledge(session, alarm, request.user.login, data.note, context.now_ms())
            return view_of(alarm, VelocityAlarmView)
