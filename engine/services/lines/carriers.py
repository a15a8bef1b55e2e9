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


Permitted = type[Carrier] | type[Line]
_PERMISSIONS: dict[Permitted, tuple[type[CarrierPermission] | type[LinePermission], str]] = {
    Carrier: (CarrierPermission, "carrier_id"),
    Line: (LinePermission, "line_id"),
}


async def permit(session: AsyncSession, tenant_id: int, of: Permitted, row_id: int, now_ms: int) -> None:
    """Lets a tenant use all of a carrier's lines, or one line; what a package lets him use he may then keep.

    Nothing where he may already. Raises NotThere.
    """
    if await session.get(Tenant, tenant_id) is None:
        raise NotThere("tenant")
    if await session.get(of, row_id) is None:
        raise NotThere(of.__tablename__.removesuffix("s"))
    permission = await _permission(session, tenant_id, of, row_id)
    if permission is None:
        table, column = _PERMISSIONS[of]
        session.add(table(**{"tenant_id": tenant_id, column: row_id, "granted_at_ms": now_ms}))
    elif isinstance(permission, LinePermission):
        permission.by_package = False
    await session.flush()


async def forbid(session: AsyncSession, tenant_id: int, of: Permitted, row_id: int) -> None:
    """Takes the permission back: his numbers there carry no new call. What is not there is NotThere."""
    row = await _permission(session, tenant_id, of, row_id)
    if row is None:
        raise NotThere("permission")
    await session.delete(row)
    await session.flush()


async def _permission(
    session: AsyncSession, tenant_id: int, of: Permitted, row_id: int
) -> CarrierPermission | LinePermission | None:
    table, column = _PERMISSIONS[of]
    found: CarrierPermission | LinePermission | None = await session.scalar(
        select(table).where(table.tenant_id == tenant_id, getattr(table, column) == row_id)
    )
    return found


async def check_permitted(session: AsyncSession, tenant_id: int, line: Line) -> None:
    """Raises NotPermitted where the tenant may use neither the line nor its carrier."""
    by_carrier = exists().where(
        CarrierPermission.tenant_id == tenant_id, CarrierPermission.carrier_id == line.carrier_id
    )
    by_line = exists().where(LinePermission.tenant_id == tenant_id, LinePermission.line_id == line.id)
    if not await session.scalar(select(by_carrier | by_line)):
        raise NotPermitted
