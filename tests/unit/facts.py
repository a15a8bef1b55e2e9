"""A small world for tests: one tenant, one agent, one line, one X, one binding."""

from __future__ import annotations

from engine.domain.facts import (
    AccountFacts,
    AgentFacts,
    BindingFacts,
    CarrierPermissionFacts,
    Facts,
    LineFacts,
    RateFacts,
    SipAccountFacts,
    TenantFacts,
    TrunkFacts,
    XNumberFacts,
)
from engine.domain.lines.directory import Directory

A = "+8613800000001"
B = "+8613900000002"
X = "+861065500001"
STRANGER = "+8613700000009"
NOW_MS = 1_800_000_000_000

TRUNK = TrunkFacts(1, "carrier", "127.0.0.3", 5060, ("127.0.0.3:5060", "10.1.0.0/16"), "national", 10, "active")

WORLD: tuple[Facts, ...] = (
    TenantFacts(1, "acme", "active"),
    AccountFacts(1, 10_000_000, 0, 0),
    AgentFacts(1, 1, A, "active"),
    SipAccountFacts(1, 1, "agent1", "axbridge", "", "", "active"),
    TRUNK,
    RateFacts(1, 120_000, 60, 60, 0),
    LineFacts(1, 1, 1, True, "active", carrier_id=1),
    CarrierPermissionFacts(1, 1, 1),
    XNumberFacts(1, X, 1, 1, 1, "refuse", "active"),
    BindingFacts("binding-1", 1, 1, 1, A, B, "both", True, None, None),
)


def directory(*changes: Facts) -> Directory:
    """The small world with ``changes`` applied over it."""
    made = Directory()
    made.apply(WORLD)
    made.apply(changes)
    return made
