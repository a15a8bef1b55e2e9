"""Bindings (A, X, B): who may make one, and that nobody is twice on one X.

The rows of ``binding_parties`` decide: (X, number) is their primary key, so that two bindings made at the same moment
cannot both be in force, whatever was read before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.lines.number import InvalidNumber, normalise
from engine.services.lines.usable_lines import check_usable
from engine.store.scope import AgentScope, Scope, TenantScope, within
from engine.store.tables import Agent, Binding, BindingParty, XNumber

BindingDirection = Literal["both", "a_to_b", "b_to_a"]
EXPIRED_ENDED_MAX = 500
"""Expired bindings that one sweep ends; the next one takes the others."""


class BindingRefused(Exception):
    """The request's fault: ``field`` names what is wrong with it, ``reason`` why. Holds no number."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class BindingConflict(BindingRefused):
    """A or B is in another live binding on this X; ``side`` says which, and nothing says which binding."""

    def __init__(self, side: Literal["a", "b"]) -> None:
        super().__init__(f"{side}_number", "is in a live binding on this X number")
        self.side = side


class BindingNotFound(Exception):
    """There is no such live binding, or it is somebody else's: the answer is the same."""


def canonical(text: str, field: str) -> str:
    """A number as it is stored; BindingRefused where it is none."""
    try:
        return normalise(text)
    except InvalidNumber as error:
        raise BindingRefused(field, f"is no phone number: {error}") from error


async def create_binding(
    session: AsyncSession,
    scope: TenantScope | AgentScope,
    *,
    binding_id: str,
    x_number: str,
    b_number: str,
    a_number: str | None = None,
    agent_id: int | None = None,
    direction: BindingDirection = "both",
    recording: bool = True,
    expires_at_ms: int | None = None,
    now_ms: int,
) -> Binding:
    """Binds A and B on X until ``expires_at_ms`` (``None``: until it is ended).

    Without ``a_number`` A is the agent's phone. An agent binds his own phone alone, on X numbers that are his.
    Raises BindingRefused, BindingConflict where A or B is taken, and LineNotPermitted.
    """
    if isinstance(scope, AgentScope):
        agent_id = scope.agent_id
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        raise BindingRefused("expires_at_ms", "is past")
    a = await _a_side(session, scope, agent_id, a_number)
    b = canonical(b_number, "b_number")
    x = await _x_for(session, scope, canonical(x_number, "x_number"))
    await check_usable(
        session, scope.tenant_id, [x.line_id], agent_id=agent_id, department_id=x.department_id, field="x_number"
    )
    if a == b:
        raise BindingRefused("b_number", "is the same as A")
    for field, number in (("a_number", a), ("b_number", b)):
        if number == x.number:
            raise BindingRefused(field, "is the X number itself")
    await _end_expired_parties(session, x.id, (a, b), now_ms)
    binding = Binding(
        id=binding_id,
        tenant_id=scope.tenant_id,
        agent_id=agent_id,
        x_number_id=x.id,
        a_number=a,
        b_number=b,
        direction=direction,
        recording=recording,
        created_at_ms=now_ms,
        expires_at_ms=expires_at_ms,
        ended_at_ms=None,
    )
    parties = [
        BindingParty(x_number_id=x.id, party_number=number, binding_id=binding_id, expires_at_ms=expires_at_ms)
        for number in (a, b)
    ]
    try:
        # A savepoint, so that a refused binding leaves nothing in the caller's transaction.
        async with session.begin_nested():
            session.add(binding)
            await session.flush()
            session.add_all(parties)
            await session.flush()
    except IntegrityError as error:
        side = await _side_taken(session, x.id, a, b)
        if side is None:
            raise
        raise BindingConflict(side) from error
    return binding


async def _a_side(
    session: AsyncSession, scope: TenantScope | AgentScope, agent_id: int | None, a_number: str | None
) -> str:
    phone = None
    if agent_id is not None:
        agent = await session.scalar(
            select(Agent).where(Agent.id == agent_id, Agent.tenant_id == scope.tenant_id, Agent.status == "active")
        )
        if agent is None:
            raise BindingRefused("agent_id", "is no active agent")
        phone = agent.phone
    if a_number is None:
        if phone is None:
            raise BindingRefused("a_number", "is missing: there is no agent's phone to take")
        return phone
    number = canonical(a_number, "a_number")
    if isinstance(scope, AgentScope) and number != phone:
        raise BindingRefused("a_number", "is not your own phone")
    return number


async def _x_for(session: AsyncSession, scope: TenantScope | AgentScope, number: str) -> XNumber:
    x = await session.scalar(
        select(XNumber).where(
            XNumber.number == number,
            XNumber.status == "active",
            within(scope, tenant=XNumber.tenant_id, agent=XNumber.agent_id),
        )
    )
    if x is None:
        # The same whether it is another's, or nobody's: who asks learns nothing of other tenants' numbers.
        raise BindingRefused("x_number", "is no X number allocated to you")
    return x


