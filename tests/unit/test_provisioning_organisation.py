"""What ``axbridge load`` makes of a whole company: departments, roles, lines, packages, rules; and of secrets."""

from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.services.access import credentials
from engine.services.access.credentials import password_matches
from engine.services.provisioning import Summary, load
from engine.services.provisioning.file import ProvisioningError
from engine.store.access.audit import machine
from engine.store.access.keyring import Keyring
from engine.store.database import reading, reading_session
from engine.store.tables import (
    Agent,
    Carrier,
    Change,
    Department,
    DepartmentHead,
    Line,
    MoneyRules,
    NumberPool,
    Role,
    SipAccount,
    User,
    XNumber,
)
from engine.store.tables.identity import AuditEntry
from engine.store.tables.numbers import CarrierPermission, LinePermission, UsableLines
from engine.store.tables.orders import AgentSpendCap, Package, PackageVersion

NOW_MS = 1_800_000_000_000
ENVIRONMENT = {"BOSS": "a password of 2026", "TENCENT": "tencent's secret", "PHONE": "a softphone's"}
COMPANY = """
[[tenants]]
code = "acme"
name = "Acme"
[[tenants]]
code = "other"
name = "Other"
[[money_rules]]
tenant = "acme"
zone = "Asia/Urumqi"
day_cap = "1000"
low_balance = "50.5"
[[roles]]
tenant = "acme"
audience = "department_head"
name = "Reader"
permissions = ["calls.read", "agents.read"]
[[roles]]
audience = "platform_admin"
name = "Support"
permissions = ["tenants.read"]
[[departments]]
tenant = "acme"
path = "Sales/North"
heads = ["1001"]
[[departments]]
tenant = "acme"
path = "Sales"
[[agents]]
tenant = "acme"
code = "1001"
name = "Head"
department = "Sales/North"
phone = "13800138001"
[[spend_caps]]
tenant = "acme"
agent = "1001"
day_cap = "20"
[[users]]
login = "support"
password = "env:BOSS"
role = "platform_admin"
role_name = "Support"
[[users]]
login = "head"
initial_password = "to be changed"
role = "department_head"
role_name = "Reader"
tenant = "acme"
agent = "1001"
[[sip_accounts]]
username = "phone1001"
password = "env:PHONE"
tenant = "acme"
agent = "1001"
[[carriers]]
code = "tencent"
name = "Tencent"
kind = "tencent_npp"
settings = { biz_app_id = "4000", secret_id = "AKID", secret_key = "env:TENCENT" }
[[carriers]]
code = "trunks"
name = "By SIP"
settings = { contact = "Li" }
[[rates]]
code = "standard"
name = "Standard"
per_minute = "0.12"
[[trunks]]
code = "t1"
carrier = "trunks"
name = "T1"
host = "10.0.0.1"
source_addresses = ["10.0.0.1"]
registration = { username = "us", password = "file:trunk-secret", realm = "carrier" }
[[lines]]
code = "l1"
carrier = "trunks"
trunk = "t1"
rate = "standard"
name = "Line"
is_custom = true
replacement = { automatic = true, window_days = 7 }
[[number_pools]]
line = "l1"
code = "p1"
name = "Pool"
pool_key = "FC1000"
[[permissions]]
tenant = "acme"
line = "l1"
[[permissions]]
tenant = "other"
carrier = "trunks"
[[packages]]
code = "m300"
name = "300 minutes"
minutes = 300
price = "30"
lines = ["l1"]
numbers = { l1 = 2 }
renewals_approved = true
[[x_numbers]]
number = "01088880001"
line = "l1"
pool = "p1"
tenant = "acme"
department = "Sales/North"
[[usable_lines]]
tenant = "acme"
department = "Sales"
lines = ["l1"]
[[usable_lines]]
tenant = "acme"
agent = "1001"
carriers = ["trunks"]
"""


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


