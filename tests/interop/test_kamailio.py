"""Kamailio between the engine and the customer's phone: its route set, its registrar, its certificate."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmarks.installation import free_udp_port
from sip.transport.tls import TlsSettings
from tests.interop.baresip import Baresip, free_tcp_port
from tests.interop.conftest import check_after, end_calls_of, has_failed, lane_indexes
from tests.interop.kamailio import Kamailio
from tests.interop.lane import CALLEE_HZ, Lane
from tests.interop.rtp_phone import power_at
from tests.interop.sipp import Sipp
from tests.interop.site import Site, wait_for
from tests.unit.sip.stream_lane import Authority

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

    def load_trunk(self, *lines: str) -> None:
        """The lane's trunk once more, with further keys or other values."""
        lane = self.lane
        values = {"host": f'"{lane.callee_host}"', "port": str(lane.callee_port)}
        values |= {key: value for key, _, value in (line.partition(" = ") for line in lines)}
        sources = [f"{lane.caller_host}:{lane.caller_port}", lane.callee_host]
        lane.site.load(
            f'[[trunks]]\ncode = "{lane.code}"\ncarrier = "{lane.code}"\nname = "Lane"\nsource_addresses = {sources}\n'
            + "\n".join(f"{key} = {value}" for key, value in values.items())
        )

    def engine_says(self, sentence: str) -> bool:
        return sentence in (self.lane.site.folder / "engine.log").read_text()

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


# The registrar --------------------------------------------------------------------------------------------------------

USERNAME, PASSWORD = "shop-4711", "what-the-carrier-gave-us"


def registration(realm: str, expires_seconds: int = 600, password: str = PASSWORD) -> str:
    return (
        f'registration = {{ username = "{USERNAME}", password = "{password}", realm = "{realm}", '
        f"expires_seconds = {expires_seconds} }}"
    )


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_engine_registers_to_the_carrier_and_refreshes(edge: Edge, algorithm: str) -> None:
    kamailio = edge.start(password=PASSWORD, algorithm=algorithm)
    edge.load_trunk(registration(kamailio.realm))
    wait_for("registration", lambda: edge.engine_says(f"trunk {edge.lane.code} is registered"))
    assert len(kamailio.seen(f"saved {USERNAME}, CSeq .*600 seconds")) == 1
    edge.load_trunk(registration(kamailio.realm, expires_seconds=300))  # what changes is registered anew, at once
    second = wait_for("the refresh", lambda: kamailio.seen(f"saved {USERNAME}, CSeq .*300 seconds"))
    first = kamailio.seen(f"saved {USERNAME}, CSeq .*600 seconds")
    assert call_id_and_cseq(second[0])[0] == call_id_and_cseq(first[0])[0]
    assert call_id_and_cseq(second[0])[1] > call_id_and_cseq(first[0])[1]
    assert not edge.engine_says(f"trunk {edge.lane.code} is not registered")


def call_id_and_cseq(line: str) -> tuple[str, int]:
    found = re.search(r"CSeq (\d+), Call-ID (\S+),", line)
    assert found is not None, line
    return found[2], int(found[1])


def test_wrong_password_at_the_carrier_is_told_and_not_tried_at_once_again(edge: Edge) -> None:
    kamailio = edge.start(password=PASSWORD)
    edge.load_trunk(registration(kamailio.realm, password="another"))
    wait_for("refusal", lambda: edge.engine_says(f"trunk {edge.lane.code} is not registered: 401"))
    asked = len(kamailio.seen("REGISTER"))
    time.sleep(1.5)
    assert len(kamailio.seen("REGISTER")) == asked == 2  # without credentials, and with
    assert not kamailio.seen("saved")


def test_carrier_calls_the_registered_contact(edge: Edge) -> None:
    """The Request-URI is the contact that we registered (RFC 3261 §16.5), and the dialled number stands in To alone."""
    lane = edge.lane
    places = {lane.a: f"sip:{CUSTOMER_HOST}:{edge.agent_port}"}
    kamailio = edge.start(password=PASSWORD, destinations=places, dialled_numbers_at_contact_of=USERNAME)
    edge.load_trunk(registration(kamailio.realm))
    wait_for("registration", lambda: kamailio.seen("saved"))
    customer, agent = edge.customer_phone(), edge.agent_phone("callee_hangs_up", duration_ms=300)
    customer.command("dial", f"sip:{lane.x}@{lane.callee_host}:{lane.callee_port}")
    customer.wait_event("CALL_ESTABLISHED")
    agent.wait()
    customer.wait_event("CALL_CLOSED")
    lane.assert_talked(lane.cdr(), 0.3)


