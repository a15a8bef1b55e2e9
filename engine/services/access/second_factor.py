"""The second factor of a login: a TOTP secret, sealed at rest, and recovery codes for a phone that is lost."""

from __future__ import annotations

import base64
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.people.totp import matching_step
from engine.domain.refusal import NotNow, Refusal
from engine.store.access.audit import audit
from engine.store.tables import User
from engine.store.tables.identity import RecoveryCode, SecondFactor

KEY_PURPOSE = "second factors"
NONCE_OCTETS = 12  # NIST SP 800-38D §8.2: 96 bits
RECOVERY_CODES = 10
RECOVERY_OCTETS = 10
CODE_LENGTH_MAX = 40


class SecondFactorBroken(Exception):
    """Sealed with another key: ``secret.key`` was replaced. An administrator takes the factor away."""


def seal(key: bytes, secret: bytes, user_id: int, nonce: bytes) -> str:
    """Bound to its user: in another's row it opens nothing."""
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, secret, str(user_id).encode())).decode()


def unseal(key: bytes, sealed: str, user_id: int) -> bytes:
    """Raises SecondFactorBroken."""
    try:
        octets = base64.b64decode(sealed, validate=True)
        return AESGCM(key).decrypt(octets[:NONCE_OCTETS], octets[NONCE_OCTETS:], str(user_id).encode())
    except (InvalidTag, ValueError) as error:
        raise SecondFactorBroken from error


async def enrol(session: AsyncSession, user_id: int, sealed: str) -> None:
    """Keeps a secret that is asked for once it is confirmed. Raises NotNow where one is confirmed."""
    factor = await session.get(SecondFactor, user_id)
    if factor is not None and factor.confirmed_at_ms is not None:
        raise NotNow("second_factor.confirmed", "code", "there is a second factor: remove it first", ["remove"])
    if factor is None:
        session.add(SecondFactor(user_id=user_id, sealed_secret=sealed, last_step=0))
    else:
        factor.sealed_secret, factor.last_step = sealed, 0


async def confirm(session: AsyncSession, key: bytes, user_id: int, code: str, octets: bytes, now_ms: int) -> list[str]:
    """Confirms the secret by a code of it; recovery codes of ``octets``, which are kept as hashes alone.

    Raises NotNow, Refusal.
    """
    factor = await session.get(SecondFactor, user_id)
    if factor is None or factor.confirmed_at_ms is not None:
        raise NotNow("second_factor.not_enrolled", "code", "there is nothing to confirm", ["enrol"])
    step = matching_step(unseal(key, factor.sealed_secret, user_id), code, now_ms, after=factor.last_step)
    if step is None:
        raise Refusal("second_factor.wrong_code", "code", "is not the code of this moment")
    factor.confirmed_at_ms, factor.last_step = now_ms, step
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    codes = [_recovery_code(octets[n : n + RECOVERY_OCTETS]) for n in range(0, len(octets), RECOVERY_OCTETS)]
    session.add_all(RecoveryCode(user_id=user_id, code_hash=_hash(code)) for code in codes)
    return codes


async def check(session: AsyncSession, key: bytes, user_id: int, code: str, now_ms: int) -> bool:
    """Whether ``code`` is the moment's, or a recovery code; either is used up by it.

    In a session that writes, of which there is one at a time: a code that comes twice at once is good once.
    """
    factor = await session.get(SecondFactor, user_id)
    if factor is None or factor.confirmed_at_ms is None:
        return False
    step = matching_step(unseal(key, factor.sealed_secret, user_id), code.strip(), now_ms, after=factor.last_step)
    if step is not None:
        factor.last_step = step
        return True
    recovery = await session.get(RecoveryCode, (user_id, _hash(code)))
    if recovery is None:
        return False
    await session.delete(recovery)
    left = select(func.count()).select_from(RecoveryCode).where(RecoveryCode.user_id == user_id)
    tenant_id = await session.scalar(select(User.tenant_id).where(User.id == user_id))
    after = {"left": (await session.scalar(left) or 0)}
    audit(session, "recovery_code.used", "users", user_id, tenant_id=tenant_id, after=after)
    return True


async def remove(session: AsyncSession, user_id: int) -> bool:
    """Takes the second factor away with its recovery codes; whether there was one."""
    factor = await session.get(SecondFactor, user_id)
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    if factor is None:
        return False
    await session.delete(factor)
    return True


def _recovery_code(octets: bytes) -> str:
    text = base64.b32encode(octets).decode().lower()
    return "-".join(text[n : n + 4] for n in range(0, len(text), 4))


def _hash(code: str) -> str:
    """80 random bits need no slow hash: nobody tries 2^80."""
    plain = "".join(character for character in code.lower() if character.isalnum())
    return hashlib.sha256(plain.encode()).hexdigest()