class Loader:
    def __init__(self, folder: Path, database: AsyncEngine) -> None:
        self.database = database
        self.path = folder / "company.toml"
        self.keyring = Keyring(folder / "keys")
        (folder / "trunk-secret").write_text("a trunk's secret\n", encoding="utf-8")
        self.environment = dict(ENVIRONMENT)

    async def load(self, *replacements: tuple[str, str], more: str = "") -> Summary:
        text = COMPANY
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        self.path.write_text(text + more, encoding="utf-8")
        return await load(
            self.path,
            self.database,
            now_ms=NOW_MS,
            keyring=self.keyring,
            environment=self.environment,
            actor=machine("axbridge load (root)"),
        )

    async def problems(self, *replacements: tuple[str, str], more: str = "") -> dict[str, str]:
        with pytest.raises(ProvisioningError) as caught:
            await self.load(*replacements, more=more)
        assert not [secret for secret in ENVIRONMENT.values() if secret in str(caught.value)]
        assert str(caught.value).startswith(f"{self.path}: ")
        return {problem.path: problem.reason for problem in caught.value.problems}


@pytest.fixture
def loader(tmp_path: Path, database: AsyncEngine) -> Loader:
    return Loader(tmp_path, database)


async def test_a_part_of_the_company_is_not_made(loader: Loader, database: AsyncEngine) -> None:
    await loader.load()
    async with reading_session(database) as session:
        departments = {row.name: row for row in await session.scalars(select(Department))}
        north, sales = departments["North"], departments["Sales"]
        assert (north.parent_id, north.path) == (sales.id, f"/{sales.id}/{north.id}/")
        agent = (await session.scalars(select(Agent))).one()
        assert agent.department_id == north.id
        head = (await session.scalars(select(DepartmentHead))).one()
        assert (head.department_id, head.agent_id) == (north.id, agent.id)
        users = {row.login: row for row in await session.scalars(select(User))}
        roles = {row.id: row.name for row in await session.scalars(select(Role))}
        assert [(users[login].role, roles[users[login].role_id or 0]) for login in ("head", "support")] == [
            ("department_head", "Reader"),
            ("platform_admin", "Support"),
        ]
        assert password_matches(users["support"].password_hash, ENVIRONMENT["BOSS"])
        assert password_matches(users["head"].password_hash, "to be changed")
        carriers = {row.code: row for row in await session.scalars(select(Carrier))}
        tencent = carriers["tencent"]
        assert tencent.config == {"biz_app_id": "4000", "secret_id": "AKID"}
        sealed = tencent.sealed_secrets["secret_key"]
        assert loader.keyring.unseal(sealed, "carriers/tencent/secret_key") == ENVIRONMENT["TENCENT"]
        line = (await session.scalars(select(Line))).one()
        assert (line.is_custom, (line.replacement or {})["window_days"]) == (True, 7)
        pool = (await session.scalars(select(NumberPool))).one()
        number = (await session.scalars(select(XNumber))).one()
        assert (number.pool_id, number.department_id, pool.pool_key) == (pool.id, north.id, "FC1000")
        lists = {row.agent_id: row for row in await session.scalars(select(UsableLines))}
        assert (lists[None].department_id, lists[None].line_ids) == (sales.id, [line.id])
        assert lists[agent.id].carrier_ids == [carriers["trunks"].id]
        assert (await session.scalars(select(LinePermission.line_id))).all() == [line.id]
        assert len((await session.scalars(select(CarrierPermission))).all()) == 2
        rules = (await session.scalars(select(MoneyRules))).one()
        assert (rules.zone, rules.day_cap_micro, rules.low_balance_micro) == ("Asia/Urumqi", 10**9, 50_500_000)
        assert (await session.scalars(select(AgentSpendCap.day_cap_micro))).all() == [20_000_000]
        package = (await session.scalars(select(Package))).one()
        terms = (await session.scalars(select(PackageVersion))).one()
        assert (package.renewals_approved, terms.price_micro, terms.line_ids) == (True, 30_000_000, [line.id])
        entries = (await session.scalars(select(AuditEntry))).all()
        assert {entry.actor for entry in entries} == {"axbridge load (root)"}
        assert {"departments", "users", "carriers", "usable_lines", "packages"} <= {entry.entity for entry in entries}
        shown = str([entry.after for entry in entries])
        assert not [secret for secret in ENVIRONMENT.values() if secret in shown]


