"""Alarms of tenants who call or spend too fast."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Request, get, post
from litestar.params import JSONBody

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.paging import GivenPage, Id, Page, QueryId
from admin_api.resources.velocity_alarms import (
    ALARM_SORTS,
    Acknowledgement,
    OpenFilter,
    VelocityAlarmView,
    acknowledge_alarm,
    alarm_page,
)
from engine.domain.permission import Permission


class PlatformVelocityAlarmController(Controller):
    path = "/velocity-alarms"
    tags = ("funds",)

    @get(
        "/",
        opt={"permission": Permission.FUNDS_READ},
        dependencies=ALARM_SORTS.given,
        summary="Alarms of tenants who call or spend too fast, newest first",
    )
    async def list_velocity_alarms(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        is_open: OpenFilter = None,
        tenant_id: QueryId = None,
    ) -> Page[VelocityAlarmView]:
        return await alarm_page(context, audience, is_open, tenant_id, wanted)

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
        """For a quarter of an hour after it none is raised of the same agent or tenant."""
        return await acknowledge_alarm(context, audience, alarm_id, data, request.user.login)
