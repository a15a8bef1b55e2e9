"""How a delivery is signed: the scheme of standardwebhooks.com, for which receivers find libraries.

``webhook-signature: v1,<base64 of HMAC-SHA256 over "<webhook-id>.<webhook-timestamp>.<body>">``; the timestamp is that
of the attempt, in seconds, so that an old message cannot be sent anew; the id is the event's, so that one taken before
is known. The secret is shown as ``whsec_`` and base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

SECRET_OCTETS = 32
PREFIX = "whsec_"


def secret_text(secret: bytes) -> str:
    return PREFIX + base64.b64encode(secret).decode()


def secret_octets(text: str) -> bytes:
    """Raises ValueError for what is no secret."""
    try:
        return base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("is no webhook secret") from error


def headers(secret: bytes, event_id: str, at_seconds: int, body: bytes) -> dict[str, str]:
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at_seconds),
        "webhook-signature": f"v1,{_signature(secret, event_id, str(at_seconds), body)}",
    }


def _signature(secret: bytes, event_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{event_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
