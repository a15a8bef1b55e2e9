"""From a description to octets, for the other side: our own address and keys in place of the peer's."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from media.rtp.srtp import Crypto
from media.sdp.description import CODECS_CACHED_MAX, Codec, Description, Origin

# Names are case-insensitive (RFC 4855 §3), but not in every phone.
_USUAL_CASE: Final = {"TELEPHONE-EVENT": "telephone-event", "OPUS": "opus", "ILBC": "iLBC", "SPEEX": "speex"}


def serialise(
    description: Description, origin: Origin, crypto: Crypto | None = None, *, opportunistic: bool = False
) -> bytes:
    """Write a description anew: our address and port on the voice stream, every other stream refused.

    The voice stream is RTP/SAVP with our own key where ``crypto`` is given, otherwise RTP/AVP, whatever it was; where
    it is ``opportunistic`` the key stands in RTP/AVP (RFC 8643 §3).
    """
    family = "IP6" if ":" in origin.address else "IP4"
    lines = [
        "v=0",
        f"o=- {origin.session_id} {origin.version} IN {family} {origin.address}",
        "s=-",
        f"c=IN {family} {origin.address}",
        "t=0 0",
    ]
    for index, line in enumerate(description.media):
        if index != description.audio_index:
            lines.append(f"m={line.kind} 0 {line.profile} {' '.join(line.formats)}")
            continue
        payload_types, meanings = _formats(line.codecs)
        profile = ("RTP/SAVP" if crypto and not opportunistic else "RTP/AVP") + (
            "F" if line.profile.endswith("F") else ""
        )
        lines.append(f"m=audio {origin.port} {profile} {payload_types}")
        if crypto is not None:
            lines.append(f"a=crypto:{crypto.tag} {crypto.suite} inline:{base64.b64encode(crypto.key).decode()}")
        lines += meanings
        if line.ptime_ms:
            lines.append(f"a=ptime:{line.ptime_ms}")
        lines.append(f"a={line.direction}")
    return ("\r\n".join(lines) + "\r\n").encode()


@lru_cache(CODECS_CACHED_MAX)
def _formats(codecs: tuple[Codec, ...]) -> tuple[str, Sequence[str]]:
    """What the ``m=`` line says of them, and the lines that say what it means."""
    meanings: list[str] = []
    for codec in codecs:
        encoding = _USUAL_CASE.get(codec.encoding, codec.encoding)
        channels = f"/{codec.channels}" if codec.channels != 1 else ""
        meanings.append(f"a=rtpmap:{codec.payload_type} {encoding}/{codec.clock_rate}{channels}")
        if codec.fmtp:
            meanings.append(f"a=fmtp:{codec.payload_type} {codec.fmtp}")
    return " ".join(str(codec.payload_type) for codec in codecs), meanings
