"""The registrar's bookkeeping, and what it refuses."""

from __future__ import annotations

import pytest

from sip.core.hop import Hop
from sip.core.messages.message import Request
from sip.core.messages.parser import parse_message
from sip.core.registrar import Registrar, RegistrarSettings
from sip.errors import PeerFault

NAT = Hop("udp", "203.0.113.9", 41234)
AOR = "sip:bob@axb"


def register(*lines: str, cseq: int = 1, call_id: str = "r1") -> Request:
    text = "".join(f"{line}\r\n" for line in lines)
    message = parse_message(
        (
            "REGISTER sip:axb SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:bob@axb>;tag=1\r\n"
            f"To: <sip:bob@axb>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n{text}\r\n"
        ).encode()
    )
    assert isinstance(message, Request)
    return message


def contacts(registrar: Registrar, now: float) -> list[str]:
    return [each.contact for each in registrar.lookup(AOR, now)]


def test_binding_lasts_until_it_expires_and_keeps_its_source() -> None:
    registrar = Registrar(RegistrarSettings())
    answer = registrar.register(AOR, register("Contact: <sip:bob@192.168.1.5>;expires=120"), NAT, 1000.0)
    assert answer.headers == [("Contact", "<sip:bob@192.168.1.5>;expires=120")]
    assert registrar.lookup(AOR, 1119.0)[0].source == NAT
    assert registrar.lookup(AOR, 1120.0) == []
    assert registrar.expire(1120.0) == [AOR]
    assert len(registrar) == 0


def test_refresh_replaces_and_zero_removes_one_contact() -> None:
    registrar = Registrar(RegistrarSettings())
    registrar.register(AOR, register("Contact: <sip:a@h>, <sip:b@h>;q=0.5", "Expires: 300"), NAT, 0.0)
    registrar.register(AOR, register("Contact: <sip:a@h>", "Expires: 600", cseq=2), NAT, 100.0)
    assert contacts(registrar, 500.0) == ["sip:a@h"]
    registrar.register(AOR, register("Contact: <sip:a@h>;expires=0", cseq=3), NAT, 110.0)
    assert contacts(registrar, 120.0) == ["sip:b@h"]


def test_star_removes_all_but_only_with_expires_zero_and_alone() -> None:
    registrar = Registrar(RegistrarSettings())
    registrar.register(AOR, register("Contact: <sip:a@h>"), NAT, 0.0)
    for lines in (("Contact: *",), ("Contact: *", "Expires: 5"), ("Contact: *, <sip:a@h>", "Expires: 0")):
        with pytest.raises(PeerFault) as caught:
            registrar.register(AOR, register(*lines, cseq=2), NAT, 1.0)
        assert caught.value.status == 400
    assert contacts(registrar, 1.0) == ["sip:a@h"]
    registrar.register(AOR, register("Contact: *", "Expires: 0", cseq=2), NAT, 1.0)
    assert len(registrar) == 0


def test_too_brief_interval_is_423_and_changes_nothing() -> None:
    registrar = Registrar(RegistrarSettings(expires_seconds_min=60))
    with pytest.raises(PeerFault) as caught:
        registrar.register(AOR, register("Contact: <sip:a@h>, <sip:b@h>;expires=5"), NAT, 0.0)
    assert caught.value.status == 423
    assert registrar.min_expires() == ("Min-Expires", "60")
    assert contacts(registrar, 0.0) == []


def test_old_register_arriving_late_changes_nothing() -> None:
    registrar = Registrar(RegistrarSettings())
    registrar.register(AOR, register("Contact: <sip:a@h>", cseq=5), NAT, 0.0)
    with pytest.raises(PeerFault) as caught:
        registrar.register(AOR, register("Contact: <sip:a@h>;expires=0", cseq=4), NAT, 1.0)
    assert caught.value.status == 500
    assert contacts(registrar, 1.0) == ["sip:a@h"]
    registrar.register(AOR, register("Contact: <sip:a@h>;expires=0", cseq=1, call_id="after reboot"), NAT, 2.0)
    assert contacts(registrar, 2.0) == []


