from collections.abc import Callable
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.facts import BindingFacts
from engine.services.access import credentials
from engine.services.access.credentials import password_matches, sip_ha1
from engine.services.provisioning import Summary, load
from engine.services.provisioning.file import (
    PROBLEMS_TOLD_MAX,
    ProvisioningError,
    checked_source_address,
    micro_from_yuan,
)
from engine.store.database import reading, reading_session, writing, writing_session
from engine.store.directory_reader import read_all, read_changes
from engine.store.money.claim_store import advance
from engine.store.money.lease_store import lease, release
from engine.store.tables import (
    Account,
    Agent,
    Change,
    LedgerTransaction,
    OverdraftChange,
    SipAccount,
    Tenant,
    Trunk,
    User,
    XNumber,
)

NOW_MS = 1_800_000_000_000
DEMO = Path(__file__).parents[2] / "conf" / "demo.toml"

Edit = Callable[..., Path]


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """The demo file with texts replaced."""

    def edit(*replacements: tuple[str, str], more: str = "") -> Path:
        text = DEMO.read_text(encoding="utf-8")
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "edited.toml"
        path.write_text(text + more, encoding="utf-8")
        return path

    return edit


async def _load(path: Path, database: AsyncEngine) -> Summary:
    return await load(path, database, now_ms=NOW_MS)


async def _problems(path: Path, database: AsyncEngine) -> dict[str, str]:
    with pytest.raises(ProvisioningError) as caught:
        await _load(path, database)
    assert str(caught.value).startswith(f"{path}: {caught.value.problems[0].path}: ")
    return {problem.path: problem.reason for problem in caught.value.problems}


async def test_the_demo_cannot_be_loaded(database: AsyncEngine) -> None:
    summary = await _load(DEMO, database)
    assert (summary.created, summary.changed, summary.unchanged) == (17, 2, 0)
    async with reading_session(database) as session:
        account = (await session.scalars(select(Account))).one()
        assert (account.balance_micro, account.overdraft_limit_micro) == (100_000_000, 20_000_000)
        user = (await session.scalars(select(User).where(User.login == "boss"))).one()
        assert user.password_hash.startswith("$argon2id$")
        assert password_matches(user.password_hash, "demo-tenant-password")
        softphone = (await session.scalars(select(SipAccount))).one()
        assert (softphone.ha1_md5, softphone.ha1_sha256) == sip_ha1(
            "softphone1001", "axbridge", "demo-softphone-password"
        )
        trunk = (await session.scalars(select(Trunk))).one()
        assert (trunk.host, trunk.port, trunk.source_addresses) == ("127.0.0.1", 5090, ["127.0.0.1:5090"])
    async with reading(database) as connection:
        _, facts = await read_all(connection)
    binding = next(record for record in facts if isinstance(record, BindingFacts))
    assert (binding.a_number, binding.b_number, binding.agent_id) == ("+8613800138001", "+8613900139001", 1)


async def test_a_second_load_changes_something(database: AsyncEngine) -> None:
    await _load(DEMO, database)
    async with reading(database) as connection:
        changes = await connection.scalar(select(func.count(Change.id)))
    summary = await _load(DEMO, database)
    assert (summary.created, summary.changed, summary.unchanged) == (0, 0, 18)
    async with reading(database) as connection:
        assert await connection.scalar(select(func.count(Change.id))) == changes
        assert await connection.scalar(select(func.count(LedgerTransaction.id))) == 1


async def test_a_load_touches_more_than_it_names(database: AsyncEngine, edited: Edit) -> None:
    await _load(DEMO, database)
    async with reading(database) as connection:
        since, _, _ = await read_changes(connection, 0)
    summary = await _load(
        edited(("张伟", "张三"), ("demo-agent-password", "another-password"), ('"20.00"', '"30"')), database
    )
    assert (summary.created, summary.changed, summary.unchanged) == (0, 2, 16), "an initial password is given once"
    async with reading(database) as connection:
        _, facts, _ = await read_changes(connection, since)
    assert sorted(type(record).__name__ for record in facts) == ["AccountFacts", "AgentFacts"]


async def test_a_suspended_tenant_is_woken_by_a_load(database: AsyncEngine) -> None:
    await _load(DEMO, database)
    async with writing_session(database, NOW_MS) as session:
        (await session.get_one(Tenant, 1)).status = "suspended"
    assert (await _load(DEMO, database)).changed == 0
    async with reading_session(database) as session:
        assert (await session.get_one(Tenant, 1)).status == "suspended"


