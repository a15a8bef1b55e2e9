"""A media worker that is there and says nothing while the engine starts: paused, or its machine too busy."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest

from media.embedded import client, worker_connection
from media.plane import Accepted, Delete, ListCalls, Query, Refusal, Refused
from tests.unit.media.phones import Worker
from tests.unit.media.test_client import Plane, plane, wait_until, workers

__all__ = ["plane", "workers"]


@pytest.fixture(autouse=True)
def short_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_connection, "LIST_SECONDS_MAX", 0.2)


@pytest.fixture
async def left(plane: Plane, workers: list[Worker]) -> AsyncIterator[list[str]]:
    """Calls that an engine left behind on two workers, the first of which is paused."""
    calls = [f"call-{index}" for index in range(4)]
    for call_id in calls:
        await plane.offer(call_id)
    await plane.plane.close()
    workers[0].process.send_signal(signal.SIGSTOP)
    yield calls
    workers[0].process.send_signal(signal.SIGCONT)


async def started(workers: list[Worker], left: list[str]) -> Plane:
    second = Plane([worker.path for worker in workers])
    await second.plane.start([*left, "gone"])
    return second


async def test_calls_of_a_paused_worker_are_taken_up_when_it_tells_them(left: list[str], workers: list[Worker]) -> None:
    second = await started(workers, left)
    assert all(second.plane.holds(call_id) for call_id in left)
    queries = [asyncio.create_task(second.ask(Query(second.cookie(), call_id))) for call_id in left]
    await asyncio.sleep(0.2)
    assert sorted(query.done() for query in queries) == [False, False, True, True]
    assert second.lost.empty()
    workers[0].process.send_signal(signal.SIGCONT)
    assert all(isinstance(reply, Accepted) for reply in await asyncio.gather(*queries))
    assert await asyncio.wait_for(second.lost.get(), 5) == ["gone"]  # now that every worker has told
    assert await second.calls() == left
    await second.plane.close()


async def test_new_calls_go_to_other_workers_than_a_silent_one(left: list[str], workers: list[Worker]) -> None:
    second = await started(workers, left)
    for index in range(4):
        assert isinstance(await second.offer(f"new-{index}"), Accepted)
    await second.plane.close()


async def test_calls_of_a_worker_that_stays_silent_are_given_up(
    left: list[str], workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SILENT_SECONDS_MAX", 0.5)
    second = await started(workers, left)
    (silent,) = [call_id for call_id in left if call_id not in second.plane._by_call][:1]
    reply = await second.ask(Query(second.cookie(), silent))
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.UNREACHABLE
    lost = await asyncio.wait_for(second.lost.get(), 5)
    assert len(lost) == 3
    assert "gone" in lost
    workers[0].process.send_signal(signal.SIGCONT)  # and must end what was given up
    await wait_until(lambda: not any(worker.is_silent for worker in second.plane._workers))
    assert not any(second.plane.holds(call_id) for call_id in lost)
    assert len(await second.calls()) == 2
    engine = workers[0].engine()
    assert engine.accepted(ListCalls(1)).call_ids == []
    engine.close()
    await second.plane.close()


async def test_calls_of_a_paused_worker_that_is_killed_are_lost_at_once(left: list[str], workers: list[Worker]) -> None:
    second = await started(workers, left)
    workers[0].kill()
    assert len(await asyncio.wait_for(second.lost.get(), 5)) == 3
    await second.plane.close()


async def test_a_call_that_ends_before_its_worker_tells_ends_there_too(left: list[str], workers: list[Worker]) -> None:
    second = await started(workers, left)
    (silent,) = [call_id for call_id in left if call_id not in second.plane._by_call][:1]
    ending = asyncio.create_task(second.ask(Delete(second.cookie(), silent, time.monotonic())))
    await asyncio.sleep(0.1)
    workers[0].process.send_signal(signal.SIGCONT)
    assert isinstance(await ending, Accepted)
    assert not second.plane.holds(silent)
    await second.plane.close()
