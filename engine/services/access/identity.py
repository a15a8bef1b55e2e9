"""Roles and users: who may make whom. Nobody gives what he has not, nor touches one who may do more than he."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.people.permission import EVERYTHING, Audience, Permission, at_most, granted
from engine.domain.refusal import NotNow, NotThere, Refusal
from engine.services.access import second_factor
from engine.services.access.sessions import EndReason, end_sessions
from engine.store.scope import Platform, TenantScope, within
from engine.store.sorting import PageWanted
from engine.store.tables import Agent, User
from engine.store.tables.identity import Role

ROLES_MAX = 100
"""That a tenant makes, and the platform."""

Maker = Platform | TenantScope


@dataclass(frozen=True, slots=True)
class NewUserFacts:
    login: str
    password_hash: str
    audience: Audience
    role_id: int | None
    tenant_id: int | None
    agent_id: int | None


def audiences_of(maker: Maker) -> tuple[Audience, ...]:
    """Of which he makes roles."""
    if isinstance(maker, Platform):
        return (Audience.PLATFORM_ADMIN,)
    return (Audience.TENANT_ADMIN, Audience.DEPARTMENT_HEAD, Audience.AGENT)


async def roles_page(session: AsyncSession, maker: Maker, wanted: PageWanted) -> Sequence[Role]:
    """The platform sees its own and the built-in roles, a tenant its own and those of the built-in ones it may give."""
    return (await session.scalars(wanted.of(select(Role).where(_seen(maker))))).all()


async def role_of(session: AsyncSession, maker: Maker, role_id: int) -> Role:
    """One role that ``maker`` sees. Raises NotThere."""
    role = await session.scalar(select(Role).where(Role.id == role_id, _seen(maker)))
    if role is None:
        raise NotThere("role")
    return role


async def create_role(
    session: AsyncSession,
    maker: Maker,
    held: frozenset[Permission],
    *,
    audience: Audience,
    name: str,
    permissions: Iterable[str],
) -> Role:
    """Raises Refusal."""
    if audience not in audiences_of(maker):
        raise Refusal("role.audience", "audience", "you make no roles of it")
    own = select(func.count()).select_from(Role).where(_own(maker), Role.built_in.is_(False))
    if (await session.scalar(own) or 0) >= ROLES_MAX:
        raise NotNow("role.too_many", "name", f"there are at most {ROLES_MAX} roles")
    tenant_id = maker.tenant_id if isinstance(maker, TenantScope) else None
    await _refuse_taken(session, maker, audience, name, None)
    role = Role(tenant_id=tenant_id, audience=audience.value, name=name, built_in=False)
    role.permissions = _checked(audience, permissions, held)
    session.add(role)
    await session.flush()
    return role


async def change_role(
    session: AsyncSession,
    maker: Maker,
    held: frozenset[Permission],
    role_id: int,
    *,
    name: str | None,
    permissions: Iterable[str] | None,
) -> Role:
    """At once for all that have it. Raises NotThere, Refusal."""
    role = await _own_role(session, maker, role_id)
    audience = Audience(role.audience)
    _refuse_beyond(granted(audience, role.permissions), held, "permissions")
    if name is not None:
        await _refuse_taken(session, maker, audience, name, role_id)
        role.name = name
    if permissions is not None:
        role.permissions = _checked(audience, permissions, held)
    await session.flush()
    return role


async def delete_role(session: AsyncSession, maker: Maker, held: frozenset[Permission], role_id: int) -> None:
    """Raises NotThere, and NotNow while somebody has it."""
    role = await _own_role(session, maker, role_id)
    _refuse_beyond(granted(Audience(role.audience), role.permissions), held, "permissions")
    if await session.scalar(select(User.id).where(User.role_id == role_id).limit(1)) is not None:
        raise NotNow("role.in_use", "role_id", "somebody has it: give him another first", ["give another"])
    await session.delete(role)


async def create_user(session: AsyncSession, maker: Maker, held: frozenset[Permission], new: NewUserFacts) -> User:
    """Raises Refusal."""
    audience = new.audience
    if isinstance(maker, TenantScope) and (audience not in audiences_of(maker) or new.tenant_id != maker.tenant_id):
        raise Refusal("user.role", "role", "is not of your company")
    if (audience is not Audience.PLATFORM_ADMIN) != (new.tenant_id is not None):
        raise Refusal("user.tenant", "tenant_id", "goes with every role but platform_admin, and only with them")
    with_agent = audience in (Audience.AGENT, Audience.DEPARTMENT_HEAD)
    if with_agent != (new.agent_id is not None):
        raise Refusal("user.agent", "agent_id", "goes with the roles department_head and agent, and only with them")
    if new.agent_id is not None:
        agent = await session.get(Agent, new.agent_id)
        if agent is None or agent.tenant_id != new.tenant_id:
            raise Refusal("user.agent", "agent_id", "is no agent of the tenant")
    role = await _role_for(session, audience, new.tenant_id, new.role_id)
    _refuse_user_beyond(maker, held, audience, role)
    user = User(login=new.login, password_hash=new.password_hash, role=audience.value, role_id=role.id)
    user.tenant_id, user.agent_id = new.tenant_id, new.agent_id
    session.add(user)
    await session.flush()
    return user


async def change_user(
    session: AsyncSession,
    maker: Maker,
    held: frozenset[Permission],
    user_id: int,
    *,
    now_ms: int,
    password_hash: str | None = None,
    status: str | None = None,
    role_id: int | None = None,
) -> User:
    """Ends his sessions where the password or the status changes. Raises NotThere, Refusal."""
    user = await _reachable(session, maker, held, user_id)
    if role_id is not None:
        audience = Audience(user.role)
        role = await _role_for(session, audience, user.tenant_id, role_id)
        _refuse_user_beyond(maker, held, audience, role)
        user.role_id = role.id
    if status is not None:
        user.status = status
    if password_hash is not None:
        user.password_hash = password_hash
    if password_hash is not None or (status is not None and status != "active"):
        await end_sessions(session, user_id, now_ms, EndReason.PASSWORD)
    await session.flush()
    return user


async def reset_second_factor(session: AsyncSession, maker: Maker, held: frozenset[Permission], user_id: int) -> None:
    """For one who has lost his phone and his codes. Raises NotThere, Refusal, NotNow."""
    await _reachable(session, maker, held, user_id)
    if not await second_factor.remove(session, user_id):
        raise NotNow("second_factor.none", "user_id", "there is no second factor")


async def _reachable(session: AsyncSession, maker: Maker, held: frozenset[Permission], user_id: int) -> User:
    owner = within(maker, tenant=User.tenant_id, agent=None)
    user = await session.scalar(select(User).where(User.id == user_id, owner))
    if user is None:
        raise NotThere("user")
    role = None if user.role_id is None else await session.get(Role, user.role_id)
    _refuse_user_beyond(maker, held, Audience(user.role), role)
    return user


async def _role_for(session: AsyncSession, audience: Audience, tenant_id: int | None, role_id: int | None) -> Role:
    """The role of that id, or the built-in one; Refusal where it is another audience's or tenant's."""
    if role_id is None:
        statement = select(Role).where(Role.audience == audience.value, Role.built_in.is_(True))
    else:
        owner = Role.tenant_id.is_(None) | (Role.tenant_id == tenant_id)
        statement = select(Role).where(Role.id == role_id, Role.audience == audience.value, owner)
    role = await session.scalar(statement)
    if role is None:
        raise Refusal("role.unknown", "role_id", "is no role that he could have")
    return role


def _refuse_user_beyond(maker: Maker, held: frozenset[Permission], audience: Audience, role: Role | None) -> None:
    """The platform stands above tenants' people; among one's own, one reaches those who may do no more than oneself."""
    if isinstance(maker, Platform) and audience is not Audience.PLATFORM_ADMIN:
        return
    names = (EVERYTHING,) if role is None else role.permissions
    _refuse_beyond(granted(audience, names), held, "role_id")


def _refuse_beyond(wanted: frozenset[Permission], held: frozenset[Permission], field: str) -> None:
    if beyond := sorted(wanted - held):
        raise Refusal("role.beyond", field, f"you have not yourself: {', '.join(beyond)[:200]}")


def _checked(audience: Audience, names: Iterable[str], held: frozenset[Permission]) -> list[str]:
    wanted = set(names)
    if unknown := sorted(wanted - {permission.value for permission in at_most(audience)}):
        raise Refusal("role.permissions", "permissions", f"nobody of {audience} has {', '.join(unknown)[:200]}")
    _refuse_beyond(granted(audience, wanted), held, "permissions")
    return sorted(wanted)


async def _own_role(session: AsyncSession, maker: Maker, role_id: int) -> Role:
    role = await role_of(session, maker, role_id)
    if role.built_in:
        raise NotNow("role.built_in", "role_id", "is built in: make one of your own", ["create"])
    return role


async def _refuse_taken(
    session: AsyncSession, maker: Maker, audience: Audience, name: str, role_id: int | None
) -> None:
    """By a query: a unique key takes two of the platform's, which have no tenant, for different."""
    same = select(Role.id).where(
        _own(maker), Role.audience == audience.value, Role.name == name, Role.id != (role_id or 0)
    )
    if await session.scalar(same) is not None:
        raise NotNow("role.name_taken", "name", "is taken")


def _own(maker: Maker) -> ColumnElement[bool]:
    return Role.tenant_id.is_(None) if isinstance(maker, Platform) else Role.tenant_id == maker.tenant_id


def _seen(maker: Maker) -> ColumnElement[bool]:
    if isinstance(maker, Platform):
        return Role.tenant_id.is_(None)
    given = Role.built_in.is_(True) & Role.audience.in_([audience.value for audience in audiences_of(maker)])
    return _own(maker) | given
