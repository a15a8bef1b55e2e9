"""Offer and answer on one relayed call (RFC 3264): what each side said, and what is written to the other instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from media import sdp
from media.embedded.leg import Leg
from media.errors import Insecure, MalformedSdp, NoCommonCodec
from media.plane import Side, Srtp
from media.rtp.srtp import Crypto, Security

OFFERED_SUITE: Final = "AES_CM_128_HMAC_SHA1_80"
"""Which everybody must have (RFC 4568 §6.2.1)."""


class WrongState(Exception):
    """An answer without an offer, or a command that the call cannot take now. Ours, not a peer's fault."""


@dataclass(slots=True)
class _Origin:
    session_id: int
    version: int = 1
    written: bytes = b""


class Negotiation:
    """Reads and writes descriptions; what one means for sockets and packets is the call's affair."""

    def __init__(self, session_ids: Mapping[Side, int], new_key: Callable[[], bytes]) -> None:
        """``new_key`` makes the KEY_OCTETS of an SRTP key of ours, unguessable."""
        self._origins = {side: _Origin(session_id) for side, session_id in session_ids.items()}
        self._new_key = new_key
        self._offer: sdp.Description | None = None
        self.offerer = Side.CALLER

    @property
    def offer(self) -> sdp.Description:
        """The latest offer. Raises WrongState where there was none."""
        if self._offer is None:
            raise WrongState("an answer without an offer")
        return self._offer

    def take_offer(self, leg: Leg, description: sdp.Description) -> None:
        """Takes the offer of the leg's side. Raises PeerFault; the one before then stands."""
        if not any(codec.encoding not in sdp.NOT_VOICE for codec in description.audio.codecs):
            raise NoCommonCodec("the offer has no codec for voice")
        if family_of(description) != leg.family:
            raise MalformedSdp("an address of another family than the side's")
        if leg.srtp_required and not description.audio.crypto:
            raise Insecure("an offer without SRTP from a side that must speak it")
        self._offer, self.offerer = description, leg.side

    def take_answer(self, legs: Mapping[int, Leg], raw: bytes) -> tuple[Leg, sdp.Description, sdp.Agreement]:
        """Reads an answer; ``legs``, by family, are those that its side was offered. Returns the one that it took.

        Raises PeerFault, WrongState.
        """
        description = sdp.parse(raw)
        agreement = sdp.agree(self.offer, description)
        leg = legs.get(family_of(description))
        if leg is None:
            raise MalformedSdp("an address of a family that was not offered")
        audio, offered = description.audio, leg.crypto
        if offered is None and audio.profile in sdp.PLAIN_PROFILES:
            # Keys that nobody asked for say nothing; the side speaks RTP.
            return leg, _without_keys(description), agreement
        if offered is None:
            raise MalformedSdp("an answer of RTP/SAVP to an offer of RTP/AVP")
        if not audio.crypto and leg.srtp_required:
            raise Insecure("an answer without SRTP from a side that must speak it")
        if not any(crypto.suite == offered.suite for crypto in audio.crypto) and (
            audio.crypto or not leg.opportunistic
        ):
            raise MalformedSdp("an answer without the suite of its offer's crypto")  # RFC 4568 §5.1.2
        return leg, description, agreement

    def offer_srtp(self, leg: Leg, srtp: Srtp) -> None:
        """What the next offer to a leg has of SRTP. A leg that speaks it already goes on as it does."""
        leg.srtp_required |= srtp is Srtp.REQUIRED
        if srtp is not Srtp.OFF and leg.crypto is None:
            leg.crypto = Crypto(1, OFFERED_SUITE, self._new_key())
            leg.opportunistic = srtp is Srtp.OFFERED

    def secure(self, leg: Leg, audio: sdp.MediaLine) -> None:
        """A description comes into force: its keys and ours. Our own key stays as long as its suite does."""
        leg.security = self._security(leg, audio.crypto)
        leg.crypto = leg.security.local if leg.security is not None else None
        leg.opportunistic = audio.profile in sdp.PLAIN_PROFILES

    def write_offer(self, leg: Leg) -> bytes:
        """The latest offer, for the other side."""
        return self._write(leg, sdp.with_both_laws(self.offer), leg.crypto)

    def write_answer(self, leg: Leg, agreement: sdp.Agreement) -> bytes:
        """What was agreed, for the side that offered."""
        return self._write(leg, agreement.description, leg.security.local if leg.security is not None else None)

    def _security(self, leg: Leg, cryptos: tuple[Crypto, ...]) -> Security | None:
        if not cryptos:
            return None
        for remote in cryptos:
            if leg.crypto is not None and remote.suite == leg.crypto.suite:
                return Security(replace(leg.crypto, tag=remote.tag), remote, leg.security)
        remote = cryptos[0]
        return Security(Crypto(remote.tag, remote.suite, self._new_key()), remote)

    def _write(self, leg: Leg, description: sdp.Description, crypto: Crypto | None) -> bytes:
        """The version counts up with each change (RFC 3264 §8)."""
        last = self._origins[leg.side]

        def written(version: int) -> bytes:
            origin = sdp.Origin(last.session_id, version, leg.advertised, leg.port)
            return sdp.serialise(description, origin, crypto, opportunistic=leg.opportunistic)

        body = written(last.version)
        if last.written and body != last.written:
            last.version += 1
            body = written(last.version)
        last.written = body
        return body


def family_of(description: sdp.Description) -> int:
    """The IP version, 4 or 6, of a description's voice stream. Raises NoCommonCodec where there is none."""
    return 6 if ":" in description.audio.address else 4


def _without_keys(description: sdp.Description) -> sdp.Description:
    audio = description.audio
    return description.with_audio(msgspec.structs.replace(audio, crypto=())) if audio.crypto else description
