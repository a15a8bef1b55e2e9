"""What fuzzing begins with: the RFCs' torture messages, kept crashers, and a good example of each kind."""

from __future__ import annotations

from pathlib import Path

from tests.vectors.torture import torture_messages

TORTURE = [*torture_messages("rfc4475.txt").values(), *torture_messages("rfc5118.txt").values()]
CRASHERS = Path(__file__).parents[1] / "vectors" / "crashers"
OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 8 0 13 101\r\n"
    b"a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    b"a=rtcp:4001\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
)
PACKET = b"\x80\x08\x00\x01\x00\x00\x00\xa0\x00\x00\x00\x01" + bytes(160)
KEY = b"\x80\xe5\x00\x02\x00\x00\x01\x40\x00\x00\x00\x01\x05\x8a\x03\x20"
REPORT = b"\x80\xc8\x00\x06\x00\x00\x00\x01" + bytes(20)


def seeds_of(target: str) -> list[bytes]:
    """May be none: a target then begins with nothing."""
    match target:
        case "message" | "user-agent":
            return [*TORTURE, *_kept("sip")]
        case "stream":
            return [b"\x30" + data for data in (b"".join(TORTURE[:5]), *_kept("stream"))]
        case "sdp":
            return [OFFER, *_kept("sdp")]
        case "offer-answer":
            return [OFFER + b"\0" + OFFER.replace(b"8 0 13 101", b"0")]
        case "voice":
            return [b"".join(bytes([len(each)]) + each for each in (PACKET, KEY, REPORT, PACKET))]
        case _:
            return []


def write_seeds(target: str, folder: Path) -> None:
    for index, data in enumerate(seeds_of(target)):
        (folder / f"{index:03d}").write_bytes(data)


def _kept(kind: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CRASHERS / kind).iterdir())]
