"""SIPp's phones over TCP and TLS: agent to customer and the other way, and each side's hang-up.

The books are those of a call over UDP; beside them each test asks by which connections the messages went.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmarks.installation import free_udp_port
from sip.transport.tls import TlsSettings, client_context, server_context
from tests.interop.conftest import check_after, end_calls_of, has_failed, lane_indexes
from tests.interop.lane import Lane
from tests.interop.sipp import Sipp
from tests.interop.site import Site
from tests.interop.test_calls import assert_heard_each_other, assert_recorded
from tests.interop.tls_relay import TlsRelay
from tests.unit.sip.stream_lane import Authority

pytestmark = pytest.mark.sipp


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_udp_port("127.0.0.1")


@pytest.fixture(scope="module")
def stream_site(tmp_path_factory: pytest.TempPathFactory, authority: Authority, tls_port: int) -> Iterator[Site]:
    """An engine that takes TLS from holders of a certificate alone, and knows only the tests' authority."""
    own = authority.settings("127.0.0.1")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AXBRIDGE_SIP__TLS_PORT", str(tls_port))
        environment.setenv("AXBRIDGE_SIP__TLS_CERTIFICATE_FILE", own.certificate_file)
        environment.setenv("AXBRIDGE_SIP__TLS_KEY_FILE", own.key_file)
        environment.setenv("AXBRIDGE_SIP__TLS_AUTHORITIES_FILE", own.authorities_file)
        environment.setenv("AXBRIDGE_SIP__TLS_WANTS_CLIENT_CERTIFICATES", "true")
        environment.setenv("AXBRIDGE_SIP__DIGEST_OFFERED_FIRST", "MD5")
        made = Site(tmp_path_factory.mktemp("stream-site"), digest_offered_first="MD5")
    try:
        made.start()
        yield made
    finally:
        codes = made.stop()
    assert codes == {"engine": 0, "media": 0}


class StreamLane:
    """A lane whose trunk speaks ``transport``; with "tls" each SIPp has a relay that holds its certificate."""

    def __init__(self, lane: Lane, transport: str, tls_port: int, authority: Authority) -> None:
        self.lane, self.transport = lane, transport
        self.tls_port, self._authority = tls_port, authority
        self.relays: list[TlsRelay] = []
        lane.site.load(
            f'[[trunks]]\ncode = "{lane.code}"\ncarrier = "{lane.code}"\nname = "Lane"\nhost = "{lane.callee_host}"\n'
            f'port = {lane.callee_port}\ntransport = "{transport}"\nnumber_format = "national"\ncalls_max = 100\n'
            f'source_addresses = ["{lane.caller_host}:{lane.caller_port}", "{lane.callee_host}"]'
        )

    def caller(self, scenario: str, *, is_stranger: bool = False, **arguments: Any) -> Sipp:
        """``is_stranger`` calls from a port that is not the trunk's: a softphone."""
        lane = self.lane
        port = free_udp_port(lane.caller_host) if is_stranger else lane.caller_port
        if self.transport == "tcp":
            return lane.caller(scenario, transport="tcp", port=port, **arguments)
        relay = self.relay(
            (lane.caller_host, 0), (lane.engine_host, self.tls_port),
            client_context(self._shown(lane.caller_host)), towards_server=True, source=(lane.caller_host, port),
        )  # fmt: skip
        return lane.caller(
            scenario, transport="tls", port=free_udp_port(lane.caller_host), shown_port=port,
            remote=f"{lane.caller_host}:{relay.address[1]}", **arguments,
        )  # fmt: skip

    def callee(self, scenario: str, **arguments: Any) -> Sipp:
        lane = self.lane
        if self.transport == "tcp":
            return lane.callee(scenario, transport="tcp", **arguments)
        port = free_udp_port(lane.callee_host)
        context = server_context(self._shown(lane.callee_host))
        self.relay((lane.callee_host, lane.callee_port), (lane.callee_host, port), context, towards_server=False)
        return lane.callee(scenario, transport="tls", port=port, shown_port=lane.callee_port, **arguments)

    def close(self) -> None:
        for relay in self.relays:
            relay.close()

    def assert_transport(self, *sipps: Sipp) -> None:
        """Every Via that the engine wrote says so; and what says TLS went by TLS."""
        for sipp in sipps:
            invite = sipp.messages()[0]
            assert invite.start_line.startswith(("INVITE", "REGISTER"))
            assert invite.header("Via").startswith(f"SIP/2.0/{self.transport.upper()} ")
        if self.transport == "tls":
            assert [relay.versions for relay in self.relays] == [["TLSv1.3"]] * len(sipps)

    def _shown(self, host: str) -> TlsSettings:
        return self._authority.settings(host)

    def relay(
        self, listens_at: tuple[str, int], leads_to: tuple[str, int], context: ssl.SSLContext, **more: Any
    ) -> TlsRelay:
        self.relays.append(TlsRelay(listens_at, leads_to, context, **more))
        return self.relays[-1]


