"""The installation's one secret, of which every key is derived: tokens, recording links, SIP nonces."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

SECRET_OCTETS = 32


class SecretUnusable(Exception):
    """The secret's file is too short, or others may read it. Names the file, never what is in it."""


def read_secret(path: Path) -> bytes:
    """The secret at ``path``, made at the first call, readable by its owner alone. Safe where processes start together.

    Raises SecretUnusable, OSError.
    """
    if not path.exists():
        _make(path)
    if path.stat().st_mode & 0o077:
        raise SecretUnusable(f"{path}: others may read it: chmod 600 it, or remove it to have another made")
    secret = path.read_bytes()
    if len(secret) < SECRET_OCTETS:
        raise SecretUnusable(f"{path}: is shorter than {SECRET_OCTETS} octets")
    return secret


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SECRET_OCTETS))
            file.flush()
            os.fsync(file.fileno())
        # A link appears whole or not at all, and never in the place of another's.
        os.link(draft, path)
    except FileExistsError:
        return  # another process was faster, and its secret is as good
    finally:
        draft.unlink()


def derived_key(secret: bytes, purpose: str) -> bytes:
    """32 octets for one purpose; who has one purpose's key learns nothing of another's."""
    return hmac.digest(secret, purpose.encode(), hashlib.sha256)
