"""A call over real loopback sockets, and what the shell does when the kernel says no."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from sip_wire import SDP

from sip.core.events import Event, IncomingInvite, InviteAnswered, InviteFailed, SessionEnded
from sip.core.hop import Hop
from sip.core.user_agent import UserAgent
from sip.core.user_agent_settings import UserAgentSettings
from sip.endpoint import Endpoint
from sip.transport.udp import UdpSocket


def _endpoint(host: str, seen: list[Event]) -> Endpoint:
    numbers = count(1)
    udp = UdpSocket(host, 0)
    settings = UserAgentSettings(
        local_ipv4=None if udp.is_ipv6 else udp.address, local_ipv6=udp.address if udp.is_ipv6 else None
    )
    agent = UserAgent(settings=settings, new_token=lambda: f"{udp.address[1]}x{next(numbers)}")

    def handle(event: Event, now: float) -> None:
        seen.append(event)
        if isinstance(event, IncomingInvite):
            agent.answer(event.session, now, SDP)
        elif isinstance(event, InviteAnswered):
            agent.acknowledge(event.session, now)
            agent.bye(event.session, now)

    endpoint = Endpoint(agent, [udp], handle, asyncio.get_running_loop().time)
    endpoint.start(asyncio.get_running_loop())
    return endpoint


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_call_over_loopback_ends_on_both_sides(host: str) -> None:
    told_a: list[Event] = []
    told_b: list[Event] = []
    a, b = _endpoint(host, told_a), _endpoint(host, told_b)
    try:
        target = Hop("udp", *b.sockets[0].address)
        a.user_agent.invite(
            target="sip:100@x", hop=target, from_="<sip:a@x>", to="<sip:b@x>", now=asyncio.get_running_loop().time()
        )
        a.flush()
        async with asyncio.timeout(5):
            while not any(isinstance(event, SessionEnded) for event in told_b) or a.user_agent.sessions:
                await asyncio.sleep(0.005)
        assert not b.user_agent.sessions
    finally:
        a.close()
        b.close()


async def test_unsendable_hop_fails_the_call_instead_of_the_loop() -> None:
    told: list[Event] = []
    endpoint = _endpoint("127.0.0.1", told)
    try:
        endpoint.user_agent.invite(
            target="sip:100@x",
            hop=Hop("udp", "not-numeric.invalid.", 5060),
            from_="<sip:a@x>",
            to="<sip:b@x>",
            now=asyncio.get_running_loop().time(),
        )
        endpoint.flush()
        assert [event.status for event in told if isinstance(event, InviteFailed)] == [503]
    finally:
        endpoint.close()
