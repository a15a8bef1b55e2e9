"""What hangs on an agent and must go somewhere as he leaves: one entry for each kind, which later modules add to.

A kind says which rows are his, and what becomes of their columns. That is enough to preview, to carry out and to undo
it; where more hangs on a row (a binding's parties), the kind has hooks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.tables import (
    Agent,
    Binding,
    BindingParty,
    DepartmentHead,
    MinutesBucket,
    SipAccount,
    Table,
    XNumber,
)
from engine.store.tables.numbers import NumberMove


@dataclass(frozen=True, slots=True)
class Leaving:
    """Who leaves, and who takes over: ``successor_id`` is None where everything goes back to the pools."""

    agent: Agent
    successor_id: int | None
    now_ms: int


async def _nothing(_session: AsyncSession, _row: Any, _old: dict[str, Any], _now_ms: int) -> None:
    pass


async def _free(_session: AsyncSession, _row: Any, _before: dict[str, Any], _now_ms: int) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Belonging:
    """One kind. ``table`` has a key of one column, or ``change`` is None: then the rows are deleted, and made again."""

    kind: str
    table: type[Table]
    his: Callable[[Leaving], ColumnElement[bool]]
    change: Callable[[Leaving], dict[str, Any]] | None
    """The new values of the columns that change."""
    same: tuple[str, ...] = ()
    """Further columns that must be as they were for an undo: with another tenant the number is out of reach."""
    changed: Callable[[AsyncSession, Any, dict[str, Any], int], Awaitable[None]] = _nothing
    """After a row was changed, with what its columns were."""
    can_restore: Callable[[AsyncSession, Any, dict[str, Any], int], Awaitable[bool]] = _free
    """Whether nobody has taken meanwhile what the row would need. Asked before anything is restored."""
    restored: Callable[[AsyncSession, Any, dict[str, Any], int], Awaitable[None]] = _nothing
    """After a row was restored, with what its columns were."""


def _live(leaving: Leaving) -> ColumnElement[bool]:
    running = Binding.expires_at_ms.is_(None) | (Binding.expires_at_ms > leaving.now_ms)
    return (Binding.agent_id == leaving.agent.id) & Binding.ended_at_ms.is_(None) & running


async def _drop_parties(session: AsyncSession, binding: Binding, _old: dict[str, Any], _now_ms: int) -> None:
    await session.execute(delete(BindingParty).where(BindingParty.binding_id == binding.id))


async def _parties_free(session: AsyncSession, binding: Binding, _before: dict[str, Any], now_ms: int) -> bool:
    if binding.expires_at_ms is not None and binding.expires_at_ms <= now_ms:
        return True  # it would be over by now: nothing is taken from anybody
    taken = select(BindingParty.binding_id).where(
        BindingParty.x_number_id == binding.x_number_id,
        BindingParty.party_number.in_((binding.a_number, binding.b_number)),
    )
    return await session.scalar(taken.limit(1)) is None


async def _make_parties(session: AsyncSession, binding: Binding, _old: dict[str, Any], now_ms: int) -> None:
    if binding.expires_at_ms is not None and binding.expires_at_ms <= now_ms:
        binding.ended_at_ms = binding.expires_at_ms
        await session.flush()
        return
    for number in (binding.a_number, binding.b_number):
        party = BindingParty(x_number_id=binding.x_number_id, party_number=number, binding_id=binding.id)
        party.expires_at_ms = binding.expires_at_ms
        session.add(party)
    await session.flush()


async def _phone_free(session: AsyncSession, agent: Agent, before: dict[str, Any], _now_ms: int) -> bool:
    if before["phone"] is None:
        return True
    taken = select(Agent.id).where(Agent.tenant_id == agent.tenant_id, Agent.phone == before["phone"])
    return await session.scalar(taken.limit(1)) is None


async def _number_moved(session: AsyncSession, x_number: XNumber, old: dict[str, Any], now_ms: int) -> None:
    actor = session.info.get("actor")
    session.add(
        NumberMove(
            x_number_id=x_number.id,
            kind="assigned",
            at_ms=now_ms,
            tenant_id=x_number.tenant_id,
            from_department_id=x_number.department_id,
            from_agent_id=old["agent_id"],
            to_department_id=x_number.department_id,
            to_agent_id=x_number.agent_id,
            reason="offboarding",
            by_user_id=getattr(actor, "user_id", None),
            by_platform=False,
        )
    )


BELONGINGS: tuple[Belonging, ...] = (
    # A binding is of the agent's own phone: whoever takes over makes his own.
    Belonging(
        "bindings",
        Binding,
        _live,
        lambda leaving: {"ended_at_ms": leaving.now_ms},
        changed=_drop_parties,
        can_restore=_parties_free,
        restored=_make_parties,
    ),
    Belonging(
        "x_numbers",
        XNumber,
        lambda leaving: XNumber.agent_id == leaving.agent.id,
        lambda leaving: {"agent_id": leaving.successor_id},
        same=("tenant_id", "status"),
        changed=_number_moved,
        restored=_number_moved,
    ),
    # Minutes that have expired are of no use to anybody.
    Belonging(
        "minutes_buckets",
        MinutesBucket,
        lambda leaving: (MinutesBucket.agent_id == leaving.agent.id) & (MinutesBucket.expires_at_ms > leaving.now_ms),
        lambda leaving: {"agent_id": leaving.successor_id},
    ),
    Belonging(
        "sip_accounts",
        SipAccount,
        lambda leaving: (SipAccount.agent_id == leaving.agent.id) & (SipAccount.status == "active"),
        lambda _leaving: {"status": "suspended"},
    ),
    Belonging("headships", DepartmentHead, lambda leaving: DepartmentHead.agent_id == leaving.agent.id, None),
    # The last: a phone is free for whoever comes next, and no token of his is good any more.
    Belonging(
        "agent",
        Agent,
        lambda leaving: Agent.id == leaving.agent.id,
        lambda _leaving: {"status": "left", "phone": None},
        same=("tenant_id",),
        can_restore=_phone_free,
    ),
)
"""In the order in which they are carried out and restored. Customers and open auto-dial tasks add themselves here."""
