"""OPTIONS to gateways and REGISTER to carriers, against a carrier that is a user agent in the same test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from engine.b2bua.gateway_locator import GatewayLocator
from engine.b2bua.trunk_watch import REFRESH_SHARE, RETRY_SECONDS_MIN, TrunkWatch
from engine.domain.facts import TrunkRegistrationFacts
from engine.domain.lines.gateways import GatewayHealth
from sip.core import events as sip_events
from sip.core.digest import DigestAuthenticator, Verdict, digest_ha1, parse_credentials
from sip.core.hop import Hop
from sip.core.user_agents.settings import UserAgentSettings
from sip.core.user_agents.user_agent import UserAgent
from tests.unit.facts import TRUNK, directory

ENGINE = Hop("udp", "127.0.0.1", 5060)
CARRIER = Hop("udp", TRUNK.host, TRUNK.port)
ACCOUNT = TrunkRegistrationFacts(
    "line7",
    "carrier",
    digest_ha1("MD5", "line7", "carrier", "pw"),
    digest_ha1("SHA-256", "line7", "carrier", "pw"),
    600,
)


def agent(hop: Hop, prefix: str) -> UserAgent:
    numbers = count(1)
    return UserAgent(
        settings=UserAgentSettings(local_ipv4=(hop.host, hop.port)), new_token=lambda: f"{prefix}{next(numbers)}"
    )


class World:
    def __init__(self, registration: TrunkRegistrationFacts | None = None, ping_seconds: float = 0.0) -> None:
        self.now = 1000.0
        self.ours, self.theirs = agent(ENGINE, "e"), agent(CARRIER, "c")
        self.health = GatewayHealth()
        self.directory = directory(replace(TRUNK, registration=registration))
        self.watch = TrunkWatch(
            user_agent=self.ours,
            directory=self.directory,
            health=self.health,
            locator=GatewayLocator(),
            ping_seconds=ping_seconds,
            own_host=lambda _: ENGINE.host,
            new_token=lambda: "fixed",
        )
        self.received: list[sip_events.IncomingRequest] = []
        self.answer: Callable[[sip_events.IncomingRequest], tuple[int, list[tuple[str, str]]]] = lambda _: (200, [])
        self.is_silent = False

    def pass_seconds(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.now += 1.0
            self.ours.fire_timers(self.now)
            self.theirs.fire_timers(self.now)
            self.watch.tick(self.now)
            self.settle()

    def settle(self) -> None:
        for _ in range(10):
            for sender, receiver, hop in ((self.ours, self.theirs, ENGINE), (self.theirs, self.ours, CARRIER)):
                sent = sender.datagrams[:]
                sender.datagrams.clear()
                if not self.is_silent:
                    for data, _ in sent:
                        receiver.receive_datagram(data, hop, self.now)
            for event in self.theirs.events:
                if isinstance(event, sip_events.IncomingRequest):
                    self.received.append(event)
                    status, headers = self.answer(event)
                    self.theirs.respond(event.transaction, status, self.now, headers=headers)
            self.theirs.events.clear()
            for event in self.ours.events:
                if isinstance(event, sip_events.RequestCompleted):
                    self.watch.completed(event, self.now)
            self.ours.events.clear()


def test_a_silent_gateway_is_down_after_two_pings_and_up_with_the_first_answer() -> None:
    world = World(ping_seconds=30.0)
    world.pass_seconds(1)
    assert [event.request.method for event in world.received] == ["OPTIONS"]
    world.is_silent = True
    world.pass_seconds(150)
    assert world.watch.changes == ["gateway 127.0.0.3:5060 is down"]
    world.is_silent = False
    world.pass_seconds(61)
    assert world.watch.changes[1:] == ["gateway 127.0.0.3:5060 is up"]


def test_a_503_to_options_says_that_it_takes_no_calls() -> None:
    world = World(ping_seconds=30.0)
    world.answer = lambda _: (503, [])
    world.pass_seconds(62)
    assert world.watch.changes == ["gateway 127.0.0.3:5060 is down"]


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_registers_with_digest_and_refreshes_before_the_time_is_over(algorithm: str) -> None:
    world = World(ACCOUNT)
    authenticator = DigestAuthenticator("carrier", b"secret", algorithms=(algorithm,))

    def answer(event: sip_events.IncomingRequest) -> tuple[int, list[tuple[str, str]]]:
        credentials = parse_credentials(event.request.headers.get("authorization"), "Authorization")
        ha1 = ACCOUNT.ha1_md5 if algorithm == "MD5" else ACCOUNT.ha1_sha256
        if authenticator.verify(credentials, ha1, "REGISTER", world.now) is Verdict.GRANTED:
            contact = event.request.headers.get("contact")
            return 200, [("Contact", f"{contact};expires=100")]
        return 401, [("WWW-Authenticate", each) for each in authenticator.challenges("t", world.now)]

    world.answer = answer
    world.pass_seconds(1)
    assert world.watch.is_registered(TRUNK.id, world.now)
    assert world.watch.changes == ["trunk carrier is registered"]
    first = len(world.received)
    numbers = [event.request.cseq_number for event in world.received]
    assert numbers == sorted(set(numbers))
    world.pass_seconds(100 * REFRESH_SHARE - 2)
    assert len(world.received) == first
    world.pass_seconds(3)
    assert len(world.received) == first + 2
    assert len({event.request.call_id for event in world.received}) == 1
    assert world.watch.changes == ["trunk carrier is registered"], "a refresh is nothing to tell"


def test_a_carrier_that_grants_little_is_asked_again_in_time() -> None:
    world = World(ACCOUNT)
    world.answer = lambda event: (200, [("Contact", f"{event.request.headers.get('contact')};expires=10")])
    for _ in range(60):
        world.pass_seconds(1)
        assert world.watch.is_registered(TRUNK.id, world.now)


def test_a_refused_registration_is_tried_again_with_growing_patience() -> None:
    world = World(ACCOUNT)
    world.answer = lambda _: (403, [])
    world.pass_seconds(1)
    assert not world.watch.is_registered(TRUNK.id, world.now)
    world.pass_seconds(RETRY_SECONDS_MIN + 1)
    assert len(world.received) == 2
    world.pass_seconds(RETRY_SECONDS_MIN + 1)
    assert len(world.received) == 2
    world.pass_seconds(RETRY_SECONDS_MIN + 1)
    assert len(world.received) == 3


def test_a_wrong_password_does_not_loop() -> None:
    world = World(ACCOUNT)
    authenticator = DigestAuthenticator("carrier", b"secret")
    world.answer = lambda _: (401, [("WWW-Authenticate", authenticator.challenges("t", world.now)[0])])
    world.pass_seconds(2)
    assert len(world.received) == 2
    assert "is not registered: 401" in world.watch.changes[0]


def test_a_trunk_that_is_gone_is_neither_asked_nor_registered() -> None:
    world = World(ACCOUNT, ping_seconds=30.0)
    world.pass_seconds(1)
    count_before = len(world.received)
    world.directory.remove("trunks", str(TRUNK.id))
    world.pass_seconds(700)
    assert len(world.received) == count_before
