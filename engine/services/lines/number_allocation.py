"""X numbers go from the platform to a tenant, there to a department and to an agent, and back, each step remembered.

Everything runs in a ``writing_session``. Those are one at a time on both databases: a number that is read as idle is
idle still when it is given out, and so never in two hands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.refusal import NotNow, NotThere
from engine.services.lines.bindings import end_bindings
from engine.services.lines.carriers import check_permitted
from engine.services.lines.numbers import OwnerNotFound, XNumberNotFound, refuse_bound
from engine.services.lines.usable_lines import check_usable
from engine.store.access.audit import ActorKind
from engine.store.scope import Platform, Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables import Agent, Binding, Department, Line, Tenant, XNumber
from engine.store.tables.numbers import NumberMove

ALLOCATED_MAX = 5_000
"""Numbers that one request moves: it holds the writer's place meanwhile."""
IDS_IN_STATEMENT_MAX = 500
RELEASED_MAX = 500
"""Quarantines that one transaction ends."""
DAY_MS = 24 * 3600 * 1000


class MoveKind(StrEnum):
    ALLOCATED = "allocated"  # platform → tenant
    ASSIGNED = "assigned"  # within the tenant
    RETURNED = "returned"  # tenant → platform
    QUARANTINED = "quarantined"
    RELEASED = "released"  # from quarantine, or taken up again after it was retired
    RETIRED = "retired"


class NumberState(StrEnum):
    IDLE = "idle"
    ALLOCATED = "allocated"
    QUARANTINED = "quarantined"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class By:
    """Who moves numbers, when and why; ``user_id`` None is a machine."""

    now_ms: int
    user_id: int | None = None
    is_platform: bool = True
    reason: str = ""

    @classmethod
    def of(cls, session: AsyncSession, now_ms: int, reason: str = "") -> By:
        """Whoever the session's transaction is of, as its audit has him."""
        actor = session.info.get("actor")
        if actor is None:
            return cls(now_ms, reason=reason)
        is_platform = actor.tenant_id is None or actor.kind is ActorKind.JUMP
        return cls(now_ms, actor.user_id, is_platform, reason)


class TooFewNumbers(NotNow):
    def __init__(self, wanted: int, idle: int) -> None:
        super().__init__(
            "too_few_numbers", "count", f"{wanted} are wanted and {idle} are idle", (f"count<={idle}",) if idle else ()
        )


class WrongState(NotNow):
    """The number's state does not allow it."""

    def __init__(self, state: NumberState, allowed: Sequence[str]) -> None:
        super().__init__("number_state", "status", f"is {state.value}", allowed)


_ALLOWED = {
    NumberState.IDLE: ("allocate", "quarantine", "retire"),
    NumberState.ALLOCATED: ("assign", "return", "replace", "quarantine", "retire"),
    NumberState.QUARANTINED: ("release", "retire"),
    NumberState.RETIRED: ("release",),
}
"""What may be done with a number in each state."""


def state_of(x_number: XNumber) -> NumberState:
    if x_number.status in (NumberState.QUARANTINED, NumberState.RETIRED):
        return NumberState(x_number.status)
    return NumberState.IDLE if x_number.tenant_id is None else NumberState.ALLOCATED


def in_state(state: NumberState) -> ColumnElement[bool]:
    """The condition that a number is in ``state``."""
    if state in (NumberState.QUARANTINED, NumberState.RETIRED):
        return XNumber.status == state.value
    in_use = XNumber.status.in_(("active", "suspended"))
    return in_use & (XNumber.tenant_id.is_(None) if state is NumberState.IDLE else XNumber.tenant_id.is_not(None))


def _check(x_number: XNumber, action: str) -> None:
    state = state_of(x_number)
    if action not in _ALLOWED[state]:
        raise WrongState(state, _ALLOWED[state])


def _remember(session: AsyncSession, x_number: XNumber, kind: MoveKind, by: By, old: tuple[int | None, ...]) -> None:
    tenant_id, department_id, agent_id = old
    session.add(
        NumberMove(
            x_number_id=x_number.id,
            kind=kind.value,
            at_ms=by.now_ms,
            tenant_id=x_number.tenant_id if x_number.tenant_id is not None else tenant_id,
            from_department_id=department_id,
            from_agent_id=agent_id,
            to_department_id=x_number.department_id,
            to_agent_id=x_number.agent_id,
            reason=by.reason,
            by_user_id=by.user_id,
            by_platform=by.is_platform,
        )
    )


def _hands(x_number: XNumber) -> tuple[int | None, int | None, int | None]:
    return (x_number.tenant_id, x_number.department_id, x_number.agent_id)


async def read_number(session: AsyncSession, scope: Scope, x_number_id: int) -> XNumber:
    """Raises XNumberNotFound, for somebody else's as well."""
    x_number = await session.scalar(
        select(XNumber).where(
            XNumber.id == x_number_id, within(scope, tenant=XNumber.tenant_id, agent=XNumber.agent_id)
        )
    )
    if x_number is None:
        raise XNumberNotFound
    return x_number


