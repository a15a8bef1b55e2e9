"""Which of a trunk's gateways a call tries, and in which order; and which of them are down."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from engine.domain.cause import Cause
from engine.domain.facts import GatewayFacts, TrunkFacts

PROBATION_SECONDS = 30.0
"""A gateway that failed a call is tried last for so long, where no OPTIONS says otherwise before."""

FAILOVER_CAUSES = frozenset({Cause.TRUNK_FAILURE, Cause.TIMEOUT})
"""Another gateway may do better. A busy, absent or refusing customer is the same customer everywhere."""

Address = tuple[str, int]


class GatewayHealth:
    """Up until shown otherwise; bounded by the gateways that there are."""

    def __init__(self) -> None:
        self._down_until: dict[Address, float] = {}

    def failed(self, gateway: GatewayFacts, now: float, *, until_answered: bool = False) -> bool:
        """A call found nobody there, or (``until_answered``) one OPTIONS after the other; True if it was up until now.

        A failed call is a suspicion that wears off; who is asked again and again is down until he answers.
        """
        was_up = self.is_up(gateway, now)
        address = (gateway.host, gateway.port)
        until = math.inf if until_answered else now + PROBATION_SECONDS
        self._down_until[address] = max(until, self._down_until.get(address, 0.0))
        return was_up

    def answered(self, gateway: GatewayFacts) -> bool:
        """It gave a sign of life; True if it was down until now."""
        return self._down_until.pop((gateway.host, gateway.port), None) is not None

    def is_up(self, gateway: GatewayFacts, now: float) -> bool:
        return self._down_until.get((gateway.host, gateway.port), 0.0) <= now

    def keep_only(self, gateways: Iterable[GatewayFacts]) -> None:
        """Forgets gateways that no trunk has any more."""
        known = {(gateway.host, gateway.port) for gateway in gateways}
        self._down_until = {address: until for address, until in self._down_until.items() if address in known}


def in_order(trunk: TrunkFacts, health: GatewayHealth, now: float, random: Callable[[], float]) -> list[GatewayFacts]:
    """All gateways of a trunk in the order in which a call tries them.

    By priority, within one by weighted chance (RFC 2782); those that are down come last, since a wrong belief must not
    cost a call that could be had. ``random`` gives numbers in [0, 1).
    """
    gateways = trunk.all_gateways
    if len(gateways) == 1:
        return list(gateways)
    up = [gateway for gateway in gateways if health.is_up(gateway, now)]
    down = [gateway for gateway in gateways if gateway not in up]
    return _by_priority(up, random) + _by_priority(down, random)


def _by_priority(gateways: Sequence[GatewayFacts], random: Callable[[], float]) -> list[GatewayFacts]:
    ordered: list[GatewayFacts] = []
    for _, group in groupby(sorted(gateways, key=lambda each: each.priority), key=lambda each: each.priority):
        rest = list(group)
        while rest:
            point = random() * sum(each.weight for each in rest)
            for gateway in rest:
                point -= gateway.weight
                if point < 0:
                    break
            ordered.append(gateway)
            rest.remove(gateway)
    return ordered
