"""Whom a request comes from, and what number it wants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.b2bua.admission import Admission, Caller, Refusal
from engine.b2bua.source_guard import GuardSettings, SourceGuard
from engine.domain.facts import SipAccountFacts, TrunkFacts, TrunkRegistrationFacts
from sip.core.digest import DigestAuthenticator, authorize, digest_ha1
from sip.core.hop import Hop
from sip.core.messages.message import Request
from sip.core.messages.parser import parse_message
from tests.unit.facts import STRANGER, TRUNK, A, B, X, directory

CARRIER = Hop("udp", "127.0.0.3", 5060)
REGISTERED = replace(TRUNK, registration=TrunkRegistrationFacts("shop-4711", "carrier.example", "", ""))


def identify(trunk: TrunkFacts, uri: str, to: str) -> Caller:
    guard = SourceGuard(GuardSettings(), lambda host, port: True)
    admission = Admission(directory(trunk), DigestAuthenticator("axbridge", b"secret"), lambda: "token", guard)
    request = parse_message(
        f"INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.3;branch=z9hG4bK1\r\nFrom: <sip:13900000002@c>;tag=1\r\n"
        f"To: <{to}>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert isinstance(request, Request)
    caller = admission.identify(request, CARRIER, 0.0)
    assert isinstance(caller, Caller)
    return caller


@pytest.mark.parametrize(
    ("trunk", "uri", "to", "dialled"),
    [
        (REGISTERED, "sip:shop-4711@127.0.0.1", "sip:01065500001@carrier.example", X),
        (REGISTERED, "sip:01065500001@127.0.0.1", "sip:01065500009@carrier.example", X),  # as if forwarded to us
        (REGISTERED, "sip:shop-4711@127.0.0.1", "sip:shop-4711@carrier.example", None),
        (TRUNK, "sip:shop-4711@127.0.0.1", "sip:01065500001@carrier.example", None),
    ],
)
def test_number_stands_in_to_where_our_own_contact_is_called(
    trunk: TrunkFacts, uri: str, to: str, dialled: str | None
) -> None:
    assert identify(trunk, uri, to).dialled == dialled


@pytest.mark.parametrize("header", ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"])
def test_what_a_softphone_asserts_of_itself_is_ignored(header: str) -> None:
    """Only a trusted peer may assert an identity (RFC 3325 §5): a softphone's number is its agent's."""
    ha1 = {"MD5": digest_ha1("MD5", "agent1", "axbridge", "a-password")}
    account = SipAccountFacts(1, 1, "agent1", "axbridge", ha1["MD5"], "", "active")
    authenticator = DigestAuthenticator("axbridge", b"secret", algorithms=("MD5",))
    guard = SourceGuard(GuardSettings(), lambda host, port: False)
    admission = Admission(directory(account), authenticator, lambda: "token", guard)
    uri, phone, credentials = f"sip:{X}@127.0.0.1", Hop("udp", "127.0.0.9", 5060), ""
    for attempt in range(2):
        request = parse_message(
            f"INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bK{attempt}\r\n"
            f"From: <sip:{STRANGER}@x>;tag=1\r\nTo: <{uri}>\r\n{header}: <sip:{B}@x>\r\nCall-ID: 1\r\n{credentials}"
            f"CSeq: {attempt} INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
        )
        assert isinstance(request, Request)
        answer = admission.identify(request, phone, 0.0)
        if isinstance(answer, Refusal):
            challenges = [value for _, value in answer.headers]
            credentials = f"Authorization: {authorize(challenges, ha1, 'agent1', 'INVITE', uri, 'c', 1)}\r\n"
    assert isinstance(answer, Caller)
    assert answer.number == A