async def read_numbers(session: AsyncSession, scope: Scope, ids: Sequence[int]) -> list[XNumber]:
    """Each once, in the order of ``ids``. Raises XNumberNotFound where one is not in ``scope``."""
    found: dict[int, XNumber] = {}
    wanted = list(dict.fromkeys(ids))
    mine = within(scope, tenant=XNumber.tenant_id, agent=XNumber.agent_id)
    for start in range(0, len(wanted), IDS_IN_STATEMENT_MAX):
        chunk = wanted[start : start + IDS_IN_STATEMENT_MAX]
        for row in await session.scalars(select(XNumber).where(XNumber.id.in_(chunk), mine)):
            found[row.id] = row
    if len(found) < len(wanted):
        raise XNumberNotFound
    return [found[each] for each in wanted]


async def allocate(session: AsyncSession, x_numbers: Sequence[XNumber], tenant_id: int, by: By) -> None:
    """Gives idle numbers to a tenant. Raises OwnerNotFound, NotPermitted, WrongState (then nothing has moved)."""
    if await session.get(Tenant, tenant_id) is None:
        raise OwnerNotFound("tenant_id")
    for line_id in {x_number.line_id for x_number in x_numbers}:
        await check_permitted(session, tenant_id, await session.get_one(Line, line_id))
    for x_number in x_numbers:
        _check(x_number, "allocate")
    for x_number in x_numbers:
        old = _hands(x_number)
        x_number.tenant_id = tenant_id
        x_number.in_use_since_ms = by.now_ms
        _remember(session, x_number, MoveKind.ALLOCATED, by, old)
    await session.flush()


async def allocate_of_line(
    session: AsyncSession, tenant_id: int, line_id: int, count: int, by: By, pool_id: int | None = None
) -> list[XNumber]:
    """Gives a tenant ``count`` idle numbers of a line, those first that have rested longest: also what a package does.

    Raises TooFewNumbers (and gives none then), OwnerNotFound, NotPermitted, ValueError beyond ALLOCATED_MAX.
    """
    if not 1 <= count <= ALLOCATED_MAX:
        raise ValueError("as many numbers are not moved at once")
    idle = await idle_numbers(session, line_id, count, pool_id)
    if len(idle) < count:
        raise TooFewNumbers(count, len(idle))
    await allocate(session, idle, tenant_id, by)
    return idle


async def idle_numbers(session: AsyncSession, line_id: int, count: int, pool_id: int | None = None) -> list[XNumber]:
    """At most ``count`` numbers that may be given out now, in the order in which they are."""
    statement = select(XNumber).where(
        XNumber.line_id == line_id, XNumber.status == "active", XNumber.tenant_id.is_(None)
    )
    if pool_id is not None:
        statement = statement.where(XNumber.pool_id == pool_id)
    return list(await session.scalars(statement.order_by(XNumber.idle_since_ms, XNumber.id).limit(count)))


async def allocate_to_tenant(
    session: AsyncSession, scope: Scope, x_number_id: int, tenant_id: int | None, now_ms: int
) -> XNumber:
    """Gives one number to a tenant, from whoever has it, or takes it back with ``None``.

    Raises XNumberNotFound, OwnerNotFound, NotPermitted, WrongState, XNumberInUse.
    """
    x_number = await read_number(session, scope, x_number_id)
    by = By.of(session, now_ms)
    if x_number.tenant_id == tenant_id:
        return x_number
    if x_number.tenant_id is not None:
        await take_back(session, [x_number], by)
    if tenant_id is not None:
        await allocate(session, [x_number], tenant_id, by)
    return x_number


async def allocate_to_agent(
    session: AsyncSession, scope: Scope, x_number_id: int, agent_id: int | None, now_ms: int
) -> XNumber:
    """Makes an agent of the number's tenant its owner; ``None``: it is its department's, or the tenant's, alone.

    Raises XNumberNotFound, OwnerNotFound, WrongState.
    """
    x_number = await read_number(session, scope, x_number_id)
    department_id = x_number.department_id if agent_id is None else None
    await assign(session, [x_number], department_id=department_id, agent_id=agent_id, by=By.of(session, now_ms))
    return x_number


async def assign(
    session: AsyncSession,
    x_numbers: Sequence[XNumber],
    *,
    department_id: int | None,
    agent_id: int | None,
    by: By,
) -> None:
    """Gives numbers of one tenant to a department of his, or to an agent: the agent's department then goes with it.

    Both None: they are the tenant's alone again. Raises OwnerNotFound, WrongState, LineNotPermitted.
    """
    for x_number in x_numbers:
        _check(x_number, "assign")
    for tenant_id in {x_number.tenant_id for x_number in x_numbers}:
        department_id = await _department(session, tenant_id, department_id, agent_id)
        if tenant_id is not None:
            line_ids = {x_number.line_id for x_number in x_numbers}
            field = "department_id" if agent_id is None else "agent_id"
            await check_usable(
                session, tenant_id, line_ids, agent_id=agent_id, department_id=department_id, field=field
            )
    await hand(session, x_numbers, department_id=department_id, agent_id=agent_id, by=by)


