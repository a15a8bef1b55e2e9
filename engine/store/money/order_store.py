"""Reading packages and orders, always within a scope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.scope import AgentScope, Platform, Scope, TenantScope, within
from engine.store.sorting import PAGE_ROWS_MAX, PageWanted
from engine.store.tables.orders import Order, OrderEvent, Package, PackageVersion


def _offered(scope: Scope) -> ColumnElement[bool]:
    """A tenant and his agents see what is on sale to him or to all; the platform sees everything."""
    if isinstance(scope, Platform):
        return within(scope, tenant=Package.tenant_id, agent=None)
    # Written out, and not by ``within``: what is offered to all is in nobody's scope.
    if isinstance(scope, TenantScope | AgentScope):
        return Package.on_sale & or_(Package.tenant_id.is_(None), Package.tenant_id == scope.tenant_id)
    return within(scope, tenant=Package.tenant_id, agent=None)


async def read_packages(
    session: AsyncSession, scope: Scope, *conditions: ColumnElement[bool], wanted: PageWanted
) -> Sequence[tuple[Package, PackageVersion]]:
    """A page of packages with their newest terms."""
    rows = await session.execute(wanted.of(_packages(scope).where(*conditions)))
    return [(row[0], row[1]) for row in rows]


async def read_package(session: AsyncSession, scope: Scope, package_id: int) -> tuple[Package, PackageVersion] | None:
    row = (await session.execute(_packages(scope).where(Package.id == package_id))).one_or_none()
    return None if row is None else (row[0], row[1])


def _packages(scope: Scope) -> Any:
    newest = (PackageVersion.package_id == Package.id) & (PackageVersion.version == Package.version)
    return select(Package, PackageVersion).join(PackageVersion, newest).where(_offered(scope))


async def read_versions(session: AsyncSession, package_id: int) -> Sequence[PackageVersion]:
    """A package's terms, newest first."""
    statement = select(PackageVersion).where(PackageVersion.package_id == package_id)
    return (await session.scalars(statement.order_by(PackageVersion.version.desc()).limit(PAGE_ROWS_MAX))).all()


async def read_orders(
    session: AsyncSession, scope: Scope, *conditions: ColumnElement[bool], wanted: PageWanted
) -> Sequence[Order]:
    mine = within(scope, tenant=Order.tenant_id, agent=Order.agent_id)
    return (await session.scalars(wanted.of(select(Order).where(mine, *conditions)))).all()


async def read_order(session: AsyncSession, scope: Scope, order_id: int) -> Order | None:
    order: Order | None = await session.scalar(
        select(Order).where(Order.id == order_id, within(scope, tenant=Order.tenant_id, agent=Order.agent_id))
    )
    return order


async def read_history(session: AsyncSession, order_id: int) -> Sequence[OrderEvent]:
    return (
        await session.scalars(select(OrderEvent).where(OrderEvent.order_id == order_id).order_by(OrderEvent.position))
    ).all()
