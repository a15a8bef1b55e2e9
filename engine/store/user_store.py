"""Who logs in, with what decides whether he may."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.tables import Agent, Tenant, User


@dataclass(frozen=True, slots=True)
class UserRecord:
    id: int
    login: str
    password_hash: str = field(repr=False)
    role: str  # platform_admin | tenant_admin | agent
    tenant_id: int | None
    agent_id: int | None
    status: str
    tenant_status: str | None
    agent_status: str | None

    @property
    def may_log_in(self) -> bool:
        """Only while he himself, his tenant and his agent are active, and his role has what it needs."""
        if self.status != "active":
            return False
        match self.role:
            case "platform_admin":
                return True
            case "tenant_admin":
                return self.tenant_status == "active"
            case "agent":
                return self.tenant_status == "active" and self.agent_status == "active"
            case _:
                return False


async def user_by_login(connection: AsyncConnection, login: str) -> UserRecord | None:
    return await _user(connection, User.login == login)


async def user_by_id(connection: AsyncConnection, user_id: int) -> UserRecord | None:
    return await _user(connection, User.id == user_id)


async def _user(connection: AsyncConnection, condition: ColumnElement[bool]) -> UserRecord | None:
    row = (
        await connection.execute(
            select(
                User.id,
                User.login,
                User.password_hash,
                User.role,
                User.tenant_id,
                User.agent_id,
                User.status,
                Tenant.status,
                Agent.status,
            )
            .outerjoin(Tenant, Tenant.id == User.tenant_id)
            # An agent of another tenant than the user's is nobody.
            .outerjoin(Agent, (Agent.id == User.agent_id) & (Agent.tenant_id == User.tenant_id))
            .where(condition)
        )
    ).one_or_none()
    return None if row is None else UserRecord(*row)
