"""A tenant or an agent is suspended while calls run: they finish, or are cut, and no new one begins."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.runtime.control.protocol import CallsCut, CutCalls
from engine.store.database import writing_session
from engine.store.tables import Agent, Tenant
from tests.interop.lane import Lane
from tests.interop.site import wait_for

pytestmark = pytest.mark.sipp


def _suspend(lane: Lane, table: type[Tenant] | type[Agent]) -> None:
    async def suspend(database: AsyncEngine) -> None:
        column = Tenant.id if table is Tenant else Agent.tenant_id
        async with writing_session(database, int(time.time() * 1000)) as session:
            for row in (await session.scalars(select(table).where(column == lane.tenant_id))).all():
                row.status = "suspended"

    lane.site.write(suspend)


@pytest.mark.parametrize("table", [Tenant, Agent])
def test_a_suspension_cuts_what_was_to_finish_or_leaves_what_was_to_be_cut(
    lane: Lane, table: type[Tenant] | type[Agent]
) -> None:
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_waits")
    caller.wait_received("SIP/2.0 200")
    live = wait_for("a live call", lambda: lane.site.live_calls(lane.tenant_id).calls)
    agent_id = live[0].agent_id
    assert agent_id is not None
    time.sleep(0.3)
    _suspend(lane, table)
    # It goes on, whoever else's calls are cut.
    assert lane.site.ask(CutCalls(lane.tenant_id, agent_id + 1000)) == CallsCut(0)
    assert lane.site.ask(CutCalls(lane.tenant_id + 1000)) == CallsCut(0)
    time.sleep(0.3)
    assert len(lane.site.live_calls(lane.tenant_id).calls) == 1
    assert lane.site.ask(CutCalls(lane.tenant_id, agent_id if table is Agent else None)) == CallsCut(1)
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("hung_up_by_platform", "platform")
    lane.assert_talked(cdr, 0.7)
    lane.callee("callee_answers", is_idle=True)
    lane.caller("caller_refused", port=lane.second_port).wait()
    refused = wait_for("the refused call", lambda: [row for row in lane.cdrs() if row["id"] != cdr["id"]])
    assert refused[0]["cause"] == ("tenant_suspended" if table is Tenant else "no_binding")
