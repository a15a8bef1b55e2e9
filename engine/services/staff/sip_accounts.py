"""Agents' softphones: accounts whose passwords are made for them, shown once, and kept as digests alone."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.refusal import NotNow, NotThere
from engine.services.access.credentials import sip_ha1
from engine.services.staff.agents import agent_of
from engine.store.listing import owned
from engine.store.scope import Scope
from engine.store.tables import Agent, SipAccount

ACCOUNTS_MAX = 8
"""Of one agent; a call rings no more of his softphones at once (``engine.b2bua.registration.RINGING_TOGETHER_MAX``)."""


async def sip_accounts_of(session: AsyncSession, scope: Scope, agent_id: int) -> Sequence[SipAccount]:
    """Raises NotThere."""
    await agent_of(session, scope, agent_id)
    statement = select(SipAccount).where(SipAccount.agent_id == agent_id).order_by(SipAccount.id)
    return (await session.scalars(statement)).all()


async def create_sip_account(
    session: AsyncSession, scope: Scope, agent_id: int, *, realm: str, password: str
) -> SipAccount:
    """The username is of our making: one that a tenant chose could be refused for another tenant's.

    Raises NotThere, NotNow.
    """
    agent = await agent_of(session, scope, agent_id)
    if agent.status == "left":
        raise NotNow("agent.left", "agent_id", "the agent has left")
    count = select(func.count()).select_from(SipAccount).where(SipAccount.agent_id == agent_id)
    if (await session.scalar(count) or 0) >= ACCOUNTS_MAX:
        raise NotNow(
            "sip_account.too_many", "agent_id", f"an agent has at most {ACCOUNTS_MAX} accounts", ["delete one"]
        )
    username = await _free_username(session, agent_id)
    account = SipAccount(agent_id=agent_id, username=username, realm=realm, status="active")
    account.ha1_md5, account.ha1_sha256 = sip_ha1(username, realm, password)
    session.add(account)
    await session.flush()
    return account


async def _free_username(session: AsyncSession, agent_id: int) -> str:
    # A provisioning file may have given names of this shape to others.
    like_ours = SipAccount.username.startswith(f"{agent_id}-")
    taken = set((await session.scalars(select(SipAccount.username).where(like_ours))).all())
    return next(name for n in range(1, len(taken) + 2) if (name := f"{agent_id}-{n}") not in taken)


async def change_sip_password(
    session: AsyncSession, scope: Scope, account_id: int, *, realm: str, password: str
) -> SipAccount:
    """A phone with the old one is out at its next request; until its registration ends, it is rung. Raises NotThere."""
    account = await _account(session, scope, account_id)
    account.realm = realm
    account.ha1_md5, account.ha1_sha256 = sip_ha1(account.username, realm, password)
    await session.flush()
    return account


async def set_sip_account_status(session: AsyncSession, scope: Scope, account_id: int, status: str) -> SipAccount:
    """Raises NotThere; NotNow for an account of somebody who has left."""
    account = await _account(session, scope, account_id)
    if status == "active" and (await session.get_one(Agent, account.agent_id)).status == "left":
        raise NotNow("agent.left", "status", "the agent has left")
    account.status = status
    await session.flush()
    return account


async def delete_sip_account(session: AsyncSession, scope: Scope, account_id: int) -> None:
    """Raises NotThere."""
    await session.delete(await _account(session, scope, account_id))
    await session.flush()


async def _account(session: AsyncSession, scope: Scope, account_id: int) -> SipAccount:
    his = select(Agent.id).where(owned(scope, Agent))
    account = await session.scalar(select(SipAccount).where(SipAccount.id == account_id, SipAccount.agent_id.in_(his)))
    if account is None:
        raise NotThere("SIP account")
    return account
