"""How what a tenant is held to is shown."""

from __future__ import annotations

import msgspec


class MoneyRulesView(msgspec.Struct):
    """``zone`` is that of his days and months; null: not at all."""

    tenant_id: int
    zone: str
    day_cap_micro: int | None