def test_carrier_asks_for_credentials_of_a_call(edge: Edge) -> None:
    """407 to INVITE, which is sent again with what the trunk's registration says."""
    lane = edge.lane
    kamailio = edge.start(password=PASSWORD, challenges_calls_from=lane.engine_host)
    edge.load_trunk(registration(kamailio.realm))
    customer = edge.customer_phone(answers=True)
    lane.caller("caller_hangs_up", duration_ms=300).wait()
    customer.wait_event("CALL_CLOSED")
    assert len(kamailio.seen("INVITE")) == 2
    lane.assert_talked(lane.cdr(), 0.3)


# TLS ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls_site(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Site]:
    """An engine with a certificate of its own, which verifies the servers that it connects to."""
    own = authority.settings("127.0.0.1")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AXBRIDGE_SIP__TLS_PORT", str(free_tcp_port("127.0.0.1")))
        environment.setenv("AXBRIDGE_SIP__TLS_CERTIFICATE_FILE", own.certificate_file)
        environment.setenv("AXBRIDGE_SIP__TLS_KEY_FILE", own.key_file)
        environment.setenv("AXBRIDGE_SIP__TLS_AUTHORITIES_FILE", own.authorities_file)
        made = TlsSite(tmp_path_factory.mktemp("tls-site"))
    try:
        made.start()
        yield made
    finally:
        codes = made.stop()
    assert codes == {"engine": 0, "media": 0}


class TlsSite(Site):
    @property
    def tls_port(self) -> int:
        return int(self._environment["AXBRIDGE_SIP__TLS_PORT"])


@pytest.fixture
def tls_edge(tls_site: TlsSite, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Edge]:
    lane = Lane(tls_site, tmp_path / "lane", next(lane_indexes))
    made = Edge(lane, tmp_path)
    yield made
    made.close()
    lane.close()
    if has_failed(request.node):
        end_calls_of(tls_site, [lane])
    else:
        check_after(tls_site, [lane])


def start_tls(edge: Edge, shown: TlsSettings) -> Kamailio:
    """Kamailio that takes calls by TLS, shows that certificate and brings the customer's calls by TLS."""
    site = edge.lane.site
    assert isinstance(site, TlsSite)
    port = free_tcp_port(edge.lane.callee_host)
    kamailio = edge.start(
        tls_port=port, tls_settings=shown, engine_uri=f"sip:{site.host}:{site.tls_port};transport=tls"
    )
    edge.load_trunk('transport = "tls"', f"port = {port}")
    return kamailio


def test_calls_go_by_tls_and_the_customer_by_udp(tls_edge: Edge, authority: Authority) -> None:
    """Kamailio names itself twice in the route set, once for each side (RFC 5658), and our requests take both."""
    lane = tls_edge.lane
    kamailio = start_tls(tls_edge, authority.settings(lane.callee_host))
    customer = tls_edge.customer_phone(answers=True)
    lane.caller("caller_hangs_up", duration_ms=400).wait()
    customer.wait_event("CALL_CLOSED")
    assert kamailio.seen("INVITE from tls")
    assert kamailio.seen(f"BYE from tls, Route: <sip:{lane.callee_host}:{kamailio.tls_port};transport=tls;.*r2=on")
    lane.assert_talked(lane.cdr(), 0.4)


def test_customer_calls_and_hangs_up_by_tls(tls_edge: Edge, authority: Authority) -> None:
    lane = tls_edge.lane
    kamailio = start_tls(tls_edge, authority.settings(lane.callee_host))
    customer, agent = tls_edge.customer_phone(), tls_edge.agent_phone("callee_answers")
    customer.command("dial", f"sip:{lane.x}@{lane.callee_host}:{lane.callee_port}")
    customer.wait_event("CALL_ESTABLISHED")
    time.sleep(0.4)
    customer.command("hangup")
    agent.wait()
    assert kamailio.seen("BYE from tls")
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["cause"], cdr["release_side"]) == ("b_to_a", "normal", "caller")
    lane.assert_talked(cdr, 0.4)


@pytest.mark.parametrize("fault", ["another name", "another authority"])
def test_wrong_certificate_gets_no_call(tls_edge: Edge, authority: Authority, tmp_path: Path, fault: str) -> None:
    lane = tls_edge.lane
    if fault == "another name":
        shown = authority.settings("127.0.0.99")
    else:
        shown = Authority(tmp_path, "impostor").settings(lane.callee_host, trusts=authority)
    kamailio = start_tls(tls_edge, shown)
    lane.caller("caller_refused").wait()
    assert not kamailio.seen("INVITE")
    cdr = lane.cdr()
    assert cdr["cause"] != "normal"
    lane.assert_never_talked(cdr)
