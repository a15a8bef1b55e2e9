from collections import Counter
from dataclasses import replace
from random import Random

from engine.domain.facts import GatewayFacts
from engine.domain.lines.gateways import PROBATION_SECONDS, GatewayHealth, in_order
from tests.unit.facts import TRUNK

FIRST = GatewayFacts(TRUNK.host, TRUNK.port)
HEAVY = GatewayFacts("127.0.0.4", 5060, priority=1, weight=3)
LIGHT = GatewayFacts("127.0.0.5", 5060, priority=1, weight=1)
TRUNK_OF_THREE = replace(TRUNK, gateways=(HEAVY, LIGHT))


def test_priority_goes_before_weight_and_weight_shares_the_calls() -> None:
    random = Random(1).random
    orders = [in_order(TRUNK_OF_THREE, GatewayHealth(), 0.0, random) for _ in range(1000)]
    assert all(order[0] == FIRST for order in orders)
    assert all(len(order) == 3 for order in orders)
    seconds = Counter(order[1] for order in orders)
    assert 0.70 < seconds[HEAVY] / 1000 < 0.80


def test_a_gateway_that_is_down_comes_last_but_is_not_given_up() -> None:
    health = GatewayHealth()
    assert health.failed(FIRST, 100.0), "it was up until now"
    assert not health.failed(FIRST, 101.0)
    assert in_order(TRUNK_OF_THREE, health, 102.0, lambda: 0.0)[-1] == FIRST
    assert in_order(TRUNK_OF_THREE, health, 101.0 + PROBATION_SECONDS, lambda: 0.0)[0] == FIRST


def test_a_sign_of_life_ends_the_probation() -> None:
    health = GatewayHealth()
    health.failed(FIRST, 100.0)
    assert health.answered(FIRST)
    assert not health.answered(FIRST)
    assert in_order(TRUNK_OF_THREE, health, 101.0, lambda: 0.0)[0] == FIRST


def test_one_that_is_asked_in_vain_stays_down_until_it_answers() -> None:
    health = GatewayHealth()
    health.failed(FIRST, 100.0, until_answered=True)
    health.failed(FIRST, 101.0)
    assert not health.is_up(FIRST, 1e9)
    assert health.answered(FIRST)
    assert health.is_up(FIRST, 101.0)


def test_gateways_that_no_trunk_has_are_forgotten() -> None:
    health = GatewayHealth()
    health.failed(LIGHT, 100.0)
    health.keep_only([FIRST])
    assert health.is_up(LIGHT, 100.0)
