"""Who logs in, with what decides whether he may, and what he may then do."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.domain.people.permission import EVERYTHING, Audience, Permission, granted
from engine.store.tables import Agent, Tenant, User
from engine.store.tables.identity import ApiKey, Role, SecondFactor, UserSession


@dataclass(frozen=True, slots=True)
class UserRecord:
    id: int
    login: str
    password_hash: str = field(repr=False)
    role: str  # engine.domain.people.permission.Audience
    tenant_id: int | None
    agent_id: int | None
    status: str
    tenant_status: str | None
    agent_status: str | None
    role_permissions: Sequence[str] | None
    sealed_second_factor: str | None = field(repr=False)
    """None where there is none, or none that was confirmed."""

    @property
    def may_log_in(self) -> bool:
        """Only while he himself, his tenant and his agent are active, and his role has what it needs."""
        if self.status != "active":
            return False
        match self.role:
            case Audience.PLATFORM_ADMIN:
                return True
            case Audience.TENANT_ADMIN:
                return self.tenant_status == "active"
            case Audience.DEPARTMENT_HEAD | Audience.AGENT:
                return self.tenant_status == "active" and self.agent_status == "active"
            case _:
                return False

    @property
    def credential(self) -> str:
        """Changes with the password, and so ends the sessions that were begun with the old one."""
        return hashlib.sha256(self.password_hash.encode()).hexdigest()[:16]

    @property
    def permissions(self) -> frozenset[Permission]:
        names = (EVERYTHING,) if self.role_permissions is None else self.role_permissions
        return granted(Audience(self.role), names)


@dataclass(frozen=True, slots=True)
class SessionRecord:
    id: str
    user_id: int
    credential: str
    rotation: int
    expires_at_ms: int
    ended_at_ms: int | None
    acting_for_tenant_id: int | None
    reason: str

    def alive(self, now_ms: int) -> bool:
        return self.ended_at_ms is None and now_ms < self.expires_at_ms


@dataclass(frozen=True, slots=True)
class KeyRecord:
    id: int
    tenant_id: int
    name: str
    key_hash: str = field(repr=False)
    permissions: Sequence[str]
    requests_per_minute_max: int
    expires_at_ms: int | None
    last_used_at_ms: int | None
    revoked_at_ms: int | None
    tenant_status: str

    def alive(self, now_ms: int) -> bool:
        in_time = self.expires_at_ms is None or now_ms < self.expires_at_ms
        return in_time and self.revoked_at_ms is None and self.tenant_status == "active"


async def user_by_login(connection: AsyncConnection, login: str) -> UserRecord | None:
    return await _user(connection, User.login == login)


async def user_by_id(connection: AsyncConnection, user_id: int) -> UserRecord | None:
    return await _user(connection, User.id == user_id)


async def session_by_id(connection: AsyncConnection, session_id: str) -> SessionRecord | None:
    columns = (
        UserSession.id,
        UserSession.user_id,
        UserSession.credential,
        UserSession.rotation,
        UserSession.expires_at_ms,
        UserSession.ended_at_ms,
        UserSession.acting_for_tenant_id,
        UserSession.reason,
    )
    row = (await connection.execute(select(*columns).where(UserSession.id == session_id))).one_or_none()
    return None if row is None else SessionRecord(*row)


async def key_by_prefix(connection: AsyncConnection, prefix: str) -> KeyRecord | None:
    row = (
        await connection.execute(
            select(
                ApiKey.id,
                ApiKey.tenant_id,
                ApiKey.name,
                ApiKey.key_hash,
                ApiKey.permissions,
                ApiKey.requests_per_minute_max,
                ApiKey.expires_at_ms,
                ApiKey.last_used_at_ms,
                ApiKey.revoked_at_ms,
                Tenant.status,
            )
            .join(Tenant, Tenant.id == ApiKey.tenant_id)
            .where(ApiKey.prefix == prefix)
        )
    ).one_or_none()
    return None if row is None else KeyRecord(*row)


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
                Role.permissions,
                SecondFactor.sealed_secret,
            )
            .outerjoin(Tenant, Tenant.id == User.tenant_id)
            # An agent of another tenant than the user's is nobody, and so is a role of another audience.
            .outerjoin(Agent, (Agent.id == User.agent_id) & (Agent.tenant_id == User.tenant_id))
            .outerjoin(Role, (Role.id == User.role_id) & (Role.audience == User.role))
            .outerjoin(SecondFactor, (SecondFactor.user_id == User.id) & SecondFactor.confirmed_at_ms.is_not(None))
            .where(condition)
        )
    ).one_or_none()
    return None if row is None else UserRecord(*row)
