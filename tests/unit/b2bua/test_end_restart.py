"""Calls whose engine dies as they end: both sides are told, by the next engine if need be."""

from __future__ import annotations

import pytest

from engine.domain.cause import Cause
from sip.core import events as sip_events
from tests.sim.engine import DeathPoint
from tests.unit.b2bua.pair import Phone, World


def ended(phone: Phone) -> int:
    return sum(isinstance(event, sip_events.SessionEnded) for event in phone.heard)


def die_at_next_commit(world: World, point: DeathPoint) -> None:
    world.engine._away = 0.3
    world.engine.process.dies_at_commit = point


@pytest.mark.parametrize("cause", [Cause.HUNG_UP_BY_PLATFORM, Cause.CREDIT_EXHAUSTED])
@pytest.mark.parametrize("point", [DeathPoint.JOURNALLED, DeathPoint.COMMANDED])
def test_a_call_that_is_cut_as_its_engine_dies_is_cut_for_both(world: World, point: DeathPoint, cause: Cause) -> None:
    world.call()
    die_at_next_commit(world, point)
    world.engine.controller.hang_up(session_call(world), cause, world.timeline.now)
    world.engine.node.flush()
    assert (ended(world.a), ended(world.b)) == (0, 0)
    world.pass_seconds(2)
    assert (ended(world.a), ended(world.b)) == (1, 1)
    assert [cdr.cause for cdr in world.engine.records] == [cause]
    world.pass_seconds(70)
    assert world.engine.node.user_agent.transactions == (0, 0)


def test_a_hang_up_that_dies_with_its_engine_reaches_the_other_side(world: World) -> None:
    session = world.call()
    die_at_next_commit(world, DeathPoint.JOURNALLED)
    world.a.node.user_agent.bye(session, world.timeline.now)
    world.a.node.flush()
    world.pass_seconds(3)
    assert ended(world.b) == 1
    assert [cdr.cause for cdr in world.engine.records] == [Cause.NORMAL]


def session_call(world: World) -> str:
    (call_id,) = world.engine.controller.calls
    return call_id
