"""Sessions: begun by a login or a jump, kept alive by refreshes, ended by whoever may.

A refresh token is good once. One of an earlier rotation is in two hands, and nobody can tell which is the thief's: the
session ends for both (RFC 9700 §4.14.2).
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.refusal import NotThere
from engine.store.access.audit import audit
from engine.store.tables import Tenant, User
from engine.store.tables.identity import UserSession

SESSIONS_PER_USER_MAX = 20
"""One more ends the oldest."""
KEPT_MS = 30 * 24 * 3600 * 1000
"""How long a session that is over is still in the list."""
SWEPT_ROWS_MAX = 1_000
JUMP_MS = 30 * 60 * 1000


class EndReason(StrEnum):
    LOGOUT = "logout"
    EVERYWHERE = "everywhere"
    REUSE = "reuse"
    REPLACED = "replaced"
    EXPIRED = "expired"
    PASSWORD = "password"  # noqa: S105 - a reason


async def begin_session(
    session: AsyncSession,
    user_id: int,
    credential: str,
    *,
    session_id: str,
    address: str,
    now_ms: int,
    expires_at_ms: int,
) -> UserSession:
    alive = (await session.scalars(_alive(user_id, now_ms))).all()
    for old in alive[: max(0, len(alive) - SESSIONS_PER_USER_MAX + 1)]:
        _end(session, old, EndReason.REPLACED, now_ms)
    row = UserSession(
        id=session_id,
        user_id=user_id,
        credential=credential,
        created_at_ms=now_ms,
        used_at_ms=now_ms,
        expires_at_ms=expires_at_ms,
        address=address,
    )
    session.add(row)
    audit(session, "login", "users", user_id, tenant_id=await _tenant_of(session, user_id))
    return row


async def begin_jump(
    session: AsyncSession,
    user_id: int,
    credential: str,
    tenant_id: int,
    *,
    session_id: str,
    address: str,
    reason: str,
    now_ms: int,
) -> UserSession:
    """A session in which somebody of the platform acts for a tenant, for JUMP_MS. Raises NotThere."""
    if await session.get(Tenant, tenant_id) is None:
        raise NotThere("tenant")
    row = UserSession(
        id=session_id,
        user_id=user_id,
        credential=credential,
        created_at_ms=now_ms,
        used_at_ms=now_ms,
        expires_at_ms=now_ms + JUMP_MS,
        address=address,
        acting_for_tenant_id=tenant_id,
        reason=reason,
    )
    session.add(row)
    after = {"session_id": session_id, "reason": reason, "until_ms": row.expires_at_ms}
    audit(session, "jump.begin", "tenants", tenant_id, tenant_id=tenant_id, after=after)
    return row


async def refresh_session(
    session: AsyncSession, session_id: str, rotation: int, credential: str, now_ms: int
) -> UserSession | None:
    """The session after one more rotation; None where it is over, or where this ended it: commit either."""
    row = await session.get(UserSession, session_id)
    if row is None or row.ended_at_ms is not None or row.expires_at_ms <= now_ms or row.acting_for_tenant_id:
        return None
    if row.rotation != rotation:
        _end(session, row, EndReason.REUSE, now_ms)
        audit(
            session,
            "session.reuse",
            "users",
            row.user_id,
            tenant_id=await _tenant_of(session, row.user_id),
            after={"session_id": row.id},
        )
        return None
    if row.credential != credential:
        _end(session, row, EndReason.PASSWORD, now_ms)
        return None
    row.rotation += 1
    row.used_at_ms = now_ms
    return row


async def end_session(session: AsyncSession, user_id: int, session_id: str, now_ms: int) -> None:
    """Ends one of a user's own. Raises NotThere; one that is over stays as it is."""
    row = await session.scalar(select(UserSession).where(UserSession.id == session_id, UserSession.user_id == user_id))
    if row is None:
        raise NotThere("session")
    if row.ended_at_ms is None:
        _end(session, row, EndReason.LOGOUT, now_ms)
        if row.acting_for_tenant_id is None:
            audit(session, "logout", "users", user_id, tenant_id=await _tenant_of(session, user_id))


async def end_sessions(session: AsyncSession, user_id: int, now_ms: int, reason: EndReason) -> int:
    """Ends all of a user's, jumps with them; how many were alive."""
    rows = (await session.scalars(_alive(user_id, now_ms, jumps=True))).all()
    for row in rows:
        _end(session, row, reason, now_ms)
    return len(rows)


async def sessions_of(session: AsyncSession, user_id: int, now_ms: int) -> list[UserSession]:
    """Those that are alive, the oldest first."""
    return list((await session.scalars(_alive(user_id, now_ms, jumps=True))).all())


async def sweep_sessions(session: AsyncSession, now_ms: int) -> int:
    """Ends jumps whose time is over, so that the audit log says when, and forgets what is over for KEPT_MS."""
    jumps = select(UserSession).where(
        UserSession.acting_for_tenant_id.is_not(None),
        UserSession.ended_at_ms.is_(None),
        UserSession.expires_at_ms <= now_ms,
    )
    for row in (await session.scalars(jumps.limit(SWEPT_ROWS_MAX))).all():
        _end(session, row, EndReason.EXPIRED, row.expires_at_ms)
    old = select(UserSession.id).where(UserSession.expires_at_ms < now_ms - KEPT_MS).limit(SWEPT_ROWS_MAX)
    ids = (await session.scalars(old)).all()
    if ids:
        await session.execute(delete(UserSession).where(UserSession.id.in_(ids)))
    return len(ids)


def _alive(user_id: int, now_ms: int, *, jumps: bool = False) -> Select[UserSession]:
    statement = select(UserSession).where(
        UserSession.user_id == user_id, UserSession.ended_at_ms.is_(None), UserSession.expires_at_ms > now_ms
    )
    if not jumps:
        statement = statement.where(UserSession.acting_for_tenant_id.is_(None))
    return statement.order_by(UserSession.created_at_ms, UserSession.id)


def _end(session: AsyncSession, row: UserSession, reason: EndReason, now_ms: int) -> None:
    row.ended_at_ms, row.end_reason = now_ms, reason.value
    if row.acting_for_tenant_id is not None:
        after = {"session_id": row.id, "reason": reason.value, "ended_at_ms": now_ms}
        tenant_id = row.acting_for_tenant_id
        audit(session, "jump.end", "tenants", tenant_id, tenant_id=tenant_id, after=after)


async def _tenant_of(session: AsyncSession, user_id: int) -> int | None:
    tenant_id: int | None = await session.scalar(select(User.tenant_id).where(User.id == user_id))
    return tenant_id
