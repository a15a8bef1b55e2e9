"""Agents' softphones."""

from typing import Any

from engine.services.access.credentials import sip_ha1
from engine.services.staff.sip_accounts import ACCOUNTS_MAX
from engine.store.database import open_database, reading_session
from engine.store.tables import SipAccount

from .conftest import World


async def _ask(world: World, method: str, path: str, status: int, body: Any = None) -> Any:
    answer = await world.ask("tenant1", method, f"/api/tenant{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def _stored(world: World, account_id: int) -> SipAccount:
    database = open_database(world.settings.database_url)
    async with reading_session(database) as session:
        account = await session.get_one(SipAccount, account_id)
    await database.dispose()
    return account


async def test_a_phone_cannot_log_in_with_the_password_that_was_shown(world: World) -> None:
    made = await _ask(world, "POST", "/agents/1/sip-accounts", 201)
    stored = await _stored(world, made["id"])
    assert (stored.ha1_md5, stored.ha1_sha256) == sip_ha1(made["username"], made["realm"], made["password"])
    assert made["realm"] == world.settings.sip.realm
    changed = await _ask(world, "POST", f"/sip-accounts/{made['id']}/password", 200)
    assert changed["password"] != made["password"]
    stored = await _stored(world, made["id"])
    assert (stored.ha1_md5, stored.ha1_sha256) == sip_ha1(made["username"], made["realm"], changed["password"])
    assert "password" not in str(await _ask(world, "GET", "/agents/1/sip-accounts", 200))


async def test_an_agent_has_phones_without_end(world: World) -> None:
    names = [(await _ask(world, "POST", "/agents/1/sip-accounts", 201))["username"] for _ in range(ACCOUNTS_MAX - 1)]
    assert len(set(names)) == ACCOUNTS_MAX - 1
    assert (await _ask(world, "POST", "/agents/1/sip-accounts", 409))["code"] == "sip_account.too_many"
    await _ask(world, "DELETE", "/sip-accounts/3", 204)
    await _ask(world, "POST", "/agents/1/sip-accounts", 201)


async def test_a_leavers_phone_is_woken(world: World) -> None:
    plan = await _ask(world, "POST", "/agents/1/offboarding-preview", 200, {})
    await _ask(world, "POST", "/agents/1/offboarding", 201, {"token": plan["token"]})
    assert (await _ask(world, "PATCH", "/sip-accounts/1", 409, {"status": "active"}))["code"] == "agent.left"
    assert (await _ask(world, "POST", "/agents/1/sip-accounts", 409))["code"] == "agent.left"
