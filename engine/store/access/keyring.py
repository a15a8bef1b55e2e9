"""Secrets at rest, sealed with keys of a file beside the database and not in it (AES-256-GCM).

The file holds a key a line, ``<id> <base64 of 32 octets>``; the first one seals, all of them unseal. What is sealed
names its key: ``<key's id>.<base64 of nonce and ciphertext>``. It is bound to its place (table, row, field), so that
it unseals nowhere else. ``axbridge rotate-secrets`` puts a new key first and seals everything with it.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.store.access.secret_file import SecretUnusable

KEY_OCTETS = 32
NONCE_OCTETS = 12  # NIST SP 800-38D §8.2: 96 bits; random ones are good for 2^32 secrets a key
KEYS_MAX = 100
FILE_NAME = "sealing.keys"
_LINE = re.compile(r"([0-9a-f]{8}) ([A-Za-z0-9+/]{43}=)")


class Unsealable(Exception):
    """Sealed with a key that is not in the file, for another place, or damaged. Holds nothing of the secret."""


class Keyring:
    """The keys of one file, read when they are wanted first, and again when one is missing. Made if not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"Keyring({str(self._path)!r})"

    def seal(self, secret: str, place: str) -> str:
        """``secret`` sealed for ``place``. Raises SecretUnusable, OSError."""
        if not self._keys:
            self._read(is_made=True)
        key_id, key = next(iter(self._keys.items()))
        nonce = secrets.token_bytes(NONCE_OCTETS)
        sealed = nonce + AESGCM(key).encrypt(nonce, secret.encode(), place.encode())
        return f"{key_id}.{base64.b64encode(sealed).decode()}"

    def unseal(self, sealed: str, place: str) -> str:
        """Raises Unsealable, SecretUnusable, OSError."""
        key_id, _, text = sealed.partition(".")
        if key_id not in self._keys:
            self._read()  # another process may have made a new key
        key = self._keys.get(key_id)
        if key is None:
            raise Unsealable("its key is not in the file")
        try:
            octets = base64.b64decode(text, validate=True)
            return AESGCM(key).decrypt(octets[:NONCE_OCTETS], octets[NONCE_OCTETS:], place.encode()).decode()
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise Unsealable("it was sealed for another place, or is damaged") from error

    def is_newest(self, sealed: str) -> bool:
        """Whether it was sealed with the key that seals now."""
        if not self._keys:
            self._read()
        return sealed.partition(".")[0] == next(iter(self._keys), None)

    def rotate(self) -> str:
        """Puts a new key first; its id. The others stay, for what they sealed. Raises SecretUnusable, OSError."""
        self._read()
        if len(self._keys) >= KEYS_MAX:
            raise SecretUnusable(f"{self._path}: holds {KEYS_MAX} keys: forget the old ones first")
        key_id = _new_id()
        self._write({key_id: secrets.token_bytes(KEY_OCTETS), **self._keys})
        return key_id

    def forget_others(self) -> int:
        """Keeps the newest key alone; how many went. Only for when nothing is sealed with them any more."""
        self._read()
        kept = dict(list(self._keys.items())[:1])
        count = len(self._keys) - len(kept)
        if count:
            self._write(kept)
        return count

    def _read(self, *, is_made: bool = False) -> None:
        if not self._path.exists():
            if not is_made:
                self._keys = {}
                return
            self._make()
        if self._path.stat().st_mode & 0o077:
            raise SecretUnusable(f"{self._path}: others may read it: chmod 600 it")
        keys: dict[str, bytes] = {}
        for number, line in enumerate(self._path.read_text().splitlines(), start=1):
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise SecretUnusable(f"{self._path}: line {number} is no key")
            keys[match[1]] = base64.b64decode(match[2])
        if not keys:
            raise SecretUnusable(f"{self._path}: holds no key")
        self._keys = keys

    def _make(self) -> None:
        draft = self._draft({_new_id(): secrets.token_bytes(KEY_OCTETS)})
        try:
            os.link(draft, self._path)  # whole or not at all, and never in the place of another process's
        except FileExistsError:
            pass  # it was faster, and its key is as good
        finally:
            draft.unlink()

    def _write(self, keys: dict[str, bytes]) -> None:
        self._draft(keys).replace(self._path)
        self._keys = keys

    def _draft(self, keys: dict[str, bytes]) -> Path:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.writelines(f"{key_id} {base64.b64encode(key).decode()}\n" for key_id, key in keys.items())
            file.flush()
            os.fsync(file.fileno())
        return draft


def _new_id() -> str:
    return secrets.token_hex(4)
