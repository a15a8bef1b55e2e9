"""What can be said of a carrier's connection without calling anybody: each step with what was found."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from engine.carriers.schemas import SCHEMAS
from engine.store.access.keyring import Keyring, Unsealable
from engine.store.access.secret_file import SecretUnusable
from engine.store.access.trunk_secrets import carrier_place
from engine.store.tables import Carrier

CONNECT_SECONDS_MAX = 5.0
_SAMPLE = re.compile(r"axbridge_(gateway_up|trunk_registered)\{([^}]*)\} ([01])(?:\.0)?")
_TRUNK = re.compile(r'trunk="([^"]*)"')
_GATEWAY = re.compile(r'gateway="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    """gateway | registration | engine | secrets | host"""
    ok: bool
    detail: str


def trunk_steps(codes: Sequence[str], metrics: str) -> list[Step]:
    """What the engine knows of the trunks: gateways by its own OPTIONS, registrations by the carrier's answers.

    ``metrics`` is the engine's text. A trunk of which it says nothing is suspended, or not known to it.
    """
    steps: list[Step] = []
    told: set[str] = set()
    for kind, labels, value in _SAMPLE.findall(metrics):
        trunk = _TRUNK.search(labels)
        if trunk is None or trunk[1] not in codes:
            continue
        told.add(trunk[1])
        gateway = _GATEWAY.search(labels)
        if kind == "gateway_up":
            said = "answers, or was not asked yet" if value == "1" else "does not answer"
            steps.append(Step("gateway", value == "1", f"trunk {trunk[1]}: {gateway[1] if gateway else ''} {said}"))
        else:
            said = "is registered" if value == "1" else "is not registered"
            steps.append(Step("registration", value == "1", f"trunk {trunk[1]} {said}"))
    steps += [Step("engine", False, f"trunk {code} is not in service") for code in codes if code not in told]
    return steps


def host_of(carrier: Carrier) -> str:
    """Where its API is: as it is set, or as its kind has it; empty where neither says."""
    return str(carrier.config.get("host") or SCHEMAS[carrier.kind]["properties"]["host"].get("default", ""))


def unsealed_step(keyring: Keyring, carrier: Carrier) -> Step:
    """Whether our own keys still open its secrets."""
    try:
        for field, sealed in carrier.sealed_secrets.items():
            keyring.unseal(sealed, carrier_place(carrier.code, field))
    except (Unsealable, SecretUnusable, OSError) as error:
        return Step("secrets", False, f"are not readable: {type(error).__name__}")
    missing = [
        name for name in SCHEMAS[carrier.kind]["required"] if name not in {**carrier.config, **carrier.sealed_secrets}
    ]
    if missing:
        return Step("secrets", False, f"settings are missing: {', '.join(missing)}")
    return Step("secrets", True, "settings are whole; whether the carrier takes them, its first call will show")


async def host_steps(host: str) -> list[Step]:
    """Whether somebody answers there under TLS with a certificate that we trust. Sends nothing of ours."""
    name, _, port = host.partition(":")
    if not name:
        return [Step("host", False, "is not set")]
    try:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            _, writer = await asyncio.open_connection(name, int(port or 443), ssl=ssl.create_default_context())
            writer.close()
    except TimeoutError:
        return [Step("host", False, f"does not answer within {CONNECT_SECONDS_MAX:.0f} s")]
    except ssl.SSLError as error:
        return [Step("host", False, f"has no certificate that is trusted: {error.reason}")]
    except (OSError, ValueError, OverflowError) as error:
        return [Step("host", False, f"cannot be reached: {type(error).__name__}")]
    return [Step("host", True, "answers under TLS")]
