"""API keys of tenants' own systems: ``axb_<prefix>_<secret>``. Shown once; kept is the prefix and a hash."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.people.permission import OF_PEOPLE, Audience, Permission, at_most
from engine.domain.refusal import NotNow, NotThere, Refusal
from engine.store.scope import TenantScope, within
from engine.store.sorting import PageWanted
from engine.store.tables.identity import ApiKey

MARK = "axb_"
PREFIX_OCTETS = 5
SECRET_OCTETS = 32
KEYS_MAX = 100
"""That are alive, of one tenant."""
REQUESTS_PER_MINUTE_DEFAULT = 300
USE_NOTED_MS = 60_000
"""How exactly ``last_used_at_ms`` is kept: it must not make a write of each request."""

FOR_KEYS = at_most(Audience.TENANT_ADMIN) - OF_PEOPLE - {Permission.SELF}

_SHAPE = re.compile(r"axb_([a-z2-7]{8})_[A-Za-z0-9_-]{43}", re.ASCII)


def make_key(octets: bytes) -> str:
    """A key of PREFIX_OCTETS + SECRET_OCTETS random octets."""
    prefix = base64.b32encode(octets[:PREFIX_OCTETS]).decode().lower()
    return f"{MARK}{prefix}_{base64.urlsafe_b64encode(octets[PREFIX_OCTETS:]).decode().rstrip('=')}"


def prefix_of(key: str) -> str | None:
    """None where ``key`` has no key's shape."""
    match = _SHAPE.fullmatch(key)
    return None if match is None else match[1]


def hash_key(key: str) -> str:
    """256 random bits need no slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_matches(key_hash: str, key: str) -> bool:
    return hmac.compare_digest(key_hash, hash_key(key))


async def create_api_key(
    session: AsyncSession,
    scope: TenantScope,
    key: str,
    *,
    name: str,
    permissions: Iterable[str],
    held: frozenset[Permission],
    requests_per_minute_max: int,
    expires_at_ms: int | None,
    created_by: str,
    now_ms: int,
) -> ApiKey:
    """``held`` is what its maker may do: a key may do no more. Raises Refusal."""
    names = sorted(set(permissions))
    allowed = {permission.value for permission in FOR_KEYS & held}
    if beyond := [name for name in names if name not in allowed]:
        raise Refusal("api_key.permissions", "permissions", f"cannot be given to a key: {', '.join(beyond)[:200]}")
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        raise Refusal("api_key.expired", "expires_at_ms", "is over")
    alive = select(func.count()).select_from(ApiKey).where(_own(scope), ApiKey.revoked_at_ms.is_(None))
    if (await session.scalar(alive) or 0) >= KEYS_MAX:
        raise NotNow("api_key.too_many", "name", f"a tenant has at most {KEYS_MAX} keys: revoke one", ["revoke"])
    row = ApiKey(
        tenant_id=scope.tenant_id,
        name=name,
        prefix=prefix_of(key),
        key_hash=hash_key(key),
        permissions=names,
        requests_per_minute_max=requests_per_minute_max,
        created_by=created_by,
        created_at_ms=now_ms,
        expires_at_ms=expires_at_ms,
    )
    session.add(row)
    await session.flush()
    return row


async def revoke_api_key(session: AsyncSession, scope: TenantScope, key_id: int, now_ms: int) -> ApiKey:
    """From the next request on. Raises NotThere."""
    row = await session.scalar(select(ApiKey).where(ApiKey.id == key_id, _own(scope)))
    if row is None:
        raise NotThere("API key")
    if row.revoked_at_ms is None:
        row.revoked_at_ms = now_ms
    return row


async def api_keys_of(session: AsyncSession, scope: TenantScope, wanted: PageWanted) -> Sequence[ApiKey]:
    return (await session.scalars(wanted.of(select(ApiKey).where(_own(scope))))).all()


def _own(scope: TenantScope) -> ColumnElement[bool]:
    return within(scope, tenant=ApiKey.tenant_id, agent=None)
