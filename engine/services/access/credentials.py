"""Passwords: of users, as argon2id hashes; of softphones, as SIP digest's H(username:realm:password)."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from sip.core.digest import digest_ha1

PASSWORD_LENGTH_MIN = 8
PASSWORD_LENGTH_MAX = 200
"""Longer ones would only be a way to make us hash."""

_HASHER = PasswordHasher()
"""RFC 9106 §4's second choice: 3 passes over 64 MiB; 0.16 s here, so never in an event loop."""

# Of a random password that nobody kept; with _HASHER's own parameters, or a login without a user would be told by time.
_NOBODYS_HASH = "$argon2id$v=19$m=65536,t=3,p=4$368Gov6kp0xbYNWT4xYcNw$nElrTymYZaptlSEEjww21q0If2IU+5B2PoSUgf8FacA"


def hash_password(password: str) -> str:
    """An argon2id hash with its parameters and a random salt. Takes a tenth of a second: call it in a thread."""
    return _HASHER.hash(password)


def password_matches(password_hash: str | None, password: str) -> bool:
    """Whether ``password`` made the hash; as slow for ``None``, nobody's hash, as for somebody's. Call in a thread."""
    try:
        return _HASHER.verify(password_hash or _NOBODYS_HASH, password) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


def sip_ha1(username: str, realm: str, password: str) -> tuple[str, str]:
    """H(username:realm:password) in hexadecimal, as MD5 and as SHA-256 (RFC 7616 §3.4.2)."""
    return digest_ha1("MD5", username, realm, password), digest_ha1("SHA-256", username, realm, password)
