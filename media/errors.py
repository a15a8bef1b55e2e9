"""What a peer may get wrong. Garbage on the wire or in an SDP raises these and nothing else."""

from __future__ import annotations


class PeerFault(Exception):
    """The other side broke a rule; the text says which, and holds nothing of what it sent."""


class MalformedSdp(PeerFault):
    """Not an SDP that we can read (RFC 8866), or an answer that does not fit its offer (RFC 3264)."""


class NoCommonCodec(PeerFault):
    """An SDP we can read, but without an audio stream that we can relay."""


class Insecure(PeerFault):
    """A side that must speak SRTP does not."""


class MalformedPacket(PeerFault):
    """Not an RTP or RTCP packet (RFC 3550)."""


class MalformedSettings(Exception):
    """Our own worker was started with settings that cannot work."""
