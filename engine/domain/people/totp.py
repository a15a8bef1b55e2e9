"""Time-based one-time passwords: RFC 6238, with what every authenticator app takes: SHA-1, six digits, 30 seconds."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from urllib.parse import quote

STEP_SECONDS = 30
DIGITS = 6
STEPS_ASIDE = 1
"""A clock may be one step off on either side (RFC 6238 §5.2)."""
SECRET_OCTETS = 20  # RFC 4226 §4, R6: 160 bits


def code_at(secret: bytes, step: int) -> str:
    """RFC 4226 §5.3, of the step as its counter."""
    digest = hmac.digest(secret, struct.pack(">Q", step), hashlib.sha1)
    offset = digest[-1] & 0xF
    number = struct.unpack_from(">I", digest, offset)[0] & 0x7FFFFFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def matching_step(secret: bytes, code: str, now_ms: int, *, after: int) -> int | None:
    """The step that ``code`` is of, None where it is of none near ``now_ms``, or of none later than ``after``: a code
    is good once (RFC 6238 §5.2), and so is one that was before it."""
    now = now_ms // 1000 // STEP_SECONDS
    for step in range(now - STEPS_ASIDE, now + STEPS_ASIDE + 1):
        if step > after and hmac.compare_digest(code_at(secret, step).encode(), code.encode()):
            return step
    return None


def enrolment_uri(secret: bytes, login: str, issuer: str) -> str:
    """What an authenticator app reads from a QR code."""
    encoded = base64.b32encode(secret).decode()
    return f"otpauth://totp/{quote(issuer)}:{quote(login)}?secret={encoded}&issuer={quote(issuer)}"
