"""Where secrets belong, and how a trunk's registration is read."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog

from engine.domain.facts import TrunkRegistrationFacts
from engine.store.access.keyring import Keyring, Unsealable
from engine.store.access.secret_file import SecretUnusable

HA1_FIELDS = ("ha1_md5", "ha1_sha256")

_log = structlog.get_logger(__name__)


def carrier_place(carrier_code: str, field: str) -> str:
    return f"carriers/{carrier_code}/{field}"


def trunk_place(trunk_code: str) -> str:
    return f"trunks/{trunk_code}/ha1"


def read_registration(
    stored: dict[str, Any] | None, trunk_code: str, keyring: Keyring | None
) -> TrunkRegistrationFacts | None:
    """None where there is none, or where it cannot be unsealed: the engine then runs without it, and says so."""
    if stored is None:
        return None
    sealed = stored.get("sealed_ha1")
    if sealed is None:
        return TrunkRegistrationFacts(**stored)
    others = {name: value for name, value in stored.items() if name != "sealed_ha1"}
    try:
        if keyring is None:
            raise Unsealable("there are no keys")
        return TrunkRegistrationFacts(**others, **msgspec.json.decode(keyring.unseal(sealed, trunk_place(trunk_code))))
    except (Unsealable, SecretUnusable, OSError) as error:
        _log.error(
            "a trunk cannot register: its password's hashes are not readable", trunk=trunk_code, reason=str(error)
        )
        return None
