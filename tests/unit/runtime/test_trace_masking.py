"""What is not in a masked message."""

from __future__ import annotations

import re

import pytest

from engine.runtime.monitoring.trace_masking import masked_message, without_secrets

NUMBER = "13812341234"
SDP = (
    "v=0\r\no=13812341234 3912345678 3912345679 IN IP4 192.168.100.100\r\ns=call of 13812341234\r\n"
    "c=IN IP4 192.168.100.100\r\nt=0 0\r\nm=audio 40000 RTP/SAVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20\r\n"
    "a=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=sendrecv\r\n"
)


def message(*headers: str, body: str = "") -> bytes:
    return "\r\n".join((f"INVITE sip:{NUMBER}@x SIP/2.0", *headers, "", body)).encode()


@pytest.mark.parametrize(
    "header",
    [
        f"From: <sip:+86{NUMBER}@10.0.0.1>;tag=1",
        f'To: "{NUMBER}" <sip:{NUMBER};phone-context=x@y>',
        f"P-Asserted-Identity: <tel:+86{NUMBER}>",
        f"Contact: <sip:agent{NUMBER}@10.0.0.1:5060>",
        f"Remote-Party-ID: sip:0086{NUMBER}@x",
        f"Call-ID: {NUMBER}-77@x",
        f"Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK-{NUMBER}",
        f"X-Caller: 86{NUMBER}",
        "From: <tel:+86-138-1234-1234>",
        "From: <sip:%31%33%38%31%32%33%34%31%32%33%34@x>",
        f'Authorization: Digest username="{NUMBER}", response="0123456789abcdef"',
        f"Diversion: <sip:{NUMBER}@x>;reason=unconditional",
    ],
)
def test_a_number_hides_nowhere(header: str) -> None:
    text = masked_message(message(header))
    assert NUMBER not in re.sub(r"[^0-9]", "", text.replace("138****1234", ""))
    assert "%31" not in text
    assert "1234-1234" not in text
    assert text.count("138****1234") >= 2, "the Request-URI's, and the header's"


@pytest.mark.parametrize(
    ("number", "shown"), [("01065500001", "010****0001"), ("+8675512345678", "755****5678"), ("5550001", "****")]
)
def test_landlines_are_numbers_too(number: str, shown: str) -> None:
    text = masked_message(message(f"From: <sip:{number}@x>"))
    assert f"<sip:{shown}@x>" in text


def test_what_one_reads_a_trace_for_is_still_there() -> None:
    headers = (
        "Via: SIP/2.0/UDP 192.168.100.100:50600;branch=z9hG4bK0a1b2c3d4e5f60718;rport=50600",
        "From: <sip:agent7@10.0.0.1>;tag=8f14e45fceea167a",
        "CSeq: 102 INVITE",
        "Session-Expires: 1800;refresher=uac",
        "Reason: Q.850;cause=16",
    )
    text = masked_message(message(*headers, body=SDP))
    for each in (*headers, "c=IN IP4 192.168.100.100", "m=audio 40000 RTP/SAVP 8 101", "o=- 3912345678 3912345679 IN"):
        assert each in text


@pytest.mark.parametrize(
    "header",
    [
        'Authorization: Digest username="a", nonce="n", response="5ec2e7", cnonce="5ec2e7"',
        "Proxy-Authorization: Digest username=a,RESPONSE = 5ec2e7 ,uri=x",
        "authorization : Basic 5ec2e7",
        'Authentication-Info: rspauth="5ec2e7"',
        'Authorization: Digest username="a",\r\n response="5ec2e7"',
    ],
)
@pytest.mark.parametrize("mask", [lambda data: masked_message(data), lambda data: without_secrets(data).decode()])
def test_credentials_are_blanked(header: str, mask: object) -> None:
    assert callable(mask)
    text = mask(message(header, "Max-Forwards: 70"))
    assert "5ec2e7" not in text
    assert "Max-Forwards: 70" in text


def test_media_keys_and_names_are_not_in_the_sdp() -> None:
    text = masked_message(message(body=SDP))
    for secret in ("d0RmdmcmVCspeEc3", "asd88fgpdd777", NUMBER):
        assert secret not in text
    assert "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:…|2^20" in text


def test_homer_gets_numbers_without_secrets_where_it_may_have_them() -> None:
    text = without_secrets(message(body=SDP)).decode()
    assert f"o={NUMBER} " in text
    assert "d0RmdmcmVCspeEc3" not in text


def test_dialled_digits_are_not_shown() -> None:
    info = message("Content-Type: application/dtmf-relay", body="Signal=7\r\nDuration=160\r\n")
    assert "Signal=*" in masked_message(info)
    alone = message("Content-Type: application/dtmf", body=" 7\r\n")
    assert masked_message(alone).endswith("\r\n\r\n*")


def test_octets_that_are_no_text_raise_nothing() -> None:
    assert masked_message(bytes(range(256)))
    assert masked_message(b"") == ""
