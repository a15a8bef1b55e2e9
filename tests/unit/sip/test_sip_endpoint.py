"""A call over real loopback sockets, and what the shell does when the kernel says no."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from sip_wire import SDP

from sip.core.events import DialogResponse, Event, IncomingInvite, InviteAnswered, InviteFailed, SessionEnded
from sip.core.hop import Hop
from sip.core.user_agents.settings import UserAgentSettings
from sip.core.user_agents.user_agent import UserAgent
from sip.endpoint import Endpoint
from sip.transport.udp import UdpSocket


class _Answering:
    """Answers what comes in and ends what it has called."""

    def __init__(self, agent: UserAgent, seen: list[Event], over: asyncio.Event) -> None:
        self._agent, self._seen, self._over = agent, seen, over

    def receive(self, event: Event, now: float) -> None:
        self._seen.append(event)
        if isinstance(event, IncomingInvite):
            self._agent.answer(event.session, now, SDP)
        elif isinstance(event, InviteAnswered):
            self._agent.acknowledge(event.session, now)
            self._agent.bye(event.session, now)
        elif isinstance(event, SessionEnded | DialogResponse):
            self._over.set()

    def fire_timers(self, now: float) -> None:
        raise AssertionError("no timer was set")

    def next_deadline(self) -> float | None:
        return None

    def commit(self, now: float) -> None:
        pass


def _endpoint(host: str, seen: list[Event], over: asyncio.Event) -> Endpoint:
    numbers = count(1)
    udp = UdpSocket(host, 0)
    settings = UserAgentSettings(
        local_ipv4=None if udp.is_ipv6 else udp.address, local_ipv6=udp.address if udp.is_ipv6 else None
    )
    agent = UserAgent(settings=settings, new_token=lambda: f"{udp.address[1]}x{next(numbers)}")
    endpoint = Endpoint(agent, [udp], _Answering(agent, seen, over), asyncio.get_running_loop().time)
    endpoint.start(asyncio.get_running_loop())
    return endpoint


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_call_over_loopback_ends_on_both_sides(host: str) -> None:
    over_a, over_b = asyncio.Event(), asyncio.Event()
    a, b = _endpoint(host, [], over_a), _endpoint(host, [], over_b)
    try:
        target = Hop("udp", *b.sockets[0].address)
        a.user_agent.invite(
            target="sip:100@x", hop=target, from_="<sip:a@x>", to="<sip:b@x>", now=asyncio.get_running_loop().time()
        )
        a.flush()
        async with asyncio.timeout(5):
            await over_a.wait()
            await over_b.wait()
        assert not a.user_agent.sessions
        assert not b.user_agent.sessions
    finally:
        a.close()
        b.close()


async def test_unsendable_hop_fails_the_call_instead_of_the_loop() -> None:
    told: list[Event] = []
    endpoint = _endpoint("127.0.0.1", told, asyncio.Event())
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