async def hand(
    session: AsyncSession,
    x_numbers: Sequence[XNumber],
    *,
    department_id: int | None,
    agent_id: int | None,
    by: By,
) -> None:
    """As ``assign``, to who was found good before: nothing is looked at."""
    for x_number in x_numbers:
        old = _hands(x_number)
        x_number.department_id, x_number.agent_id = department_id, agent_id
        if _hands(x_number) != old:
            _remember(session, x_number, MoveKind.ASSIGNED, by, old)
    await session.flush()


async def _department(
    session: AsyncSession, tenant_id: int | None, department_id: int | None, agent_id: int | None
) -> int | None:
    """The department that goes with the agent, or the one named. Raises OwnerNotFound for another tenant's."""
    if department_id is not None:
        found = select(Department.id).where(Department.id == department_id, Department.tenant_id == tenant_id)
        if await session.scalar(found) is None:
            raise OwnerNotFound("department_id")
    if agent_id is not None:
        agent = await session.scalar(select(Agent).where(Agent.id == agent_id, Agent.tenant_id == tenant_id))
        if agent is None:
            raise OwnerNotFound("agent_id")
        return agent.department_id if department_id is None else department_id
    return department_id


async def take_back(
    session: AsyncSession, x_numbers: Sequence[XNumber], by: By, *, ends_bindings: bool = False
) -> None:
    """Numbers go back to the platform, from whoever has them. Raises WrongState, XNumberInUse (nothing has moved)."""
    for x_number in x_numbers:
        _check(x_number, "return")
        await _unbind(session, x_number, by.now_ms, ends_bindings=ends_bindings)
    for x_number in x_numbers:
        _give_up(session, x_number, MoveKind.RETURNED, by)
    await session.flush()


async def quarantine(
    session: AsyncSession, x_number: XNumber, until_ms: int, by: By, *, ends_bindings: bool = False
) -> None:
    """Lets a number rest until ``until_ms``, from whoever has it. Raises WrongState, XNumberInUse."""
    _check(x_number, "quarantine")
    await _unbind(session, x_number, by.now_ms, ends_bindings=ends_bindings)
    x_number.status = NumberState.QUARANTINED.value
    x_number.quarantined_until_ms = until_ms
    _give_up(session, x_number, MoveKind.QUARANTINED, by)
    await session.flush()


async def retire(session: AsyncSession, x_number: XNumber, by: By, *, ends_bindings: bool = False) -> None:
    """A number that will not be given out again, but for a ``release``. Raises WrongState, XNumberInUse."""
    _check(x_number, "retire")
    await _unbind(session, x_number, by.now_ms, ends_bindings=ends_bindings)
    x_number.status = NumberState.RETIRED.value
    x_number.quarantined_until_ms = None
    _give_up(session, x_number, MoveKind.RETIRED, by)
    await session.flush()


async def release(session: AsyncSession, x_number: XNumber, by: By) -> None:
    """A number that rests, or was retired, is idle again. Raises WrongState."""
    _check(x_number, "release")
    x_number.status = "active"
    x_number.quarantined_until_ms = None
    _give_up(session, x_number, MoveKind.RELEASED, by)
    await session.flush()


async def release_rested(session: AsyncSession, now_ms: int) -> int:
    """Makes numbers idle whose quarantine is over; how many, at most RELEASED_MAX."""
    rested = await session.scalars(
        select(XNumber)
        .where(XNumber.status == NumberState.QUARANTINED.value, XNumber.quarantined_until_ms <= now_ms)
        .order_by(XNumber.quarantined_until_ms, XNumber.id)
        .limit(RELEASED_MAX)
    )
    count = 0
    for x_number in rested.all():
        await release(session, x_number, By(now_ms, reason="quarantine is over"))
        count += 1
    return count


def _give_up(session: AsyncSession, x_number: XNumber, kind: MoveKind, by: By) -> None:
    old = _hands(x_number)
    x_number.tenant_id = x_number.department_id = x_number.agent_id = x_number.bucket_id = None
    x_number.idle_since_ms = by.now_ms
    _remember(session, x_number, kind, by, old)


async def _unbind(session: AsyncSession, x_number: XNumber, now_ms: int, *, ends_bindings: bool) -> None:
    if not ends_bindings:
        await refuse_bound(session, x_number, now_ms)
        return
    live = select(Binding).where(Binding.x_number_id == x_number.id, Binding.ended_at_ms.is_(None))
    await end_bindings(session, (await session.scalars(live)).all(), now_ms)


async def read_moves(session: AsyncSession, scope: Scope, x_number_id: int, wanted: PageWanted) -> Sequence[NumberMove]:
    """A page of a number's history: to the platform all of it, to a tenant his own part. Raises NotThere."""
    statement = select(NumberMove).where(NumberMove.x_number_id == x_number_id)
    if not isinstance(scope, Platform):
        statement = statement.where(within(scope, tenant=NumberMove.tenant_id, agent=None))
        if await session.scalar(select(func.count()).select_from(statement.subquery())) == 0:
            await read_number(session, scope, x_number_id)
    elif await session.get(XNumber, x_number_id) is None:
        raise NotThere("X number")
    return (await session.scalars(wanted.of(statement))).all()
