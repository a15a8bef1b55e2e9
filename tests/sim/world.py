"""What the platform knows in a history: a tenant, its agents and bindings, trunks, a rate."""

from __future__ import annotations

from random import Random

from engine.domain.facts import (
    AgentFacts,
    BindingFacts,
    CarrierPermissionFacts,
    Facts,
    GatewayFacts,
    LineFacts,
    RateFacts,
    TenantFacts,
    TrunkFacts,
    XNumberFacts,
)

TENANT = 1
RATE_ID = 1
X = "+861065500001"
"""A number of the tenant's with no binding."""


def stream(seed: int, name: str) -> Random:
    """A sequence of draws of its own for each aspect, so that a new vice does not change all other draws."""
    return Random(f"{seed} {name}")


def a_number(index: int) -> str:
    return f"+861380000{index:04d}"


def b_number(index: int) -> str:
    return f"+861390000{index:04d}"


def x_number(index: int) -> str:
    """What both of a pair dial."""
    return f"+86106560{index:04d}"


def host(index: int) -> str:
    """Where both phones of a pair are, on ports of their own."""
    return f"192.0.2.{index + 10}"


def draw_rate(random: Random) -> RateFacts:
    if random.random() < 0.05:
        return RateFacts(RATE_ID, 0, 1, 1, 0)
    return RateFacts(
        RATE_ID, random.choice((60_000, 120_000, 1)), *random.choice(((60, 60), (6, 6), (1, 1), (30, 6))), 0
    )


def draw_facts(random: Random, rate: RateFacts, pairs: int) -> list[Facts]:
    facts: list[Facts] = [
        TenantFacts(TENANT, "sim", "active"),
        rate,
        LineFacts(1, 1, RATE_ID, True, "active", carrier_id=1),
        CarrierPermissionFacts(1, TENANT, 1),
        XNumberFacts(1, X, 1, TENANT, None, "refuse", "active"),
        # Every callee stands at a trunk of its own, which is also where the caller of its pair comes from.
        TrunkFacts(
            1,
            "sim",
            host(0),
            5080,
            tuple(host(index) for index in range(pairs)),
            "e164",
            random.choice((1, 1000, 1000, 1000)),
            "active",
        ),
    ]
    for index in range(pairs):
        line = index + 10
        facts += [
            AgentFacts(index + 1, TENANT, a_number(index), "active"),
            _trunk(random, index),
            LineFacts(line, line, RATE_ID, True, "active", carrier_id=1),
            XNumberFacts(line, x_number(index), line, TENANT, None, "refuse", "active"),
            BindingFacts(
                f"b{index}", TENANT, index + 1, line, a_number(index), b_number(index), "both", True, None, None
            ),
        ]
    return facts


def _trunk(random: Random, index: int) -> TrunkFacts:
    """The callee's trunk; some have a first gateway that nobody stands at, some the callee at both."""
    first = random.choice((*(host(index),) * 5, f"198.51.100.{index}"))
    second = random.choice(((), (GatewayFacts(host(index), 5080, priority=1),)))
    return TrunkFacts(
        index + 10,
        f"sim{index}",
        first,
        5080,
        (),
        "e164",
        1000,
        "active",
        gateways=second,
        caller_display=random.choice(("from", "pai", "both")),
        dial_prefix=random.choice(("", "9")),
    )
