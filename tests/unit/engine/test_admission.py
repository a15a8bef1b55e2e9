"""Whom a request comes from, and what number it wants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.b2bua.admission import Admission, Caller
from engine.b2bua.source_guard import GuardSettings, SourceGuard
from engine.domain.facts import TrunkFacts, TrunkRegistrationFacts
from sip.core.digest import DigestAuthenticator
from sip.core.hop import Hop
from sip.core.message import Request
from sip.core.parser import parse_message
from tests.unit.engine.facts import TRUNK, X, directory

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