@pytest.fixture(params=["tcp", "tls"])
def streams(
    stream_site: Site, tmp_path: Path, request: pytest.FixtureRequest, tls_port: int, authority: Authority
) -> Iterator[StreamLane]:
    lane = Lane(stream_site, tmp_path / "lane", next(lane_indexes), softphone=True)
    made = StreamLane(lane, request.param, tls_port, authority)
    yield made
    lane.close()
    made.close()
    if has_failed(request.node):
        end_calls_of(stream_site, [lane])
    else:
        check_after(stream_site, [lane])


def test_agent_calls_customer_and_hangs_up(streams: StreamLane) -> None:
    lane = streams.lane
    callee = streams.callee("callee_answers")
    caller = streams.caller("caller_hangs_up", duration_ms=1500)
    lane.talk(caller, callee, 1.0)
    lane.hear_out()
    caller.wait()
    callee.wait()
    streams.assert_transport(caller, callee)
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["a_number"], cdr["b_number"]) == ("a_to_b", "+86" + lane.a, "+86" + lane.b)
    assert (cdr["cause"], cdr["release_side"], cdr["sip_status"], cdr["q850_cause"]) == ("normal", "caller", 200, 16)
    recording = lane.assert_talked(cdr, 1.5)
    assert_heard_each_other(lane)
    assert_recorded(recording, lane)


def test_customer_calls_agent_and_is_hung_up_on(streams: StreamLane) -> None:
    """The engine's own BYE goes back on the connection that the caller has made."""
    lane = streams.lane
    callee = streams.callee("callee_hangs_up", is_agent=True, duration_ms=800)
    caller = streams.caller("caller_waits", is_customer=True)
    caller.wait()
    callee.wait()
    streams.assert_transport(caller, callee)
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["cause"], cdr["release_side"]) == ("b_to_a", "normal", "callee")
    lane.assert_talked(cdr, 0.8)


def test_softphone_registers_and_calls(streams: StreamLane) -> None:
    """Challenged and answered on one connection, then put through to the trunk."""
    lane = streams.lane
    callee = streams.callee("callee_answers")
    before = lane.site.status().registered_contacts
    phone = streams.caller("softphone_registers", is_stranger=True, contact_port=free_udp_port(lane.caller_host))
    phone.wait()
    assert lane.site.status().registered_contacts == before + 1
    caller = streams.caller("softphone_calls", is_stranger=True, duration_ms=400)
    caller.wait()
    callee.wait()
    streams.assert_transport(phone, caller, callee)
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["cause"]) == ("a_to_b", "normal")
    lane.assert_talked(cdr, 0.4)


def test_busy_customer(streams: StreamLane) -> None:
    callee = streams.callee("callee_busy")
    caller = streams.caller("caller_refused")
    caller.wait()
    callee.wait()
    streams.assert_transport(caller, callee)
    cdr = streams.lane.cdr()
    assert (cdr["cause"], cdr["sip_status"], cdr["q850_cause"]) == ("busy", 486, 17)
    streams.lane.assert_never_talked(cdr)


def test_caller_gives_up(streams: StreamLane) -> None:
    callee = streams.callee("callee_rings")
    caller = streams.caller("caller_cancels", duration_ms=400)
    caller.wait()
    callee.wait()
    streams.assert_transport(caller, callee)
    cdr = streams.lane.cdr()
    assert cdr["sip_status"] == 487
    streams.lane.assert_never_talked(cdr)


@pytest.mark.parametrize("streams", ["tls"], indirect=True)
def test_caller_without_certificate_gets_no_word_in(streams: StreamLane, authority: Authority) -> None:
    """TLS 1.3 tells a client only after its handshake that its certificate is wanting: the connection is cut then."""
    lane = streams.lane
    context = ssl.create_default_context(cafile=authority.file)
    callee = streams.callee("callee_answers", is_idle=True)
    relay = streams.relay(
        (lane.caller_host, 0), (lane.engine_host, streams.tls_port), context,
        towards_server=True, source=(lane.caller_host, lane.caller_port),
    )  # fmt: skip
    caller = lane.caller(
        "caller_hangs_up", transport="tls", port=free_udp_port(lane.caller_host), shown_port=lane.caller_port,
        remote=f"{lane.caller_host}:{relay.address[1]}", is_idle=True, options=("-timeout", "2"),
    )  # fmt: skip
    with pytest.raises(AssertionError):
        caller.wait()
    assert [message for message in caller.messages() if message.received] == []
    assert callee.received() == []
    assert lane.cdrs() == []
