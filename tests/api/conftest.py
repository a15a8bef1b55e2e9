"""A small world with two tenants, to be asked for by everybody."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from argon2 import PasswordHasher
from litestar import Litestar
from litestar.datastructures import State
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.common.auth import make_token
from admin_api.common.context import Context
from admin_api.main import create_app, make_state
from engine.runtime.control.client import EngineUnavailable
from engine.runtime.control.protocol import (
    Calls,
    CallsCut,
    CallTrace,
    ControlCommand,
    ControlReply,
    CutCalls,
    Done,
    HangUp,
    ListCalls,
    LiveCall,
    Metrics,
    ReadMetrics,
    ReadTrace,
    TraceMessage,
)
from engine.services.access import credentials
from engine.services.access.sessions import begin_session
from engine.services.lines.bindings import create_binding
from engine.settings import Settings, StoreSettings
from engine.store.access.audit import Actor, ActorKind
from engine.store.access.user_store import UserRecord, user_by_login
from engine.store.database import open_database, reading, writing, writing_session
from engine.store.migrations import upgrade
from engine.store.money.ledger_store import recharge
from engine.store.records.cdr_store import CDR_COLUMNS, write_cdrs, write_recordings
from engine.store.scope import TenantScope
from engine.store.tables import (
    Account,
    Agent,
    Carrier,
    CarrierRecordFormat,
    Department,
    LegalHold,
    Line,
    Rate,
    Reconciliation,
    ReconciliationDifference,
    Recording,
    RecordingDeletion,
    Tenant,
    Trunk,
    User,
    Webhook,
    XNumber,
)
from engine.store.tables.identity import ApiKey, Role
from engine.store.tables.numbers import CarrierPermission, LinePermission, NumberPool
from engine.store.webhook_store import Event, EventKind, tell
from tests.postgresql import Cluster, Restorable

from .money_cases import make_money_world
from .organisation_cases import make_organisation

NOW_MS = 1_800_000_000_000
PASSWORD = "a password for tests"
RECONCILIATION = "0" * 64
SESSIONS_END_MS = NOW_MS + 10**9

# Tenant 1's and tenant 2's agents, X numbers and customers; nobody's X number, and a retired one.
A1, A2, A3 = "+8613800138001", "+8613800138002", "+8613800138003"
X1, X2, X3, X4, X5 = "+861088880001", "+861088880002", "+861088880003", "+861088880004", "+861088880005"
B1, B2, B3 = "+8613900139001", "+8613900139002", "+8613900139003"

USERS = {
    "platform": ("platform_admin", None, None),
    "tenant1": ("tenant_admin", 1, None),
    "tenant2": ("tenant_admin", 2, None),
    "agent1": ("agent", 1, 1),
    "agent2": ("agent", 1, 2),
    "agent3": ("agent", 2, 3),
}

_CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


def cdr(number: int, tenant_id: int | None, agent_id: int | None, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(CDR_COLUMNS)
    row |= {"id": f"cdr{number}", "state": "ended", "tenant_id": tenant_id, "agent_id": agent_id, "trunk_id": 1}
    row |= {"a_number": (A1, A2, A3)[number - 1], "x_number": (X1, X2, X3)[number - 1]}
    row |= {"b_number": (B1, B2, B3)[number - 1], "started_at_ms": NOW_MS + number, "billed_seconds": 60}
    return (
        row | {"charge_micro": 120_000, "package_seconds": 0, "cause": "normal", "answered_at_ms": NOW_MS + 10} | values
    )


def live_call(number: int, tenant_id: int, agent_id: int) -> LiveCall:
    return LiveCall(
        id=f"call{number}",
        tenant_id=tenant_id,
        agent_id=agent_id,
        line_id=1,
        state="answered",
        direction="a_to_b",
        a_number=(A1, A2, A3)[number - 1],
        x_number=X1,
        b_number=(B1, B2, B3)[number - 1],
        started_at_ms=NOW_MS,
        ringing_at_ms=None,
        answered_at_ms=NOW_MS,
        held_micro=1,
    )


TRACE = [
    TraceMessage(
        at_us=1_000_000 * second,
        sent=sent,
        peer=f"udp:10.0.0.{leg + 1}:5060",
        leg=leg,
        first_line=line,
        text=f"{line}\r\nCall-ID: {leg}\r\n\r\n",
    )
    for second, (sent, leg, line) in enumerate(
        [
            (False, 0, "INVITE sip:010****0001@x SIP/2.0"),
            (True, 1, "INVITE sip:139****9001@x SIP/2.0"),
            (False, 1, "SIP/2.0 180 Ringing"),
            (True, 0, "SIP/2.0 180 Ringing"),
        ]
    )
]


class FakeControl:
    """An engine with a call of each agent, that does not look at whose calls are asked for."""

    def __init__(self) -> None:
        self.asked: list[ControlCommand] = []
        self.away = False
        self.reply: ControlReply | None = None

    async def ask(self, command: ControlCommand) -> ControlReply:
        self.asked.append(command)
        if self.away:
            raise EngineUnavailable("away")
        if self.reply is not None:
            return self.reply
        if isinstance(command, ListCalls):
            return Calls([live_call(1, 1, 1), live_call(2, 1, 2), live_call(3, 2, 3)])
        if isinstance(command, HangUp):
            owner = {"call1": (1, 1), "call2": (1, 2), "call3": (2, 3)}.get(command.call_id, (0, 0))
            mine = command.tenant_id in (None, owner[0]) and command.agent_id in (None, owner[1])
            return Done(found=mine and owner != (0, 0))
        if isinstance(command, CutCalls):
            calls = [(1, 1), (1, 2), (2, 3)]
            return CallsCut(sum(t == command.tenant_id and command.agent_id in (None, a) for t, a in calls))
        if isinstance(command, ReadTrace):
            return CallTrace(TRACE if command.call_id == "call3" else None, left_out=2)
        if isinstance(command, ReadMetrics):
            return Metrics("axbridge_calls 1\n")
        return Done()


async def _make_world(database_url: str) -> None:
    await upgrade(database_url)
    database = open_database(database_url)
    async with writing_session(database, NOW_MS) as session:
        session.add_all(Tenant(code=f"t{n}", name=f"Tenant {n}", created_at_ms=NOW_MS) for n in (1, 2))
        session.add_all([Carrier(code="c1", name="Carrier"), Rate(code="r1", name="Rate", per_minute_micro=120_000)])
        await session.flush()
        session.add_all(Account(tenant_id=n, overdraft_limit_micro=1000) for n in (1, 2))
        session.add(Trunk(carrier_id=1, code="k1", name="Trunk", host="127.0.0.1", source_addresses=["10.0.0.0/8"]))
        for number, (tenant_id, phone) in enumerate(((1, A1), (1, A2), (2, A3)), start=1):
            session.add(Agent(tenant_id=tenant_id, code=f"a{number}", name=f"Agent {number}", phone=phone))
            await session.flush()
        for n in (1, 2):
            session.add(Department(tenant_id=n, path=f"/{n}/", name=f"Department {n}", created_at_ms=NOW_MS))
            await session.flush()
        session.add_all(CarrierPermission(tenant_id=n, carrier_id=1, granted_at_ms=NOW_MS) for n in (1, 2))
        session.add_all(Line(carrier_id=1, trunk_id=1, rate_id=1, code=f"l{n}", name=f"Line {n}") for n in (1, 2))
        await session.flush()
        for number, line_id, tenant_id, agent_id in (
            (X1, 1, 1, 1),
            (X2, 1, 1, None),
            (X3, 2, 2, 3),
            (X4, 2, None, None),
        ):
            session.add(XNumber(number=number, line_id=line_id, tenant_id=tenant_id, agent_id=agent_id))
            await session.flush()
        session.add(XNumber(number=X5, line_id=2, status="retired"))
        session.add(LinePermission(tenant_id=2, line_id=2, granted_at_ms=NOW_MS))
        session.add(NumberPool(line_id=1, code="p1", name="Pool 1", created_at_ms=NOW_MS))
        await session.flush()
        for number, (tenant_id, x, b) in enumerate(((1, X1, B1), (1, X2, B2), (2, X3, B3)), start=1):
            await create_binding(
                session,
                TenantScope(tenant_id),
                binding_id=f"binding{number}",
                x_number=x,
                b_number=b,
                agent_id=number,
                now_ms=NOW_MS,
            )
        password_hash = _CHEAP.hash(PASSWORD)
        for login, (role, tenant_id_of_user, agent_id_of_user) in USERS.items():
            user = User(login=login, password_hash=password_hash, role=role)
            user.tenant_id, user.agent_id = tenant_id_of_user, agent_id_of_user
            session.add(user)
            await session.flush()
        for name, tenant_id_of_role, role_audience in (
            ("Role of the platform", None, "platform_admin"),
            ("Role of tenant 1", 1, "agent"),
            ("Role of tenant 2", 2, "agent"),
        ):
            role = Role(tenant_id=tenant_id_of_role, audience=role_audience, name=name)
            role.permissions = ["calls.read"]
            session.add(role)
            await session.flush()
        for tenant_id in (1, 2):
            key = ApiKey(tenant_id=tenant_id, name=f"Key of tenant {tenant_id}", prefix=f"{tenant_id}", key_hash="x")
            key.permissions, key.requests_per_minute_max = ["calls.read"], 60
            key.created_by, key.created_at_ms = "x", NOW_MS
            session.add(key)
            await session.flush()
        for tenant_id, host in ((1, "one.example.com"), (2, "two.example.com")):
            # Leased for ever: the tests' own deliverer goes nowhere.
            webhook = Webhook(tenant_id=tenant_id, url=f"https://{host}", kinds=["cdr.ended"], sealed_secret="")
            webhook.created_at_ms, webhook.leased_until_ms = NOW_MS, 2**62
            session.add(webhook)
            await session.flush()
        columns = {"caller": "a", "callee": "b", "start": "c", "duration": "dauer"}
        session.add(CarrierRecordFormat(carrier_id=1, content=columns))
        compared = Reconciliation(id=RECONCILIATION, trunk_id=1, from_ms=0, to_ms=1, created_at_ms=0, clock_offset_ms=0)
        compared.summary = {}
        session.add(compared)
        await session.flush()
        session.add(ReconciliationDifference(reconciliation_id=RECONCILIATION, position=1, kind="doubled", content={}))
        make_organisation(session, NOW_MS)
        for tenant_id in (1, 2):
            await recharge(session, tenant_id, 5000, f"key of tenant {tenant_id}", NOW_MS)
        await make_money_world(session, NOW_MS)
    async with writing(database) as connection:
        await write_cdrs(connection, [cdr(1, 1, 1), cdr(2, 1, 2), cdr(3, 2, 3)])
        recordings = [
            {"cdr_id": f"cdr{n}", "path": f"2027/{n}.wav", "duration_ms": 1000, "size_octets": 1000, "sha256": "0" * 64}
            for n in (1, 2, 3)
        ]
        await write_recordings(connection, [recording | {"gaps_ms": []} for recording in recordings])
        for tenant_id in (1, 2):
            row = {"cdr_id": f"gone{tenant_id}", "path": "", "engine_id": "", "place": "disk", "tenant_id": tenant_id}
            row |= {"agent_id": tenant_id, "duration_ms": 1, "size_octets": 1, "sha256": "", "reason": "retention"}
            row |= {"rule": f"rule of tenant {tenant_id}", "decided_by": "", "decided_at_ms": NOW_MS}
            await connection.execute(insert(RecordingDeletion).values(**row))
            hold = {"tenant_id": tenant_id, "agent_id": None, "reason": f"hold of tenant {tenant_id}"}
            hold |= {
                "cdr_id": f"held{tenant_id}",
                "by_platform": False,
                "placed_by": f"tenant{tenant_id}",
                "placed_at_ms": NOW_MS,
            }
            await connection.execute(insert(LegalHold).values(**hold))
        await connection.execute(
            update(Recording).where(Recording.cdr_id == "cdr3").values(tenant_id=2, agent_id=3, started_at_ms=NOW_MS)
        )
        events = [Event(EventKind.CDR_ENDED, tenant, f"cdr{n}", NOW_MS) for n, tenant in ((1, 1), (2, 1), (3, 2))]
        await tell(connection, events, NOW_MS)
    for login in USERS:
        await _log_in(database, login, NOW_MS)
    await database.dispose()


async def _log_in(database: AsyncEngine, login: str, now_ms: int) -> UserRecord:
    """Begins ``session_of(login)``, without asking for the password."""
    async with reading(database) as connection:
        user = await user_by_login(connection, login)
    assert user is not None
    actor = Actor(ActorKind.USER, login, user_id=user.id, tenant_id=user.tenant_id)
    async with writing_session(database, now_ms, actor) as session:
        await begin_session(
            session,
            user.id,
            user.credential,
            session_id=session_of(login),
            address="127.0.0.1",
            now_ms=now_ms,
            expires_at_ms=SESSIONS_END_MS,
        )
    return user


def session_of(login: str) -> str:
    return f"session of {login}"


@pytest.fixture(scope="session")
def world_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world") / "world.sqlite3"
    asyncio.run(_make_world(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def world_database(postgresql: Cluster) -> Iterator[Restorable]:
    name = postgresql.create("world")
    asyncio.run(_make_world(postgresql.url(name)))
    restorable = Restorable(postgresql, name)
    yield restorable
    restorable.close()


@cache
def _app() -> Litestar:
    """One for all worlds, which are had one after the other: each gives it a state of its own."""
    return create_app(State())


class OfAnotherLoop(Exception):
    """A connection was made in one event loop and is wanted in another, which would break it or wait for ever."""


def of_one_loop(database: AsyncEngine) -> AsyncEngine:
    """``database``, whose connections are for the loop that asks for one first: any other one gets OfAnotherLoop."""
    pool = database.sync_engine.pool
    lend = pool.connect
    first: asyncio.AbstractEventLoop | None = None

    def connect() -> Any:
        nonlocal first
        first = first or asyncio.get_running_loop()
        if asyncio.get_running_loop() is not first:
            raise OfAnotherLoop
        return lend()

    pool.connect = connect  # type: ignore[method-assign]  # events come after the pool has asked whether it is alive
    return database


class World:
    """The API with its database, ``now_ms`` in the test's hands."""

    def __init__(self, data: Path, database_url: str) -> None:
        self.now_ms = NOW_MS
        self.settings = Settings(data_folder=str(data), store=StoreSettings(database_url=database_url))
        self.control = FakeControl()
        self.app = _app()
        self.app.state = self.state()
        # In this thread and this loop, without the application's lifespan: Litestar's client gives each test a thread
        # and a loop more, and each request a way there and back; that was two thirds of the matrix's time.
        # As in a deployment, an error is an answer, and not an exception in the client.
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)  # type: ignore[arg-type]  # its own ASGI types
        self.client = httpx.AsyncClient(transport=transport, base_url="http://testserver.local")
        self.tokens: dict[str, str] = {}

    def state(self, **settings: Any) -> State:
        """What an application of this world begins with, where ``settings`` replace the world's own."""
        changed = msgspec.structs.replace(self.settings, **settings)
        database = of_one_loop(open_database(self.settings.database_url))
        return make_state(changed, database, self.control, secret=b"s" * 32, now_ms=lambda: self.now_ms)

    def elsewhere(self, **settings: Any) -> Litestar:
        """Another application of this world, with connections of its own: the one for Litestar's clients, which run it
        in a thread and a loop of theirs, with its lifespan."""
        return create_app(self.state(**settings))

    @property
    def context(self) -> Context:
        """The application's own; its database is the test's to use too, as both are in one loop."""
        context: Context = self.app.state.context
        return context

    async def ask(self, who: str | None, method: str, path: str, **request: Any) -> Any:
        headers = dict(request.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer {await self.token(who)}"
        return await self.client.request(method, path, headers=headers, **request)

    async def token(self, who: str) -> str:
        if who not in self.tokens:
            user = await self._user(who)
            self.tokens[who] = make_token(self.context, user, session_of(who), ends_at_ms=SESSIONS_END_MS)[0]
        return self.tokens[who]

    async def _user(self, who: str) -> UserRecord:
        """Whoever was in the world from the beginning is logged in there."""
        if who in USERS:
            (audience, tenant_id, agent_id), user_id = USERS[who], list(USERS).index(who) + 1
            return UserRecord(user_id, who, "", audience, tenant_id, agent_id, "active", None, None, None, None)
        database = open_database(self.settings.database_url)
        user = await _log_in(database, who, self.now_ms)
        await database.dispose()
        return user

    async def write(self, table: Any, key: Any, **values: Any) -> None:
        database = open_database(self.settings.database_url)
        async with writing_session(database, self.now_ms) as session:
            row = await session.get_one(table, key)
            for name, value in values.items():
                setattr(row, name, value)
        await database.dispose()


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_HASHER", _CHEAP)
    monkeypatch.setattr(credentials, "_NOBODYS_HASH", _CHEAP.hash("nobody's"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The world, as it was made."""
    if request.param == "sqlite":
        path = tmp_path / "axbridge.sqlite3"
        shutil.copy(request.getfixturevalue("world_file"), path)
        yield f"sqlite+aiosqlite:///{path}"
        return
    restorable: Restorable = request.getfixturevalue("world_database")
    restorable.restore()
    yield restorable.url


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, database_url)
    async with world.client:
        yield world
    await world.context.database.dispose()
