"""Webhooks' secrets at rest: sealed with a key of the installation's secret, each bound to its webhook's tenant."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_PURPOSE = "webhook secrets"
NONCE_OCTETS = 12  # NIST SP 800-38D §8.2: 96 bits


class SealBroken(Exception):
    """Sealed with another key (``secret.key`` was replaced), or for another tenant."""


def seal(key: bytes, secret: bytes, tenant_id: int, nonce: bytes) -> str:
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, secret, str(tenant_id).encode())).decode()


def unseal(key: bytes, sealed: str, tenant_id: int) -> bytes:
    """Raises SealBroken."""
    try:
        octets = base64.b64decode(sealed, validate=True)
        return AESGCM(key).decrypt(octets[:NONCE_OCTETS], octets[NONCE_OCTETS:], str(tenant_id).encode())
    except (InvalidTag, ValueError, binascii.Error) as error:
        raise SealBroken from error
