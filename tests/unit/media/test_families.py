"""Calls whose sides are of different address families."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from media.plane import Answer, Delete, Offer, Refusal, Refused, Side
from tests.unit.media.conftest import borrowed
from tests.unit.media.phones import Engine, Phone, Worker, audio_port, description, rtp, spare_ports

HOSTS = {4: "127.0.0.1", 6: "::1"}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    started = Worker(tmp_path_factory.mktemp("media"), host_ipv6="::1", quarantine_seconds=0, **spare_ports(8))
    yield started
    started.stop()


@pytest.fixture
def engine(worker: Worker) -> Iterator[Engine]:
    with borrowed(worker) as connected:
        yield connected


def family(sdp: bytes) -> int:
    return 6 if b"c=IN IP6 ::1\r\n" in sdp else 4


def hear_each_other(caller: Phone, callee: Phone) -> None:
    for sequence in range(4):
        for sender, receiver in ((caller, callee), (callee, caller)):
            sender.send(rtp(sequence))
            assert receiver.receive() == rtp(sequence)


@pytest.mark.parametrize("caller_family", [4, 6])
def test_sides_of_two_families(engine: Engine, caller_family: int) -> None:
    callee_family = 10 - caller_family
    caller, callee = Phone(HOSTS[caller_family]), Phone(HOSTS[callee_family])
    offer = description(caller.port, host=caller.host)
    towards = engine.accepted(Offer(1, "call", Side.CALLER, offer, (callee_family,)))
    back = engine.accepted(Answer(2, "call", Side.CALLEE, description(callee.port, host=callee.host))).sdp
    assert (family(towards.sdp), family(back), towards.sdp_by_family) == (callee_family, caller_family, {})
    caller.towards, callee.towards = audio_port(back), audio_port(towards.sdp)
    hear_each_other(caller, callee)


@pytest.mark.parametrize("answering", [4, 6])
@pytest.mark.parametrize("first", [4, 6])
def test_callee_may_be_in_either_family(engine: Engine, first: int, answering: int) -> None:
    """Its answer decides; the port in the other family is given back at once, and nothing is left at the end."""
    for cookie in (10, 20, 30):
        caller, callee = Phone(), Phone(HOSTS[answering])
        offer = Offer(cookie, "call", Side.CALLER, description(caller.port), (first, 10 - first))
        reply = engine.accepted(offer)
        assert list(reply.sdp_by_family) == [first, 10 - first]
        assert {each: family(sdp) for each, sdp in reply.sdp_by_family.items()} == {4: 4, 6: 6}
        assert reply.sdp == reply.sdp_by_family[first]
        second = Offer(cookie + 2, "second", Side.CALLER, description(4000))
        refused = engine.ask(second)
        assert isinstance(refused, Refused)  # three ports of four are taken, two are wanted
        assert refused.refusal is Refusal.CAPACITY
        answer = Answer(cookie + 1, "call", Side.CALLEE, description(callee.port, host=callee.host))
        back = engine.accepted(answer).sdp
        caller.towards, callee.towards = audio_port(back), audio_port(reply.sdp_by_family[answering])
        hear_each_other(caller, callee)
        engine.accepted(second)
        for call_id in ("call", "second"):
            engine.accepted(Delete(cookie + 3, call_id, 0.0))


def test_family_of_the_callee_is_not_served(start_worker: Callable[..., Worker]) -> None:
    """Its signalling comes over IPv6, which need not be true of its media: it is offered what there is."""
    engine = start_worker().engine()
    reply = engine.accepted(Offer(1, "one", Side.CALLER, description(4000), (6,)))
    assert (family(reply.sdp), reply.sdp_by_family) == (4, {})
    reply = engine.accepted(Offer(2, "two", Side.CALLER, description(4000), (6, 4)))
    assert list(reply.sdp_by_family) == [4]


def test_answer_in_a_family_that_was_not_offered(engine: Engine) -> None:
    engine.accepted(Offer(1, "call", Side.CALLER, description(4000), (4,)))
    reply = engine.ask(Answer(2, "call", Side.CALLEE, description(5000, host="::1")))
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.BAD_SDP