def test_limits_on_contacts_and_addresses_hold() -> None:
    registrar = Registrar(RegistrarSettings(contacts_per_aor_max=2, addresses_of_record_max=1))
    with pytest.raises(PeerFault) as caught:
        registrar.register(AOR, register("Contact: <sip:a@h>, <sip:b@h>, <sip:c@h>"), NAT, 0.0)
    assert caught.value.status == 403
    registrar.register(AOR, register("Contact: <sip:a@h>"), NAT, 0.0)
    with pytest.raises(PeerFault) as caught:
        registrar.register("sip:eve@axb", register("Contact: <sip:e@h>"), NAT, 0.0)
    assert caught.value.status == 503


def test_query_lists_and_changes_nothing() -> None:
    registrar = Registrar(RegistrarSettings())
    registrar.register(AOR, register("Contact: <sip:a@h>", "Expires: 100"), NAT, 0.0)
    assert registrar.register(AOR, register(cseq=2), NAT, 10.0).headers == [("Contact", "<sip:a@h>;expires=90")]


def test_higher_q_and_then_the_latest_comes_first() -> None:
    registrar = Registrar(RegistrarSettings())
    registrar.register(AOR, register("Contact: <sip:a@h>;q=0.5, <sip:b@h>;q=0.9, <sip:c@h>;q=0.9"), NAT, 0.0)
    assert contacts(registrar, 1.0) == ["sip:c@h", "sip:b@h", "sip:a@h"]


def test_path_is_kept_told_back_and_taken_away_by_the_next_register() -> None:
    registrar = Registrar(RegistrarSettings())
    lines = ("Contact: <sip:bob@10.0.0.5>", "Supported: timer, path", "Path: <sip:edge1;lr>", "Path: <sip:edge2;lr>")
    answer = registrar.register(AOR, register(*lines), NAT, 0.0)
    assert [value for name, value in answer.headers if name == "Path"] == ["<sip:edge1;lr>", "<sip:edge2;lr>"]
    (binding,) = registrar.lookup(AOR, 1.0)
    assert binding.path == ("<sip:edge1;lr>", "<sip:edge2;lr>")
    assert not binding.is_behind_nat  # the edge proxy keeps its phones' ways open
    registrar.register(AOR, register("Contact: <sip:bob@10.0.0.5>", cseq=2), NAT, 2.0)
    (binding,) = registrar.lookup(AOR, 3.0)
    assert (binding.path, binding.is_behind_nat) == ((), True)


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (420, ("Path: <sip:edge;lr>",)),
        (420, ("Path: <sip:edge;lr>", "Supported: timer")),
        (400, ("Path: edge", "Supported: path")),
        (400, ("Path: <sip:edge;lr", "Supported: path")),
        (400, (f"Path: {', '.join(['<sip:edge;lr>'] * 9)}", "Supported: path")),
    ],
)
def test_path_that_the_phone_knows_nothing_of_or_that_leads_nowhere_changes_nothing(
    status: int, lines: tuple[str, ...]
) -> None:
    registrar = Registrar(RegistrarSettings())
    with pytest.raises(PeerFault) as caught:
        registrar.register(AOR, register("Contact: <sip:bob@h>", *lines), NAT, 0.0)
    assert caught.value.status == status
    assert len(registrar) == 0


@pytest.mark.parametrize(
    ("contact", "source", "is_behind_nat"),
    [
        ("<sip:bob@203.0.113.9:41234>", NAT, False),
        ("<sip:bob@203.0.113.9>", NAT, True),
        ("<sip:bob@203.0.113.9>", Hop("udp", "203.0.113.9", 5060), False),
        ("<sip:bob@[2001:db8::9]:5070>", Hop("udp", "2001:db8::9", 5070), False),
        ("<sip:bob@phone.example:41234>", NAT, True),
    ],
)
def test_phone_is_behind_nat_unless_it_comes_from_its_contact(contact: str, source: Hop, is_behind_nat: bool) -> None:
    registrar = Registrar(RegistrarSettings())
    registrar.register(AOR, register(f"Contact: {contact}"), source, 0.0)
    assert registrar.lookup(AOR, 1.0)[0].is_behind_nat is is_behind_nat
