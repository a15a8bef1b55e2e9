"""Your own alarms, and those of your agents."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Request, get, post
from litestar.params import JSONBody

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.paging import GivenPage, Id, Page
from admin_api.resources.velocity_alarms import (
    ALARM_SORTS,
    Acknowledgement,
    OpenFilter,
    VelocityAlarmView,
    acknowledge_alarm,
    alarm_page,
)
from engine.domain.permission import Permission


class TenantVelocityAlarmController(Controller):
    path = "/velocity-alarms"
    tags = ("funds",)

    @get(
        "/",
        opt={"permission": Permission.FUNDS_READ},
        dependencies=ALARM_SORTS.given,
        summary="Alarms of too many calls or too much money, newest first",
    )
    async def list_own_velocity_alarms(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        is_open: OpenFilter = None,
    ) -> Page[VelocityAlarmView]:
        return await alarm_page(context, audience, is_open, None, wanted)

    @post(
        "/{alarm_id:int}/acknowledgement",
        status_code=200,
        opt={"permission": Permission.FUNDS_WRITE},
        summary="Acknowledge an alarm: calls that it stopped go on, and another may be raised",
    )
    async def acknowledge_own_velocity_alarm(
        self,
        request: Request[Principal, Any, Any],
        context: GivenContext,
        audience: GivenScope,
        alarm_id: Id,
        data: JSONBody[Acknowledgement],
    ) -> VelocityAlarmView:
        """One that keeps all of your agents from calling is the platform's to acknowledge."""
        return await acknowledge_alarm(context, audience, alarm_id, data, request.user.login)
