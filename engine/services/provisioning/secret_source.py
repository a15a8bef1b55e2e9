"""Secrets that a provisioning file only says the place of: ``env:NAME``, or ``file:PATH``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SECRET_OCTETS_MAX = 4096


class SecretSource:
    """``folder`` is what files' paths are relative to, ``environment`` the process's."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment

    def read(self, reference: str) -> str:
        """Raises ValueError, which holds no secret: not even what stands where a reference should."""
        kind, _, place = reference.partition(":")
        match kind:
            case "env" if place:
                if not (secret := self._environment.get(place, "")):
                    raise ValueError(f"the environment variable {place} is not set, or empty")
            case "file" if place:
                secret = self._of_file(place)
            case _:
                raise ValueError("is a secret: write env:NAME or file:PATH, and not the secret itself")
        if "\x00" in secret or "\n" in secret:
            raise ValueError(f"{reference} has more than one line")
        return secret

    def _of_file(self, place: str) -> str:
        try:
            with (self._folder / place).open("rb") as file:
                octets = file.read(SECRET_OCTETS_MAX + 1)
            secret = octets.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise ValueError(f"the file {place} cannot be read: {type(error).__name__}") from error
        if not secret or len(octets) > SECRET_OCTETS_MAX:
            raise ValueError(f"the file {place} is empty, or longer than {SECRET_OCTETS_MAX} octets")
        return secret