async def _end_expired_parties(session: AsyncSession, x_number_id: int, numbers: Sequence[str], now_ms: int) -> None:
    expired = await session.scalars(
        select(BindingParty.binding_id).where(
            BindingParty.x_number_id == x_number_id,
            BindingParty.party_number.in_(numbers),
            BindingParty.expires_at_ms <= now_ms,
        )
    )
    for binding_id in set(expired):
        binding = await session.get_one(Binding, binding_id)
        await _end(session, binding, binding.expires_at_ms or now_ms)


async def _side_taken(session: AsyncSession, x_number_id: int, a: str, b: str) -> Literal["a", "b"] | None:
    taken = (
        await session.scalars(
            select(BindingParty.party_number).where(
                BindingParty.x_number_id == x_number_id, BindingParty.party_number.in_((a, b))
            )
        )
    ).all()
    if not taken:
        return None
    return "a" if a in taken else "b"


async def _end(session: AsyncSession, binding: Binding, at_ms: int) -> None:
    binding.ended_at_ms = at_ms
    await session.flush()
    await session.execute(delete(BindingParty).where(BindingParty.binding_id == binding.id))


async def _live(session: AsyncSession, scope: Scope, binding_id: str, now_ms: int) -> Binding:
    binding = await session.scalar(
        select(Binding).where(
            Binding.id == binding_id,
            Binding.ended_at_ms.is_(None),
            Binding.expires_at_ms.is_(None) | (Binding.expires_at_ms > now_ms),
            within(scope, tenant=Binding.tenant_id, agent=Binding.agent_id),
        )
    )
    if binding is None:
        raise BindingNotFound
    return binding


async def unbind(session: AsyncSession, scope: Scope, binding_id: str, now_ms: int) -> Binding:
    """Ends a live binding. Raises BindingNotFound, also for one that has ended or expired already."""
    binding = await _live(session, scope, binding_id, now_ms)
    await _end(session, binding, now_ms)
    return binding


async def move_a_side(session: AsyncSession, binding: Binding, number: str, now_ms: int) -> bool:
    """Gives a live binding another A. False where that number is on this X already: then the binding is ended."""
    x_number = await session.get_one(XNumber, binding.x_number_id)
    await _end_expired_parties(session, x_number.id, (number,), now_ms)
    if x_number.number == number or await _side_taken(session, x_number.id, number, number) is not None:
        await _end(session, binding, now_ms)
        return False
    await session.execute(
        update(BindingParty)
        .where(BindingParty.binding_id == binding.id, BindingParty.party_number == binding.a_number)
        .values(party_number=number)
    )
    binding.a_number = number
    await session.flush()
    return True


async def live_bindings_of(session: AsyncSession, agent_id: int, now_ms: int) -> Sequence[Binding]:
    """An agent's bindings that are in force, the oldest first."""
    statement = select(Binding).where(
        Binding.agent_id == agent_id,
        Binding.ended_at_ms.is_(None),
        Binding.expires_at_ms.is_(None) | (Binding.expires_at_ms > now_ms),
    )
    return (await session.scalars(statement.order_by(Binding.created_at_ms, Binding.id))).all()


async def end_bindings(session: AsyncSession, bindings: Sequence[Binding], now_ms: int) -> None:
    for binding in bindings:
        await _end(session, binding, now_ms)


async def set_expiry(
    session: AsyncSession, scope: Scope, binding_id: str, expires_at_ms: int | None, now_ms: int
) -> Binding:
    """Lets a live binding end at another time, ``None`` for never. Raises BindingNotFound, BindingRefused."""
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        raise BindingRefused("expires_at_ms", "is past")
    binding = await _live(session, scope, binding_id, now_ms)
    binding.expires_at_ms = expires_at_ms
    await session.flush()
    await session.execute(
        update(BindingParty).where(BindingParty.binding_id == binding_id).values(expires_at_ms=expires_at_ms)
    )
    return binding


async def end_expired(session: AsyncSession, now_ms: int) -> int:
    """Ends up to EXPIRED_ENDED_MAX bindings whose time is over, at that time; how many. Engines go by the expiry."""
    expired = await session.scalars(
        select(Binding).where(Binding.ended_at_ms.is_(None), Binding.expires_at_ms <= now_ms).limit(EXPIRED_ENDED_MAX)
    )
    bindings = expired.all()
    for binding in bindings:
        binding.ended_at_ms = binding.expires_at_ms
    await session.flush()
    ended = [binding.id for binding in bindings]
    await session.execute(delete(BindingParty).where(BindingParty.binding_id.in_(ended)))
    return len(ended)
