"""One call with real speech through the running engine: an agent's softphone dials X, the customer's phone rings.

Everything is real but the people: the agent's phone registers and is challenged as any softphone is, the customer's
stands where the demo trunk points to, and what is shown afterwards was fetched from the API.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from engine.demo.phone import Ladder, Phone
from engine.demo.world import DemoFault, DemoWorld
from engine.settings import Settings
from sip.core.hop import Hop

TALK_SECONDS = 5.5
"""Both speeches are about five seconds long."""
STEP_SECONDS_MAX = 10.0
SPEECH_FOLDER = Path(__file__).parent
AGENT, CUSTOMER = "agent", "customer"


@dataclass(frozen=True)
class DemoResult:
    """``cdr`` and ``recording`` are the API's own answers."""

    ladder: Ladder
    shown_to_customer: str
    heard_by_agent_packets: int
    heard_by_customer_packets: int
    cdr: dict[str, Any]
    recording: dict[str, Any]


async def place_demo_call(settings: Settings, world: DemoWorld) -> DemoResult:
    """Raises DemoFault where a step of it fails."""
    engine = Hop("udp", settings.sip.host, settings.sip.port)
    ladder = Ladder()
    try:
        customer = Phone(
            CUSTOMER,
            speech=SPEECH_FOLDER / "speech_customer.wav",
            ladder=ladder,
            host=world.trunk_host,
            port=world.trunk_port,
        )
    except OSError as error:
        raise DemoFault(f"the customer's phone has no port {world.trunk_host}:{world.trunk_port}: {error}") from error
    agent = Phone(
        AGENT,
        speech=SPEECH_FOLDER / "speech_agent.wav",
        ladder=ladder,
        host=settings.sip.host,
        username=world.username,
        password=world.password,
    )
    customer.start()
    agent.start()
    try:
        await _talk(agent, customer, engine, settings.sip.realm, world)
    except TimeoutError as error:
        raise DemoFault(f"the call did not come about (status {agent.failure})") from error
    finally:
        await agent.close()
        await customer.close()
    cdr, recording = await _books(settings, world)
    return DemoResult(
        ladder=ladder,
        shown_to_customer=customer.caller_shown,
        heard_by_agent_packets=agent.packets_heard,
        heard_by_customer_packets=customer.packets_heard,
        cdr=cdr,
        recording=recording,
    )


async def _talk(agent: Phone, customer: Phone, engine: Hop, realm: str, world: DemoWorld) -> None:
    async with asyncio.timeout(STEP_SECONDS_MAX):
        status = await agent.register(engine, realm)
    if status != 200:
        raise DemoFault(f"the agent's softphone was not registered: {status}")
    agent.call(world.x_number, engine, realm)
    async with asyncio.timeout(STEP_SECONDS_MAX):
        await agent.in_call.wait()
    await asyncio.sleep(TALK_SECONDS)
    customer.hang_up()
    async with asyncio.timeout(STEP_SECONDS_MAX):
        await asyncio.gather(agent.over.wait(), customer.over.wait())


async def _books(settings: Settings, world: DemoWorld) -> tuple[dict[str, Any], dict[str, Any]]:
    """The newest CDR and its recording, as a tenant's administrator gets them."""
    admin = next((login for login in world.logins if login.role == "tenant_admin"), None)
    if admin is None:
        raise DemoFault("the provisioning file has no tenant_admin")
    base = f"http://{settings.api.host}:{settings.api.port}"
    try:
        async with httpx.AsyncClient(base_url=base, timeout=STEP_SECONDS_MAX) as client:
            answer = await client.post("/api/login", json={"login": admin.login, "password": admin.password})
            answer.raise_for_status()
            client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
            return await _newest_call(client)
    except (httpx.HTTPError, TimeoutError) as error:
        raise DemoFault(f"the API at {base} does not answer as it should: {error}") from error


async def _newest_call(client: httpx.AsyncClient) -> tuple[dict[str, Any], dict[str, Any]]:
    async with asyncio.timeout(STEP_SECONDS_MAX):
        while True:  # the books are written in batches, within half a second
            page = (await client.get("/api/tenant/cdrs", params={"limit": 1, "state": "ended"})).raise_for_status()
            items = page.json()["items"]
            if items:
                recording = await client.get(f"/api/tenant/cdrs/{items[0]['id']}/recording")
                if recording.status_code == httpx.codes.OK:
                    return items[0], recording.json()
            await asyncio.sleep(0.2)
