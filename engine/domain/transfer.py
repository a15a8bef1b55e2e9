"""Whom an agent may put in its own place in a call."""

from __future__ import annotations

from engine.domain.cause import Cause
from engine.domain.lines.directory import Directory
from engine.domain.lines.routing import Direction, NoRoute, Parties, Route, route_axb
from engine.domain.money.charging import Rate, Tariff

WITHIN_TENANT = Rate(per_minute_micro=0, first_increment_seconds=1, next_increment_seconds=1)
"""A colleague's softphone costs nothing: the line that the other party is on goes on being charged by its own call."""


def route_transfer(
    directory: Directory, *, first: Route, agent_id: int, account: str, number: str | None, now_ms: int
) -> Route | NoRoute:
    """Where a transfer by that agent, out of the call ``first``, leads to.

    ``account`` is the name of a colleague's softphone; where there is none of that name, ``number`` is what the agent
    would have dialled, and what it may not dial it may not transfer to either. The other party of ``first`` stays
    whom it was shown as: its number is in no field that a callee is shown.
    """
    agent = directory.agents.get(agent_id)
    if agent is None or agent.status != "active":
        return NoRoute(Cause.NO_BINDING, first.parties)
    if directory.is_stopped(agent.tenant_id, agent.id):
        return NoRoute(Cause.VELOCITY_ALARM, first.parties)
    colleague = directory.sip_account(account)
    if colleague is not None:
        return _route_to_colleague(directory, first, agent_id, colleague.agent_id)
    route = route_axb(directory, caller=agent.phone, dialled=number, now_ms=now_ms)
    if isinstance(route, NoRoute):
        return route
    parties = first.parties
    other = parties.b_number if agent.phone == parties.a_number else parties.a_number
    if route.tenant_id != agent.tenant_id or route.callee_number in (other, agent.phone):
        return NoRoute(Cause.NO_BINDING, route.parties)
    return route


def _route_to_colleague(directory: Directory, first: Route, agent_id: int, colleague_id: int) -> Route | NoRoute:
    agent = directory.agents.get(colleague_id)
    if agent is None or agent.status != "active" or agent.tenant_id != first.tenant_id or colleague_id == agent_id:
        return NoRoute(Cause.UNKNOWN_X, first.parties)  # as for a name of nobody's: it tells nobody who is there
    return Route(
        parties=Parties(
            tenant_id=first.tenant_id,
            agent_id=agent.id,
            line_id=first.parties.line_id,
            binding_id=first.parties.binding_id,
            direction=Direction.B_TO_A,
            a_number=agent.phone,
            x_number=first.parties.x_number,
            b_number=first.parties.b_number,
        ),
        tenant_id=first.tenant_id,
        callee_number=agent.phone or "",
        callee_agent_id=agent.id,
        trunk=first.trunk,
        tariff=Tariff(WITHIN_TENANT, buy=WITHIN_TENANT),
        recording=False,
        softphones_only=True,
    )
