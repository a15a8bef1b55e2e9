"""Kamailio between the engine and the customer's phone: its route set, its registrar, its certificate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.baresip import Baresip
from tests.interop.conftest import has_failed
from tests.interop.kamailio import Kamailio
from tests.interop.lane import CALLEE_HZ, Lane
from tests.interop.ports import free_udp_port
from tests.interop.rtp_phone import power_at
from tests.interop.sipp import Sipp

pytestmark = pytest.mark.peer

CUSTOMER_HOST = "127.0.0.5"
"""Not the trunk's address: what the engine sends there directly, or takes from there, has missed Kamailio."""


class Edge:
    """A lane whose trunk is a Kamailio, and B's baresip behind it."""

    def __init__(self, lane: Lane, folder: Path) -> None:
        self.lane = lane
        self.folder = folder
        self.customer_port = free_udp_port(CUSTOMER_HOST)
        self.agent_port = free_udp_port(CUSTOMER_HOST)
        self.customer: Baresip | None = None
        self.agent: Sipp | None = None
        self.kamailio: Kamailio | None = None

    def start(self, *, engine_uri: str = "", **arguments: Any) -> Kamailio:
        lane = self.lane
        destinations = {
            lane.a: f"sip:{CUSTOMER_HOST}:{self.agent_port}",
            lane.b: f"sip:{CUSTOMER_HOST}:{self.customer_port}",
            lane.x: engine_uri or f"sip:{lane.engine_host}:{lane.site.sip_port}",
        }
        arguments = {"destinations": destinations} | arguments
        self.kamailio = Kamailio(self.folder / "kamailio", host=lane.callee_host, port=lane.callee_port, **arguments)
        return self.kamailio

    def customer_phone(self, **arguments: Any) -> Baresip:
        self.customer = Baresip(
            self.folder / "customer", host=CUSTOMER_HOST, port=self.customer_port, username=self.lane.b,
            frequency_hz=CALLEE_HZ, **arguments,
        )  # fmt: skip
        return self.customer

    def agent_phone(self, scenario: str, **arguments: Any) -> Sipp:
        """A's, which is at no softphone now, so that Kamailio leads to it too."""
        keys = {"rtp_port": str(self.lane.caller_voice.port)}
        self.agent = Sipp(
            self.folder / "agent", scenario, host=CUSTOMER_HOST, port=self.agent_port, keys=keys, **arguments
        )
        return self.agent

    def close(self) -> None:
        for peer in (self.customer, self.agent, self.kamailio):
            if peer is not None:
                peer.end()


@pytest.fixture
def edge(lane: Lane, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Edge]:
    made = Edge(lane, tmp_path)
    yield made
    made.close()
    if has_failed(request.node):
        return
    for phone, hidden_digits in ((made.customer, lane.a), (made.agent, lane.b)):
        for message in phone.received() if phone is not None else ():
            assert hidden_digits.encode() not in message.octets, f"shown in {message.start_line}"


def test_hang_up_follows_the_route_set(edge: Edge) -> None:
    """Kamailio answers 404 to a BYE that does not name it, and the customer's phone would stay in the call."""
    lane, kamailio, customer = edge.lane, edge.start(), edge.customer_phone(answers=True)
    caller = lane.caller("caller_hangs_up", duration_ms=600)
    caller.wait()
    customer.wait_event("CALL_CLOSED")
    for method in ("ACK", "BYE"):
        assert kamailio.seen(f"{method} from udp, Route: <sip:{lane.callee_host}:{lane.callee_port};lr")
        assert len(customer.received(method)[0].headers("Via")) == 2
    recording = lane.assert_talked(lane.cdr(), 0.6)
    assert power_at(recording.callee[-2400:], CALLEE_HZ) > 0.9


def test_customer_hangs_up_through_the_proxy(edge: Edge) -> None:
    lane, _, customer = edge.lane, edge.start(), edge.customer_phone(answers=True)
    caller = lane.caller("caller_waits")
    customer.wait_event("CALL_ESTABLISHED")
    time.sleep(0.5)
    customer.command("hangup")
    caller.wait()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("normal", "callee")
    lane.assert_talked(cdr, 0.5)


def test_hold_goes_through_the_proxy_both_ways(edge: Edge) -> None:
    """re-INVITEs are new transactions with the same route set, ours to the customer and the customer's to us."""
    lane, kamailio, customer = edge.lane, edge.start(), edge.customer_phone(answers=True)
    caller = lane.phone()
    caller.call(lane.a, lane.x, lane.caller_voice.port)
    caller.acknowledge(caller.answer(least=200))
    customer.wait_event("CALL_ESTABLISHED")
    caller.offer_again(caller.description(lane.caller_voice.port, "a=sendonly"))
    held = caller.answer(least=200)
    assert (held.status, "a=recvonly" in held.body) == (200, True)
    caller.acknowledge(held)
    customer.command("hold")
    offer = caller.expect("INVITE")
    assert "a=sendonly" in offer.body or "a=inactive" in offer.body
    caller.respond(offer, "200 OK", body=caller.description(lane.caller_voice.port, "a=inactive"))
    caller.expect("ACK")
    assert len(kamailio.seen(f"INVITE from udp, Route: <sip:{lane.callee_host}:{lane.callee_port};lr")) == 2
    caller.bye()
    customer.wait_event("CALL_CLOSED")
    assert caller.answer(least=200).status == 200
    assert lane.cdr()["cause"] == "normal"


def test_caller_gives_up_on_a_phone_behind_the_proxy(edge: Edge) -> None:
    """CANCEL goes hop by hop, and the 487 comes back through Kamailio's own transaction."""
    lane, _, customer = edge.lane, edge.start(), edge.customer_phone()
    caller = lane.caller("caller_cancels", duration_ms=400)
    customer.wait_event("CALL_INCOMING")
    caller.wait()
    customer.wait_event("CALL_CLOSED")
    lane.assert_never_talked(lane.cdr())


def test_customer_calls_through_the_proxy(edge: Edge) -> None:
    """The trunk is known by Kamailio's address, and our requests to the customer's phone go back through it."""
    lane, kamailio = edge.lane, edge.start()
    customer = edge.customer_phone()
    agent = edge.agent_phone("callee_hangs_up", duration_ms=500)
    customer.command("dial", f"sip:{lane.x}@{lane.callee_host}:{lane.callee_port}")
    customer.wait_event("CALL_ESTABLISHED")
    agent.wait()
    customer.wait_event("CALL_CLOSED")
    assert len(kamailio.seen(f"BYE from udp, Route: <sip:{lane.callee_host}:{lane.callee_port};lr")) == 2
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["cause"], cdr["release_side"]) == ("b_to_a", "normal", "callee")
    recording = lane.assert_talked(cdr, 0.5)
    assert power_at(recording.caller[-2400:], CALLEE_HZ) > 0.9
