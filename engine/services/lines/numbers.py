"""What keeps an X number from going elsewhere; ``number_allocation`` moves them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.tables import Binding, XNumber


class XNumberNotFound(Exception):
    """There is no such X number, or it is somebody else's: the answer is the same."""


class XNumberInUse(Exception):
    """There are live bindings on the number; it stays with the tenant whose they are."""


class OwnerNotFound(Exception):
    """There is no such tenant or agent for a number to go to; ``field`` says which."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field}: is not known")
        self.field = field


async def refuse_bound(session: AsyncSession, x_number: XNumber, now_ms: int) -> None:
    """Raises XNumberInUse where a live binding is on the number."""
    live = await session.scalar(
        select(Binding.id)
        .where(
            Binding.x_number_id == x_number.id,
            Binding.ended_at_ms.is_(None),
            Binding.expires_at_ms.is_(None) | (Binding.expires_at_ms > now_ms),
        )
        .limit(1)
    )
    if live is not None:
        raise XNumberInUse