async def test_a_second_load_changes_something(loader: Loader, database: AsyncEngine) -> None:
    first = await loader.load()
    count = select(func.count(Change.id)), select(func.count(AuditEntry.id))
    async with reading(database) as connection:
        before = [await connection.scalar(each) for each in count]
    second = await loader.load()
    assert (second.created, second.changed) == (0, 0), second
    # A department above one that is named is made with it, and not counted again; nor are heads.
    assert second.unchanged == first.created + first.changed - 1
    async with reading(database) as connection:
        assert [await connection.scalar(each) for each in count] == before


async def test_a_change_is_not_made(loader: Loader, database: AsyncEngine) -> None:
    await loader.load()
    loader.environment["BOSS"] = "another password"
    summary = await loader.load(
        ('price = "30"', 'price = "33"'),
        ('heads = ["1001"]', "heads = []"),
        ('department = "Sales"\nlines = ["l1"]', 'department = "Sales"\nlines = []'),
        ('low_balance = "50.5"', 'low_balance = ""'),
        ('"to be changed"', '"never taken over"'),
    )
    assert (summary.created, summary.changed) == (0, 5)
    async with reading_session(database) as session:
        assert (await session.scalars(select(PackageVersion.price_micro))).all() == [30_000_000, 33_000_000]
        assert (await session.scalars(select(DepartmentHead))).all() == []
        support = (await session.scalars(select(User).where(User.login == "support"))).one()
        assert password_matches(support.password_hash, "another password")


@pytest.mark.parametrize(
    ("old", "new", "path", "reason"),
    [
        ('password = "env:BOSS"', 'password = "in the clear"', "users[0].password", "expected"),
        ('password = "env:BOSS"', 'password = "env:NOBODY"', "users[0].password", "NOBODY is not set"),
        ('password = "env:BOSS"\n', "", "users[0].password", "is missing"),
        ('"env:TENCENT"', '"tencent\'s secret"', "carriers[0].settings.secret_key", "env:NAME"),
        ('"env:TENCENT"', '"file:nowhere"', "carriers[0].settings.secret_key", "cannot be read"),
        ('secret_id = "AKID", ', "", "carriers[0].settings.secret_id", "is missing"),
        ('kind = "tencent_npp"', 'kind = "pigeons"', "carriers[0].kind", "is none of"),
        ('"file:trunk-secret"', '"file:."', "trunks[0].registration.password", "cannot be read"),
        ('"calls.read", "agents.read"', '"calls.read", "tenants.jump"', "roles[0].permissions", "tenants.jump"),
        ('role_name = "Reader"', 'role_name = "Nobody"', "users[1].role_name", "no role"),
        (
            'department = "Sales/North"\nphone',
            'department = "Sales/South"\nphone',
            "agents[0].department",
            "no department",
        ),
        ('heads = ["1001"]', 'heads = ["1002"]', "departments[0].heads", "1002"),
        (
            'line = "l1"\n[[permissions]]',
            'line = "l1"\ncarrier = "trunks"\n[[permissions]]',
            "permissions[0].line",
            "one of",
        ),
        ('agent = "1001"\ncarriers', "carriers", "usable_lines[1].agent", "one of"),
        ('pool = "p1"', 'pool = "p2"', "x_numbers[0].pool", "p2"),
        ('zone = "Asia/Urumqi"', 'zone = "Asia/Nowhere"', "money_rules[0].zone", "no time zone"),
        ('carriers = ["trunks"]', 'carriers = ["tencent"]', "usable_lines[1].carriers", "no carrier"),
        ('price = "30"', "price = 30", "packages[0].price", "expected"),
    ],
)
async def test_what_is_wrong_is_not_named(loader: Loader, old: str, new: str, path: str, reason: str) -> None:
    problems = await loader.problems((old, new))
    assert next(iter(problems)) == path, problems  # others may follow from it
    assert reason.lower() in problems[path].lower()


async def test_a_number_that_goes_to_another_tenant_keeps_its_department(loader: Loader, database: AsyncEngine) -> None:
    await loader.load()
    await loader.load(('tenant = "acme"\ndepartment = "Sales/North"\n[[usable', 'tenant = "other"\n[[usable'))
    async with reading_session(database) as session:
        number = (await session.scalars(select(XNumber))).one()
        assert (number.tenant_id, number.department_id, number.agent_id) == (2, None, None)
        assert (await session.scalars(select(SipAccount))).one().ha1_md5 != ""
