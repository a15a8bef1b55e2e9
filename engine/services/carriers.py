"""Who may use which carrier, and which line."""

from __future__ import annotations

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.refusal import NotNow, NotThere
from engine.store.tables import Carrier, Line, Tenant
from engine.store.tables.numbers import CarrierPermission, LinePermission


class NotPermitted(NotNow):
    """The tenant may not use the line, nor its carrier."""

    def __init__(self) -> None:
        super().__init__(
            "carrier_not_permitted",
            "tenant_id",
            "may not use the line, nor its carrier",
            ("permit_carrier", "permit_line"),
        )


async def permit_carrier(session: AsyncSession, tenant_id: int, carrier_id: int, now_ms: int) -> None:
    """Lets a tenant use all of a carrier's lines; nothing where he may already. Raises NotThere."""
    await _check(session, tenant_id, Carrier, carrier_id)
    found = select(CarrierPermission.id).where(
        CarrierPermission.tenant_id == tenant_id, CarrierPermission.carrier_id == carrier_id
    )
    if await session.scalar(found) is None:
        session.add(CarrierPermission(tenant_id=tenant_id, carrier_id=carrier_id, granted_at_ms=now_ms))
        await session.flush()


async def permit_line(session: AsyncSession, tenant_id: int, line_id: int, now_ms: int) -> None:
    """Lets a tenant use one line; nothing where he may already. Raises NotThere."""
    await _check(session, tenant_id, Line, line_id)
    found = select(LinePermission.id).where(LinePermission.tenant_id == tenant_id, LinePermission.line_id == line_id)
    if await session.scalar(found) is None:
        session.add(LinePermission(tenant_id=tenant_id, line_id=line_id, granted_at_ms=now_ms))
        await session.flush()


async def forbid_carrier(session: AsyncSession, tenant_id: int, carrier_id: int) -> None:
    """Takes the permission back: his numbers there carry no new call. What is not there is NotThere."""
    row = await session.scalar(
        select(CarrierPermission).where(
            CarrierPermission.tenant_id == tenant_id, CarrierPermission.carrier_id == carrier_id
        )
    )
    if row is None:
        raise NotThere("permission")
    await session.delete(row)
    await session.flush()


async def forbid_line(session: AsyncSession, tenant_id: int, line_id: int) -> None:
    """As ``forbid_carrier``, of one line."""
    row = await session.scalar(
        select(LinePermission).where(LinePermission.tenant_id == tenant_id, LinePermission.line_id == line_id)
    )
    if row is None:
        raise NotThere("permission")
    await session.delete(row)
    await session.flush()


async def check_permitted(session: AsyncSession, tenant_id: int, line: Line) -> None:
    """Raises NotPermitted where the tenant may use neither the line nor its carrier."""
    by_carrier = exists().where(
        CarrierPermission.tenant_id == tenant_id, CarrierPermission.carrier_id == line.carrier_id
    )
    by_line = exists().where(LinePermission.tenant_id == tenant_id, LinePermission.line_id == line.id)
    if not await session.scalar(select(by_carrier | by_line)):
        raise NotPermitted


async def _check(session: AsyncSession, tenant_id: int, table: type[Carrier | Line], row_id: int) -> None:
    if await session.get(Tenant, tenant_id) is None:
        raise NotThere("tenant")
    if await session.get(table, row_id) is None:
        raise NotThere(table.__tablename__.removesuffix("s"))
