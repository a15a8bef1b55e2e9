"""SRTP (RFC 3711) of one side, keyed by its SDP (SDES, RFC 4568). Keys show in no repr and no message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pylibsrtp import Error, Policy, Session

from media.errors import MalformedPacket

KEY_OCTETS: Final = 30
"""Master key and salt together, of both suites (RFC 4568 §6.2)."""

SUITES: Final[dict[str, int]] = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
"""With either, SRTCP has tags of 80 bits (§6.2.2)."""


@dataclass(frozen=True, slots=True)
class Crypto:
    """One ``a=crypto`` line: the key is that of whoever wrote it, for what they send."""

    tag: int
    suite: str
    key: bytes = field(repr=False)


class Security:
    """Both directions of one side: ``local`` protects what we send to it, ``remote`` what comes from it."""

    __slots__ = ("_inbound", "_outbound", "local", "remote")

    def __init__(self, local: Crypto, remote: Crypto, earlier: Security | None = None) -> None:
        """A direction whose key stays as it was ``earlier`` goes on with its count of packets (RFC 3711 §3.3.1)."""
        self._outbound: Session
        self._inbound: Session
        self.local = local
        self.remote = remote
        if earlier is not None and _same(earlier.local, local):
            self._outbound = earlier._outbound
        else:
            self._outbound = _session(local, Policy.SSRC_ANY_OUTBOUND)
        if earlier is not None and _same(earlier.remote, remote):
            self._inbound = earlier._inbound
        else:
            self._inbound = _session(remote, Policy.SSRC_ANY_INBOUND)

    def unprotect(self, data: bytes) -> bytes:
        """The RTP packet in an SRTP packet. Raises MalformedPacket for what is forged, replayed or cut off."""
        return _checked(self._inbound.unprotect, data)

    def unprotect_rtcp(self, data: bytes) -> bytes:
        """The same for SRTCP."""
        return _checked(self._inbound.unprotect_rtcp, data)

    def protect(self, data: bytes) -> bytes:
        """The SRTP packet for an RTP packet. Raises MalformedPacket where its header is none."""
        return _checked(self._outbound.protect, data)

    def protect_rtcp(self, data: bytes) -> bytes:
        """The same for SRTCP."""
        return _checked(self._outbound.protect_rtcp, data)


def _same(one: Crypto, other: Crypto) -> bool:
    return one.key == other.key and one.suite == other.suite


def _session(crypto: Crypto, direction: int) -> Session:
    policy = Policy(key=crypto.key, ssrc_type=direction, srtp_profile=SUITES[crypto.suite])
    # What the other side doubled is doubled here too, as without SRTP.
    policy.allow_repeat_tx = True
    return Session(policy)


def _checked(change: Callable[[bytes], bytes], data: bytes) -> bytes:
    try:
        return change(data)
    except (Error, TypeError, ValueError) as error:  # the library's own, and a packet beyond its buffer
        raise MalformedPacket("SRTP refused a packet") from error