async def test_half_a_file_is_applied(database: AsyncEngine, edited: Edit) -> None:
    path = edited(('agent = "1001"\nx_number', 'agent = "1009"\nx_number'))
    assert await _problems(path, database) == {"bindings[0].agent": "there is no agent '1009'"}
    async with reading_session(database) as session:
        assert await session.scalar(select(func.count(Tenant.id))) == 0
        assert await session.scalar(select(func.count(Change.id))) == 0


async def test_only_the_first_mistake_is_told(database: AsyncEngine, edited: Edit) -> None:
    path = edited(
        ('phone = "13800138002"', "phone = 13800138002"),
        ('per_minute = "0.12"', "per_minute = 0.12"),
        ('role = "tenant_admin"', 'role = "boss"'),
        more='[[tenants]]\nname = "no code"\n[[numbers]]\n',
    )
    problems = await _problems(path, database)
    assert problems.keys() == {"numbers", "tenants[1]", "agents[1].phone", "users[1].role", "rates[0].per_minute"}
    assert problems["agents[1].phone"] == "Expected 'str', got 'int'"
    assert problems["rates[0].per_minute"] == "Expected 'str', got 'float'"


async def test_references_that_lead_nowhere(database: AsyncEngine, edited: Edit) -> None:
    path = edited(
        ('role = "tenant_admin"\ntenant = "demo"', 'role = "tenant_admin"\ntenant = "nobody"'),
        ('trunk = "demo-trunk"', 'trunk = "no-trunk"'),
        ('host = "127.0.0.1" ', 'host = "not a host" '),
        ('"127.0.0.1:5090"', '"127.0.0.1:70000"'),
    )
    problems = await _problems(path, database)
    assert problems.keys() >= {
        "users[1].tenant",
        "lines[0].trunk",
        "trunks[0].host",
        "trunks[0].source_addresses[0]",
    }


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ('[[tenants]]\ncode = "demo"\nname = "x"\n', "tenants[1].code"),
        ('[[agents]]\ntenant = "demo"\ncode = "1002"\nname = "x"\n', "agents[2].code"),
        ('[[agents]]\ntenant = "demo"\ncode = "1003"\nname = "x"\nphone = "+8613800138002"\n', "agents[2].phone"),
        ('[[x_numbers]]\nnumber = "+86 10 8888 0001"\nline = "demo-line"\n', "x_numbers[3].number"),
        (
            '[[bindings]]\ntenant = "demo"\nagent = "1001"\nx_number = "01088880001"\nb_number = "13900139009"\n',
            "bindings[1].a_number",
        ),
        (
            '[[bindings]]\ntenant = "demo"\na_number = "13900139009"\nx_number = "01088880003"\nb_number = "13900"\n',
            "bindings[1].x_number",
        ),
        ('[[users]]\nlogin = "u"\ninitial_password = "12345678"\nrole = "agent"\ntenant = "demo"\n', "users[3].agent"),
        (
            '[[users]]\nlogin = "u"\ninitial_password = "12345678"\nrole = "platform_admin"\ntenant = "demo"\n',
            "users[3].tenant",
        ),
    ],
)
async def test_what_is_there_once_is_there_twice(database: AsyncEngine, edited: Edit, more: str, path: str) -> None:
    assert list(await _problems(edited(more=more), database)) == [path]


async def test_a_phone_is_taken_over_from_a_row_the_file_does_not_name(database: AsyncEngine, edited: Edit) -> None:
    await _load(DEMO, database)
    async with writing_session(database, NOW_MS) as session:
        session.add(Agent(tenant_id=1, code="1003", name="x", phone="+8613800138003"))
    path = edited(('phone = "13800138002"', 'phone = "13800138003"'))
    assert await _problems(path, database) == {"agents[1].phone": "is another agent's"}


async def test_two_agents_swap_their_phones(database: AsyncEngine, edited: Edit) -> None:
    await _load(DEMO, database)
    path = edited(("13800138001", "@"), ("13800138002", "13800138001"), ("@", "13800138002"))
    assert "agents[0].phone" in await _problems(path, database)


async def test_an_opening_balance_is_given_again(database: AsyncEngine, edited: Edit) -> None:
    await _load(DEMO, database)
    problems = await _problems(edited(('"100.00"', '"200.00"')), database)
    assert list(problems) == ["accounts[0].opening_balance"]


