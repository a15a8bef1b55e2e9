"""Agents on softphones: registering, calling, being called."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.benchmarks.installation import free_udp_port
from sip.core.digest import authorize, digest_ha1
from tests.interop.conftest import MakeLane, check_after, lane_indexes
from tests.interop.lane import Lane
from tests.interop.sip_phone import SipPhone
from tests.interop.site import Site
from tests.interop.wire import Message

pytestmark = pytest.mark.sipp


@pytest.fixture
def lane(make_lane: MakeLane) -> Lane:
    return make_lane(softphone=True)


class Account:
    """What the phone knows of itself."""

    def __init__(self, lane: Lane, algorithm: str, *, password: str | None = None) -> None:
        self.username = lane.code
        self.realm = lane.site.settings.sip.realm
        secret = lane.password if password is None else password
        self.ha1 = {algorithm: digest_ha1(algorithm, self.username, self.realm, secret)}

    def header(self, challenge: Message, method: str, uri: str, nonce_count: int = 1) -> str:
        value = authorize(
            challenge.headers("WWW-Authenticate"), self.ha1, self.username, method, uri, "a1b2c3d4", nonce_count
        )
        assert value is not None
        return f"Authorization: {value}"


def register(phone: SipPhone, account: Account, cseq: int, *headers: str) -> Message:
    uri = f"sip:{phone.engine[0]}"
    address = f"<sip:{account.username}@{phone.engine[0]}>"
    phone.request(
        "REGISTER", uri, from_=f"{address};tag=r1", to=address, call_id=f"register-{phone.port}", cseq=cseq,
        headers=("Expires: 300", *headers),
    )  # fmt: skip
    return phone.answer(least=200)


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_phone_registers_after_the_challenge(lane: Lane, algorithm: str) -> None:
    before = lane.site.status().registered_contacts
    phone, account = lane.phone(port=free_udp_port(lane.caller_host)), Account(lane, algorithm)
    challenge = register(phone, account, 1)
    assert challenge.status == 401
    uri = f"sip:{phone.engine[0]}"
    granted = register(phone, account, 2, account.header(challenge, "REGISTER", uri))
    assert granted.status == 200
    assert "expires=300" in granted.header("Contact")
    assert lane.site.status().registered_contacts == before + 1
    # The same nonce with the same count is a replay; with the next one it is good again.
    replayed = register(phone, account, 3, account.header(challenge, "REGISTER", uri))
    assert replayed.status == 401
    assert "stale=true" in replayed.header("WWW-Authenticate")
    assert register(phone, account, 4, account.header(challenge, "REGISTER", uri, nonce_count=2)).status == 200


def test_forged_nonce_is_stale_and_the_new_one_is_good(lane: Lane) -> None:
    """As after a restart of the engine: the secret is right, so the phone is asked once more and not turned away."""
    phone, account = lane.phone(port=free_udp_port(lane.caller_host)), Account(lane, "SHA-256")
    uri = f"sip:{phone.engine[0]}"
    challenge = register(phone, account, 1)
    foreign = challenge.octets.replace(b"0", b"1")
    stale = register(phone, account, 2, account.header(Message(foreign, True), "REGISTER", uri))
    assert stale.status == 401
    assert "stale=true" in stale.header("WWW-Authenticate")
    assert register(phone, account, 3, account.header(stale, "REGISTER", uri)).status == 200


def test_wrong_password_is_refused(lane: Lane) -> None:
    before = lane.site.status().registered_contacts
    phone, account = lane.phone(port=free_udp_port(lane.caller_host)), Account(lane, "MD5", password="another-password")
    challenge = register(phone, account, 1)
    refused = register(phone, account, 2, account.header(challenge, "REGISTER", f"sip:{phone.engine[0]}"))
    assert refused.status == 403
    assert lane.site.status().registered_contacts == before


def test_agent_calls_from_a_softphone(lane: Lane) -> None:
    """Challenged, then put through as A, whatever number its From header claims."""
    callee = lane.callee("callee_answers")
    phone, account = lane.phone(port=free_udp_port(lane.caller_host)), Account(lane, "SHA-256")
    phone.call("10000", lane.x, lane.caller_voice.port)
    challenge = phone.answer(least=200)
    assert challenge.status == 401
    phone.acknowledge_failure(challenge)
    uri = f"sip:{lane.x}@{phone.engine[0]}:{phone.engine[1]}"
    phone.call("10000", lane.x, lane.caller_voice.port, cseq=2, headers=(account.header(challenge, "INVITE", uri),))
    answer = phone.answer(least=200)
    assert answer.status == 200
    phone.acknowledge(answer)
    phone.listen(0.3)
    phone.bye()
    assert phone.answer(least=200).status == 200
    callee.wait()
    assert b"10000" not in callee.received("INVITE")[0].octets
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["a_number"], cdr["cause"]) == ("a_to_b", "+86" + lane.a, "normal")
    lane.assert_talked(cdr, 0.3)


def test_phone_that_reads_one_challenge_alone_registers_and_calls(tmp_path: Path) -> None:
    """SIPp 3.6 knows MD5, looks at the first challenge and no further: with MD5 offered first it gets on."""
    site = Site(tmp_path / "site", digest_offered_first="MD5")
    try:
        site.start()
        lane = Lane(site, tmp_path / "lane", next(lane_indexes), softphone=True)
        callee = lane.callee("callee_answers")
        port = free_udp_port(lane.caller_host)
        lane.caller("softphone_registers", port=port, contact_port=port).wait()
        assert site.status().registered_contacts == 1
        lane.caller("softphone_calls", port=port, duration_ms=300).wait()
        callee.wait()
        lane.assert_talked(lane.cdr(), 0.3)
        lane.close()
        check_after(site, [lane])
    finally:
        site.stop()


def test_customer_reaches_the_registered_softphone(lane: Lane) -> None:
    """B calls X: the agent's softphone rings, not the trunk, and sees X and not B."""
    port = free_udp_port(lane.caller_host)
    phone, account = lane.phone(port=port), Account(lane, "SHA-256")
    challenge = register(phone, account, 1)
    uri = f"sip:{phone.engine[0]}"
    assert register(phone, account, 2, account.header(challenge, "REGISTER", uri)).status == 200
    trunk = lane.callee("callee_answers", is_agent=True, is_idle=True)
    customer = lane.caller("caller_hangs_up", is_customer=True, duration_ms=400)
    invite = phone.accept(lane.callee_voice.port)
    assert lane.x[1:] in invite.header("From")
    phone.expect("ACK")
    phone.expect("BYE")
    assert phone.serve_byes(0.1) == 1
    customer.wait()
    assert trunk.received() == []
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["cause"], cdr["release_side"]) == ("b_to_a", "normal", "caller")
    lane.assert_talked(cdr, 0.4)


