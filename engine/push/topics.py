"""The topics of an installation, below its prefix. Who may read which is the broker's to hold: by these names."""

from __future__ import annotations


def notices(prefix: str, tenant_id: int) -> str:
    """What a tenant is told of its money."""
    return f"{prefix}/tenants/{tenant_id}/notices"