async def test_an_overdraft_limit_falls_below_what_is_held(database: AsyncEngine, edited: Edit) -> None:
    await _load(DEMO, database)
    async with writing(database) as connection:
        assert await lease(connection, "e1", 1, 110_000_000) == 110_000_000
    for changed in (1, 0):
        assert (await _load(edited(('"20.00"', '"9.99"')), database)).changed == changed
    async with writing(database) as connection:
        limit = select(Account.overdraft_limit_micro)
        assert await connection.scalar(limit) == 20_000_000, "calls were promised so much"
        await release(connection, "e1", 1, 10_000)
        await advance(connection, 1, NOW_MS)
        assert await connection.scalar(limit) == 9_990_000
        changes = select(OverdraftChange.from_micro, OverdraftChange.to_micro, OverdraftChange.by)
        assert [tuple(row) for row in await connection.execute(changes.order_by(OverdraftChange.id))] == [
            (0, 20_000_000, "axbridge load"),
            (20_000_000, 9_990_000, "axbridge load"),
        ]


async def test_a_bound_number_goes_to_another_tenant(database: AsyncEngine, edited: Edit) -> None:
    await _load(DEMO, database)
    more = '[[tenants]]\ncode = "other"\nname = "x"\n'
    taken = ('tenant = "demo"\nagent = "1001"\nunknown', 'tenant = "other"\nunknown')
    assert list(await _problems(edited(taken, more=more), database)) == ["x_numbers[0].tenant"]


async def test_a_number_keeps_the_agent_of_its_tenant(database: AsyncEngine, edited: Edit) -> None:
    await _load(DEMO, database)
    await _load(edited(('tenant = "demo"\nagent = "1001"\nunknown', 'tenant = "demo"\nunknown')), database)
    async with reading_session(database) as session:
        assert (await session.get_one(XNumber, 1)).agent_id == 1
    await _load(edited(('agent = "1001"\nunknown', 'agent = ""\nunknown')), database)
    async with reading_session(database) as session:
        assert (await session.get_one(XNumber, 1)).agent_id is None


@pytest.mark.parametrize("octets", [b"tenants = 1", b"[[tenants]", b"\xff\xfe", b"tenants = [1]", b"tenants = [[[]]]"])
async def test_a_file_that_is_something_else(database: AsyncEngine, tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(octets)
    assert await _problems(path, database)


async def test_a_file_that_is_not_there(database: AsyncEngine, tmp_path: Path) -> None:
    assert await _problems(tmp_path / "none.toml", database) == {"(file)": "cannot be read: No such file or directory"}


async def test_an_error_is_as_long_as_the_file(database: AsyncEngine, tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text('[[tenants]]\ncode = "a b"\nname = "x"\n' * 1000, encoding="utf-8")
    with pytest.raises(ProvisioningError) as caught:
        await _load(path, database)
    assert len(str(caught.value).splitlines()) == PROBLEMS_TOLD_MAX + 1
    assert len(caught.value.problems) == 1000


async def test_a_number_is_repeated_in_an_error(database: AsyncEngine, edited: Edit) -> None:
    path = edited(("13900139001", "13800138001"), ('phone = "13800138002"', 'phone = "138001380021234567890"'))
    with pytest.raises(ProvisioningError) as caught:
        await _load(path, database)
    assert "1380013800" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "micro"),
    [("0.12", 120_000), ("0", 0), ("100", 100_000_000), ("0.000001", 1), ("-1.5", -1_500_000), ("0.1", 100_000)],
)
def test_money_loses_a_digit(text: str, micro: int) -> None:
    assert micro_from_yuan(text) == micro


@pytest.mark.parametrize("text", ["", "1e3", "0.0000001", "1,5", ".5", "5.", " 1", "1\n", "１", "NaN", "9999999999"])
def test_money_is_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="no amount"):
        micro_from_yuan(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:5090", "127.0.0.1:5090"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("[::1]:5060", "[::1]:5060"),
        ("::1", "::1"),
    ],
)
def test_a_source_address_is_refused(text: str, canonical: str) -> None:
    assert checked_source_address(text) == canonical


@pytest.mark.parametrize("text", ["", "host", "1.2.3.4:0", "1.2.3.4:", "1.2.3.4/33", "10.0.0.1/8", "[::1]", "a:1"])
def test_a_source_address_matches_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="CIDR"):
        checked_source_address(text)
