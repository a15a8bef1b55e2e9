"""What is done through the API has its effect on calls, and calls show in the API."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.demo.phone import Ladder, Phone
from engine.demo.world import read_demo_world
from sip.core.hop import Hop
from tests.system.conftest import ROOT, Started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SPEECH = ROOT / "engine/demo"


async def until(condition: Any, seconds_max: float = 10.0) -> Any:
    """The first true answer of ``condition``, a coroutine function."""
    async with asyncio.timeout(seconds_max):
        while not (answer := await condition()):
            await asyncio.sleep(0.05)
    return answer


async def login(base: str, name: str, password: str) -> httpx.AsyncClient:
    client = httpx.AsyncClient(base_url=base, timeout=10)
    answer = (await client.post("/api/login", json={"login": name, "password": password})).raise_for_status()
    client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    return client


async def test_a_binding_made_by_the_api_carries_a_call_that_the_api_shows_and_ends(
    demo: Path, environment: dict[str, str], tmp_path: Path, starts: list[Started]
) -> None:
    starts.append(Started(demo, environment, tmp_path))
    await asyncio.to_thread(starts[0].wait_for, "axbridge is up", 60.0)
    world = read_demo_world(demo)
    base = f"http://127.0.0.1:{environment['AXBRIDGE_API__PORT']}"
    engine = Hop("udp", "127.0.0.1", int(environment["AXBRIDGE_SIP__PORT"]))
    ladder = Ladder()
    boss = await login(base, "boss", "demo-tenant-password")
    agent_client = await login(base, "agent1001", "demo-agent-password")
    customer = Phone(
        "customer", speech=SPEECH / "speech_customer.wav", ladder=ladder, port=world.trunk_port, ring_seconds=0.1
    )
    agent = Phone(
        "agent",
        speech=SPEECH / "speech_agent.wav",
        ladder=ladder,
        username=world.username,
        password=world.password,
    )
    customer.start()
    agent.start()
    try:
        numbers = (await boss.get("/api/tenant/x-numbers")).raise_for_status().json()["items"]
        second = next(each for each in numbers if each["number"].endswith("88880002"))
        agents = (await boss.get("/api/tenant/agents")).raise_for_status().json()["items"]
        first_agent = next(each for each in agents if each["code"] == "1001")
        allocated = await boss.put(f"/api/tenant/x-numbers/{second['id']}/agent", json={"agent_id": first_agent["id"]})
        allocated.raise_for_status()
        binding = {"x_number": second["number"], "b_number": "13700137000", "agent_id": first_agent["id"]}
        (await boss.post("/api/tenant/bindings", json=binding)).raise_for_status()

        agent.call("01088880002", engine, "axbridge")
        async with asyncio.timeout(10):
            await agent.in_call.wait()

        async def live_calls() -> list[dict[str, Any]]:
            return (await boss.get("/api/tenant/live-calls")).raise_for_status().json()["items"]  # type: ignore[no-any-return]

        (live,) = await until(live_calls)
        assert (live["state"], live["b_number"]) == ("answered", "+8613700137000")
        shown_to_agent = (await agent_client.get("/api/agent/live-calls")).raise_for_status().json()["items"]
        assert shown_to_agent[0]["b_number"] == "137****7000"

        (await boss.post(f"/api/tenant/live-calls/{live['id']}/hang-up")).raise_for_status()
        async with asyncio.timeout(10):
            await asyncio.gather(agent.over.wait(), customer.over.wait())

        async def ended() -> dict[str, Any] | None:
            cdr = (await boss.get(f"/api/tenant/cdrs/{live['id']}")).json()
            return cdr if cdr.get("state") == "ended" else None

        cdr = await until(ended)
        assert (cdr["cause"], cdr["release_side"], cdr["charge_micro"]) == ("hung_up_by_platform", "platform", 120_000)

        async def recording() -> httpx.Response | None:
            answer = await agent_client.get(f"/api/agent/cdrs/{live['id']}/recording")
            return answer if answer.is_success else None

        link = (await until(recording)).json()["link"]
        audio = await httpx.AsyncClient(base_url=base).get(link, headers={"Range": "bytes=0-11"})
        assert (audio.status_code, audio.content[:4], audio.content[8:12]) == (206, b"RIFF", b"WAVE")
    finally:
        await agent.close()
        await customer.close()
        await boss.aclose()
        await agent_client.aclose()


def children_of(process_id: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()]


def name_of(process_id: int) -> str:
    """What ``ps`` shows; "" for a process that has gone."""
    try:
        return Path(f"/proc/{process_id}/comm").read_text().strip()
    except OSError:
        return ""


def is_started_api(process_id: int) -> bool:
    """Whether it is one that began as the API, and not as a spare."""
    return Path(f"/proc/{process_id}/cmdline").read_bytes().endswith(b"\0-m\0admin_api\0")


async def test_an_api_that_is_killed_is_replaced_by_its_spare(
    demo: Path, environment: dict[str, str], tmp_path: Path, starts: list[Started]
) -> None:
    starts.append(Started(demo, environment, tmp_path))
    await asyncio.to_thread(starts[0].wait_for, "axbridge is up", 60.0)
    supervisor = starts[0].process.pid
    base = f"http://127.0.0.1:{environment['AXBRIDGE_API__PORT']}"

    async def spare() -> int | None:
        return next((child for child in children_of(supervisor) if name_of(child) == "spare api"), None)

    async def answers() -> bool:
        try:
            return (await client.get("/health")).status_code == 200
        except httpx.HTTPError:
            return False

    async with httpx.AsyncClient(base_url=base, timeout=2) as client:
        waiting = await until(spare, 30.0)
        (serving,) = filter(is_started_api, children_of(supervisor))
        os.kill(serving, signal.SIGKILL)
        await until(answers, 30.0)
    assert waiting in children_of(supervisor)
    assert name_of(waiting) == "api"
    boss = await login(base, "boss", "demo-tenant-password")
    await boss.aclose()
