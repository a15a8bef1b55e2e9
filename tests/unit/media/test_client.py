"""The engine's side: several workers that come, go and come back."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from media.embedded.client import EmbeddedPlane
from media.plane import (
    Accepted,
    Answer,
    Command,
    Delete,
    Event,
    ListCalls,
    Offer,
    Query,
    RecordingFinished,
    Refusal,
    Refused,
    Reply,
    Side,
    StartRecording,
)
from tests.unit.media.phones import Worker, description


class Plane:
    """A plane with its callbacks collected."""

    def __init__(self, paths: list[Path]) -> None:
        self.replies: dict[int, asyncio.Future[Reply]] = {}
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.lost: asyncio.Queue[list[str]] = asyncio.Queue()
        self._cookies = itertools.count(1)
        self.plane = EmbeddedPlane(
            socket_paths=paths,
            on_reply=lambda reply: self.replies.pop(reply.cookie).set_result(reply),
            on_event=self.events.put_nowait,
            on_worker_lost=self.lost.put_nowait,
            loop=asyncio.get_running_loop(),
        )

    def cookie(self) -> int:
        return next(self._cookies)

    async def ask(self, command: Command) -> Reply:
        future = self.replies[command.cookie] = asyncio.get_running_loop().create_future()
        self.plane.send(command)
        assert not future.done(), "a reply must not come from within send"
        return await asyncio.wait_for(future, 5)

    async def offer(self, call_id: str) -> Reply:
        return await self.ask(Offer(self.cookie(), call_id, Side.CALLER, description(4000)))

    async def calls(self) -> list[str]:
        reply = await self.ask(ListCalls(self.cookie()))
        assert isinstance(reply, Accepted)
        return sorted(reply.call_ids)


async def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.fixture
def workers(start_worker: Callable[..., Worker], tmp_path: Path) -> list[Worker]:
    found = [start_worker(socket_path=str(tmp_path / f"media-{index}.sock"), index=index) for index in range(2)]
    for index, worker in enumerate(found):
        worker.path = tmp_path / f"media-{index}.sock"
        worker.engine().close()
    return found


@pytest.fixture
async def plane(workers: list[Worker]) -> AsyncIterator[Plane]:
    made = Plane([worker.path for worker in workers])
    await made.plane.start()
    yield made
    await made.plane.close()


async def test_new_calls_go_to_the_least_loaded_worker_and_stay(plane: Plane, workers: list[Worker]) -> None:
    for index in range(6):
        assert isinstance(await plane.offer(f"call-{index}"), Accepted)
    for worker in workers:
        engine = worker.engine()
        assert len(engine.accepted(ListCalls(1)).call_ids) == 3
        engine.close()
    for index in range(6):
        answer = Answer(plane.cookie(), f"call-{index}", Side.CALLEE, description(5000))
        assert isinstance(await plane.ask(answer), Accepted)
        assert isinstance(await plane.ask(Delete(plane.cookie(), f"call-{index}", time.monotonic())), Accepted)
    assert await plane.calls() == []


async def test_refused_first_offer_leaves_nothing_behind(plane: Plane) -> None:
    reply = await plane.ask(Offer(plane.cookie(), "call", Side.CALLER, b"garbage"))
    assert isinstance(reply, Refused)
    reply = await plane.ask(Query(plane.cookie(), "call"))
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.UNKNOWN_CALL
    assert isinstance(await plane.offer("call"), Accepted)


async def test_restarted_engine_takes_its_calls_up_again(plane: Plane, workers: list[Worker]) -> None:
    for index in range(4):
        await plane.offer(f"call-{index}")
    await plane.plane.close()
    second = Plane([worker.path for worker in workers])
    await second.plane.start()
    assert await second.calls() == [f"call-{index}" for index in range(4)]
    for index in range(4):
        reply = await second.ask(Answer(second.cookie(), f"call-{index}", Side.CALLEE, description(5000)))
        assert isinstance(reply, Accepted)
    assert second.lost.empty()
    await second.plane.close()


async def test_worker_that_dies_takes_its_calls_and_others_go_on(plane: Plane, workers: list[Worker]) -> None:
    for index in range(4):
        await plane.offer(f"call-{index}")
    workers[0].kill()
    lost = await asyncio.wait_for(plane.lost.get(), 5)
    assert len(lost) == 2
    assert plane.plane.live_workers == 1
    left = await plane.calls()
    assert sorted(left + lost) == [f"call-{index}" for index in range(4)]
    reply = await plane.ask(Query(plane.cookie(), lost[0]))
    assert isinstance(reply, Refused)
    assert isinstance(await plane.offer("new"), Accepted)


async def test_command_in_flight_when_the_worker_dies_is_answered(plane: Plane, workers: list[Worker]) -> None:
    await plane.offer("call")
    for worker in workers:
        worker.process.send_signal(19)  # SIGSTOP: it takes commands and does not answer
    asked = asyncio.ensure_future(plane.ask(Query(plane.cookie(), "call")))
    await asyncio.sleep(0.1)
    for worker in workers:
        worker.kill()
    reply = await asked
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.UNREACHABLE
    reply = await plane.offer("another")
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.UNREACHABLE


async def test_worker_that_does_not_read_has_commands_refused(plane: Plane, workers: list[Worker]) -> None:
    await plane.offer("call")
    for worker in workers:
        worker.process.send_signal(19)
    asked = [asyncio.ensure_future(plane.ask(Query(plane.cookie(), "call"))) for _ in range(4000)]
    await asyncio.wait(asked, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    done, waiting = await asyncio.wait(asked, timeout=0.1)  # refused together, as nobody can take a command
    assert done
    assert all(isinstance(task.result(), Refused) for task in done)
    for worker in workers:
        worker.process.send_signal(18)
    replies = await asyncio.gather(*waiting)
    assert replies
    assert all(isinstance(reply, Accepted) for reply in replies)


async def test_worker_that_comes_back_is_used_again(
    plane: Plane, workers: list[Worker], start_worker: Callable[..., Worker]
) -> None:
    for worker in workers:
        worker.kill()
    await wait_until(lambda: plane.plane.live_workers == 0)
    start_worker(socket_path=str(workers[0].path))
    await wait_until(lambda: plane.plane.live_workers == 1)
    assert isinstance(await plane.offer("call"), Accepted)


async def test_no_worker_at_all_is_unreachable(tmp_path: Path) -> None:
    plane = Plane([tmp_path / "none.sock"])
    await plane.plane.start()
    for command in (
        Offer(plane.cookie(), "call", Side.CALLER, description(4000)),
        ListCalls(plane.cookie()),
        Delete(plane.cookie(), "call", 0.0),
    ):
        reply = await plane.ask(command)
        assert isinstance(reply, Refused)
        assert reply.refusal is Refusal.UNREACHABLE
    await plane.plane.close()


async def test_finished_recording_is_told(plane: Plane, tmp_path: Path) -> None:
    await plane.offer("call")
    at = time.monotonic()
    await plane.ask(StartRecording(plane.cookie(), "call", str(tmp_path / "call.wav"), at))
    await plane.ask(Delete(plane.cookie(), "call", at + 0.1))
    event = await asyncio.wait_for(plane.events.get(), 5)
    assert isinstance(event, RecordingFinished)
    assert (event.call_id, event.duration_ms) == ("call", 100)


async def test_call_given_up_for_lost_is_ended_on_a_worker_that_was_only_cut_off(
    plane: Plane, workers: list[Worker]
) -> None:
    await plane.offer("call")
    holder = next(worker for worker in plane.plane._workers if worker.call_ids)
    assert holder._socket is not None
    holder._lost(holder._socket)
    assert await asyncio.wait_for(plane.lost.get(), 5) == ["call"]
    await wait_until(lambda: plane.plane.live_workers == 2)
    for worker in workers:
        engine = worker.engine()
        deadline = time.monotonic() + 5
        while engine.accepted(ListCalls(1)).call_ids:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        engine.close()


async def test_a_recording_that_its_worker_has_not_told_of_is_lost_with_it(
    plane: Plane, workers: list[Worker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call had ended, so that nobody looked for what the worker had written of it."""
    await plane.offer("call")
    holder = plane.plane._by_call["call"]
    path = str(tmp_path / "call.wav")
    await plane.ask(StartRecording(plane.cookie(), "call", path, time.monotonic()))
    monkeypatch.setattr(plane.plane, "told", lambda event: None)  # the event never comes
    await plane.ask(Delete(plane.cookie(), "call", time.monotonic()))
    workers[plane.plane._workers.index(holder)].kill()
    assert await asyncio.wait_for(plane.lost.get(), 5) == ["call"]


async def test_a_recording_that_was_told_of_is_not_lost_with_its_worker(
    plane: Plane, workers: list[Worker], tmp_path: Path
) -> None:
    await plane.offer("call")
    holder = plane.plane._by_call["call"]
    await plane.ask(StartRecording(plane.cookie(), "call", str(tmp_path / "call.wav"), time.monotonic()))
    await plane.ask(Delete(plane.cookie(), "call", time.monotonic()))
    assert isinstance(await asyncio.wait_for(plane.events.get(), 5), RecordingFinished)
    workers[plane.plane._workers.index(holder)].kill()
    await wait_until(lambda: plane.plane.live_workers == 1)
    assert plane.lost.empty()
