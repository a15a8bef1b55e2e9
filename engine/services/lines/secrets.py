"""Carriers' secrets and the hashes that trunks register with: sealed before they are stored, and sealed anew."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.access.keyring import Keyring
from engine.store.access.trunk_secrets import HA1_FIELDS, carrier_place, trunk_place
from engine.store.tables import Carrier, Trunk


def seal_registration(keyring: Keyring, trunk_code: str, registration: dict[str, Any]) -> dict[str, Any]:
    """A trunk's registration with its hashes sealed."""
    hashes = {name: registration[name] for name in HA1_FIELDS}
    others = {name: value for name, value in registration.items() if name not in HA1_FIELDS}
    return others | {"sealed_ha1": keyring.seal(msgspec.json.encode(hashes).decode(), trunk_place(trunk_code))}


async def reseal_all(session: AsyncSession, keyring: Keyring) -> int:
    """Seals with the newest key whatever is sealed with another, or stands in the open from before; how many.

    Raises Unsealable where one cannot be read; then nothing has changed.
    """
    resealed = 0
    for carrier in await session.scalars(select(Carrier).order_by(Carrier.id)):
        secrets: dict[str, Any] = {}
        for field, sealed in carrier.sealed_secrets.items():
            place = carrier_place(carrier.code, field)
            is_newest = keyring.is_newest(sealed)
            secrets[field] = sealed if is_newest else keyring.seal(keyring.unseal(sealed, place), place)
            resealed += not is_newest
        if secrets != carrier.sealed_secrets:
            carrier.sealed_secrets = secrets
    for trunk in await session.scalars(select(Trunk).where(Trunk.registration.is_not(None)).order_by(Trunk.id)):
        registration: dict[str, Any] = dict(trunk.registration or {})
        sealed = registration.get("sealed_ha1")
        if sealed is None:
            trunk.registration = seal_registration(keyring, trunk.code, registration)
        elif not keyring.is_newest(sealed):
            place = trunk_place(trunk.code)
            trunk.registration = registration | {"sealed_ha1": keyring.seal(keyring.unseal(sealed, place), place)}
        else:
            continue
        resealed += 1
    await session.flush()
    return resealed
