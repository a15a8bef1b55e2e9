"""The part of SDP (RFC 8866) and of its offer/answer model (RFC 3264) that a relay of voice needs.

A description is read into the few facts that we understand, and one for the other side is written from these facts
alone. So nothing that we do not know passes: neither session name, origin, host names, candidates and keys, nor the
telephone number in a ``p=`` line.
"""

from media.sdp.agreement import Agreement, Laws, agree, with_both_laws
from media.sdp.description import (
    NOT_VOICE,
    PLAIN_PROFILES,
    Codec,
    Description,
    Direction,
    MediaLine,
    Origin,
    is_unspecified,
)
from media.sdp.reader import parse
from media.sdp.writer import serialise

__all__ = [
    "NOT_VOICE",
    "PLAIN_PROFILES",
    "Agreement",
    "Codec",
    "Description",
    "Direction",
    "Laws",
    "MediaLine",
    "Origin",
    "agree",
    "is_unspecified",
    "parse",
    "serialise",
    "with_both_laws",
]
