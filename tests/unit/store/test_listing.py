import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import reading_session, writing_session
from engine.store.listing import owned, read_one, read_page
from engine.store.scope import AgentScope, Platform, Scope, TenantScope
from engine.store.sorting import PAGE_ROWS_MAX, PageWanted
from engine.store.tables import (
    Account,
    Agent,
    BindingParty,
    Carrier,
    Line,
    Rate,
    SipAccount,
    Table,
    Tenant,
    Trunk,
    User,
    XNumber,
)

NOW_MS = 1_800_000_000_000


@pytest.fixture
async def stock(database: AsyncEngine) -> AsyncEngine:
    """A row of each table in tenant 1 (agent 1) and in tenant 2 (agent 2), with the tenant's number as its key."""
    async with writing_session(database, NOW_MS) as session:
        for n in ("1", "2"):
            session.add_all([Tenant(code=n, name=n, created_at_ms=NOW_MS), Carrier(code=n, name=n)])
            session.add(Rate(code=n, name=n, per_minute_micro=1))
            await session.flush()
        for n in (1, 2):
            session.add(Account(tenant_id=n))
            session.add(Trunk(carrier_id=n, code=f"{n}", name="k", host="::1", source_addresses=[]))
            session.add(Agent(tenant_id=n, code="a", name="a"))
            await session.flush()
            session.add(Line(carrier_id=n, trunk_id=n, rate_id=n, code=f"{n}", name="l"))
            session.add(User(login=f"{n}", password_hash="", role="agent", tenant_id=n, agent_id=n))
            session.add(SipAccount(agent_id=n, username=f"{n}", realm="", ha1_md5="", ha1_sha256=""))
            await session.flush()
            session.add(XNumber(number=f"+8610888800{n}", line_id=n, tenant_id=n, agent_id=n))
            await session.flush()
    return database


NOBODY: set[int] = set()


@pytest.mark.parametrize(
    ("table", "by_tenant_1", "by_agent_1"),
    [
        (Tenant, {1}, NOBODY),
        (Account, {1}, NOBODY),
        (Agent, {1}, {1}),
        (User, {1}, {1}),
        (XNumber, {1}, {1}),
        (Line, {1}, {1}),
        (Carrier, NOBODY, NOBODY),
        (Trunk, NOBODY, NOBODY),
        (Rate, NOBODY, NOBODY),
        (SipAccount, NOBODY, NOBODY),
    ],
)
async def test_rows_of_others_are_read(
    stock: AsyncEngine, table: type[Table], by_tenant_1: set[int], by_agent_1: set[int]
) -> None:
    expected: tuple[tuple[Scope, set[int]], ...] = (
        (Platform(), {1, 2}),
        (TenantScope(1), by_tenant_1),
        (TenantScope(3), NOBODY),
        (AgentScope(1, 1), by_agent_1),
        (AgentScope(1, 2), NOBODY),
        (AgentScope(2, 1), NOBODY),
    )
    key = table.__mapper__.primary_key[0].name
    for scope, keys in expected:
        async with reading_session(stock) as session:
            page = await read_page(session, scope, table, wanted=PageWanted.by(getattr(table, key), limit=10))
            ones = [await read_one(session, scope, table, row_key) for row_key in (1, 2)]
        assert {getattr(row, key) for row in page} == keys, scope
        assert {getattr(row, key) for row in ones if row is not None} == keys, scope


def test_a_table_without_an_owner_is_everybodys() -> None:
    with pytest.raises(KeyError):
        owned(Platform(), BindingParty)


async def test_a_page_is_unbounded(database: AsyncEngine) -> None:
    async with writing_session(database, NOW_MS) as session:
        session.add_all(Carrier(code=f"{n}", name="c") for n in range(PAGE_ROWS_MAX + 1))
    async with reading_session(database) as session:
        assert (
            len(await read_page(session, Platform(), Carrier, wanted=PageWanted.by(Carrier.id, limit=10**6)))
            == PAGE_ROWS_MAX
        )
        last = PageWanted.by(Carrier.id, limit=10, after=(PAGE_ROWS_MAX,))
        assert len(await read_page(session, Platform(), Carrier, wanted=last)) == 1