def test_registered_path_is_the_route_of_calls_to_the_phone(lane: Lane) -> None:
    """RFC 3327: what an edge proxy put itself down as comes back as Route, beside the phone's own contact; the INVITE
    goes to the address that the REGISTER came from, and no further than that.
    """
    port = free_udp_port(lane.caller_host)
    phone, account = lane.phone(port=port), Account(lane, "SHA-256")
    path = (f"<sip:edge@{lane.caller_host}:{port};lr;ob>", "<sip:198.51.100.7;lr>")
    challenge = register(phone, account, 1)
    credentials = account.header(challenge, "REGISTER", f"sip:{phone.engine[0]}")
    refused = register(phone, account, 2, credentials, f"Path: {path[0]}")
    assert (refused.status, refused.header("Unsupported")) == (420, "path")
    credentials = account.header(challenge, "REGISTER", f"sip:{phone.engine[0]}", nonce_count=2)
    granted = register(phone, account, 3, credentials, *(f"Path: {each}" for each in path), "Supported: path")
    assert (granted.status, granted.headers("Path")) == (200, list(path))
    customer = lane.caller("caller_hangs_up", is_customer=True, duration_ms=300)
    invite = phone.accept(lane.callee_voice.port)
    assert invite.header("Route") == ", ".join(path)
    assert invite.start_line.startswith(f"INVITE sip:phone@{lane.caller_host}:{port}")
    phone.expect("ACK")
    phone.expect("BYE")
    phone.serve_byes(0.1)
    customer.wait()
    lane.assert_talked(lane.cdr(), 0.3)


def test_phone_behind_nat_hears_from_the_engine_between_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its contact names an address that its REGISTER did not come from; one that is where it says gets no pings."""
    monkeypatch.setenv("AXBRIDGE_SIP__NAT_PING_SECONDS", "0.5")
    site = Site(tmp_path / "site")
    try:
        site.start()
        lane = Lane(site, tmp_path / "lane", next(lane_indexes), softphone=True)
        heard = {}
        for contact in ("<sip:phone@10.1.2.3:5060>", ""):
            phone, account = lane.phone(port=free_udp_port(lane.caller_host)), Account(lane, "SHA-256")
            challenge = register(phone, account, 1)
            credentials = account.header(challenge, "REGISTER", f"sip:{phone.engine[0]}")
            phone.contact = contact or phone.contact
            assert register(phone, account, 2, credentials).status == 200
            phone.listen(1.2)
            heard[contact] = [message.octets for message in phone.received].count(b"\r\n\r\n")
        assert heard["<sip:phone@10.1.2.3:5060>"] >= 2
        assert heard[""] == 0
        lane.close()
        check_after(site, [lane])
    finally:
        site.stop()
