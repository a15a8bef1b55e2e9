"""Reads the torture messages of RFC 4475 and RFC 5118, written in the RFC's own notation (RFC 4475 §2)."""

from __future__ import annotations

import re
from pathlib import Path

_SDP = """v=0
o=mhandley 29739 7272939 IN IP4 {0}
s=-
c=IN IP4 {0}
t=0 0
m=audio 49217 RTP/AVP 0 12
m=video 3227 RTP/AVP 31
a=rtpmap:31 LPC"""


def torture_messages(name: str) -> dict[str, bytes]:
    """The messages of the file `name`, octet for octet, by the name that the RFC gives them."""
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    found: dict[str, bytes] = {}
    for part in re.split(r"^=== ", text, flags=re.MULTILINE)[1:]:
        title, _, written = part.partition("\n")
        found[title.split(" ")[0]] = _octets(written)
    return found


def _octets(written: str) -> bytes:
    text = re.sub(r"<sdp (\S+)>", lambda match: _SDP.format(match[1]), written)
    text = re.sub(r"<allOneLine>\n(.*?)\n</allOneLine>", lambda match: match[1].replace("\n", ""), text, flags=re.S)
    text = re.sub(r"<repeat count=(\d+)>(.*?)</repeat>", lambda match: match[2] * int(match[1]), text)
    text = text.replace("</hex><hex>", "")
    pieces = re.split(r"<hex>([0-9A-F]+)</hex>", text.replace("\n", "\r\n"))
    return b"".join(bytes.fromhex(piece) if index % 2 else piece.encode("utf-8") for index, piece in enumerate(pieces))
