"""The engine's side of the control sockets: several workers that look like one plane.

A call stays on the worker that took its first offer; a new one goes to the worker with the fewest calls. Commands are
pipelined and never waited for. A worker that is gone takes its calls with it, which is said once; the plane keeps
trying to connect to it. A worker that is there and silent when the engine starts may hold any of the calls that an
earlier engine left: they count as held for SILENT_SECONDS_MAX, and what is commanded of them waits here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from media.embedded.worker_connection import WorkerConnection
from media.plane import (
    Accepted,
    Command,
    Delete,
    Event,
    ListCalls,
    Offer,
    RecordingFinished,
    Refusal,
    Refused,
    Reply,
    StartRecording,
)

log = logging.getLogger("media.client")

SILENT_SECONDS_MAX: Final = 15.0
"""How long the calls of an earlier engine are awaited from a worker that is there and tells nothing: it may be paused,
or its machine too busy. Its phones hear nothing meanwhile, and they hang up themselves by then."""
KEPT_COMMANDS_MAX: Final = 32
"""For one such call; further ones are refused as unreachable, but its end."""


class EmbeddedPlane:
    """The media plane of the embedded workers. Callbacks run in the event loop's thread.

    ``on_event`` may tell an event twice (after a connection ended in mid-flight): each is to be taken by its call.
    ``on_worker_lost`` gets the ids of calls that were on a worker that is gone, and of those that had ended there and
    whose recordings it had not told of. ``ended_at`` is asked for each call
    that a worker holds from an earlier engine: when it ended (monotonic seconds), for the worker to end it too; None
    lets it go on.
    """

    def __init__(
        self,
        *,
        socket_paths: Sequence[Path],
        on_reply: Callable[[Reply], None],
        on_event: Callable[[Event], None],
        on_worker_lost: Callable[[list[str]], None],
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.monotonic,
        ended_at: Callable[[str], float | None] = lambda call_id: None,
    ) -> None:
        self._on_reply = on_reply
        self._on_event = on_event
        self._on_worker_lost = on_worker_lost
        self._loop = loop
        self._clock = clock
        self._ended_at = ended_at
        self._by_call: dict[str, WorkerConnection] = {}
        self._awaited: dict[str, list[Command]] = {}
        """Calls that a silent worker may hold, and what it is to do with them."""
        self._give_up: asyncio.TimerHandle | None = None
        self._early: list[Event] | None = []
        """Events that came while we start; None afterwards."""
        self._lists: dict[int, _ListInProgress] = {}
        self._own_cookies = itertools.count(-1, -1)
        self._workers = [WorkerConnection(path, self, loop) for path in socket_paths]
        self._closed = False

    async def start(self, left_calls: Collection[str] = ()) -> None:
        """Connect to every worker that is there and learn which calls they hold; the others are tried again.

        Returns when each worker that is there has told its calls, or LIST_SECONDS_MAX have passed. Where one has not,
        those of ``left_calls`` that no other one holds are awaited. Events that a worker had kept for us are told in
        the loop's next turn: until then the calls that they speak of can be taken up.
        """
        await asyncio.gather(*(worker.start() for worker in self._workers))
        self._loop.call_soon(self._tell_early)
        if any(worker.is_silent for worker in self._workers):
            self._awaited = {call_id: [] for call_id in left_calls if call_id not in self._by_call}
            self._give_up = self._loop.call_later(SILENT_SECONDS_MAX, self._await_no_longer)
            log.warning("a media worker is there and does not tell its calls; %d are awaited", len(self._awaited))

    def send(self, command: Command) -> None:
        """Send a command to the worker it belongs to. Never blocks or raises; a reply always comes, later."""
        if isinstance(command, ListCalls):
            self._list(command)
            return
        if (kept := self._awaited.get(command.call_id)) is not None:
            if len(kept) < KEPT_COMMANDS_MAX or isinstance(command, Delete):
                kept.append(command)
            else:
                self._refuse(command.cookie, Refusal.UNREACHABLE, "the media worker is silent")
            return
        worker = self._by_call.get(command.call_id)
        if worker is None:
            if not isinstance(command, Offer):
                live = any(worker.connected for worker in self._workers)
                refusal = Refusal.UNKNOWN_CALL if live else Refusal.UNREACHABLE
                self._refuse(command.cookie, refusal, "no worker holds the call")
                return
            worker = min(
                (worker for worker in self._workers if worker.connected),
                key=lambda worker: (worker.is_silent, len(worker.call_ids)),
                default=None,
            )
            if worker is None:
                self._refuse(command.cookie, Refusal.UNREACHABLE, "no media worker is connected")
                return
            self._by_call[command.call_id] = worker
            worker.call_ids.add(command.call_id)
        if not worker.send(command):
            self._refuse(command.cookie, Refusal.UNREACHABLE, "the media worker takes no more commands")

    async def close(self) -> None:
        """Disconnect. The workers and their calls go on."""
        self._closed = True
        if self._give_up is not None:
            self._give_up.cancel()
        for worker in self._workers:
            worker.close()

    def holds(self, call_id: str) -> bool:
        """Whether a worker that is connected has this call, or a silent one may have it."""
        return call_id in self._by_call or call_id in self._awaited

    @property
    def live_workers(self) -> int:
        """How many workers are connected now."""
        return sum(worker.connected for worker in self._workers)

    def _refuse(self, cookie: int, refusal: Refusal, reason: str) -> None:
        self._loop.call_soon(self._on_reply, Refused(cookie, refusal, reason))

    def _list(self, command: ListCalls) -> None:
        asked = [worker for worker in self._workers if worker.connected]
        progress = _ListInProgress(command.cookie, len(asked))
        if not asked:
            self._refuse(command.cookie, Refusal.UNREACHABLE, "no media worker is connected")
            return
        for worker in asked:
            own = next(self._own_cookies)
            self._lists[own] = progress
            if not worker.send(ListCalls(own)):
                self.replied(worker, ListCalls(own), Refused(own, Refusal.UNREACHABLE, "busy"))

    # What workers report.

    def replied(self, worker: WorkerConnection, command: Command, reply: Reply) -> None:
        """A reply came, or will not come any more and is a refusal of ours."""
        if isinstance(command, ListCalls):
            self._listed(worker, command.cookie, reply)
            return
        if isinstance(command, Delete) and not (isinstance(reply, Refused) and reply.refusal is Refusal.UNREACHABLE):
            self._forget(worker, command.call_id)
        elif isinstance(command, Offer) and isinstance(reply, Refused) and command.call_id not in worker.answered:
            # A first offer that was refused made no call.
            self._forget(worker, command.call_id)
        elif isinstance(command, Offer):
            worker.answered.add(command.call_id)
        elif isinstance(command, StartRecording) and _is_recorded(reply):
            worker.recording.add(command.call_id)
        if command.cookie >= 0:
            self._on_reply(reply)

    def told(self, event: Event) -> None:
        """An event came."""
        if isinstance(event, RecordingFinished):
            for worker in self._workers:
                worker.recording.discard(event.call_id)
        if self._early is not None:
            self._early.append(event)
        else:
            self._on_event(event)

    def _tell_early(self) -> None:
        early, self._early = self._early or [], None
        for event in early:
            self._on_event(event)

    def connected(self, worker: WorkerConnection) -> None:
        """A worker is there (again): which calls does it hold?"""
        worker.send(ListCalls(next(self._own_cookies)))

    def lost(self, worker: WorkerConnection, pending: list[Command]) -> None:
        """A worker's connection ended."""
        call_ids = [call_id for call_id, holder in self._by_call.items() if holder is worker]
        for call_id in call_ids:
            del self._by_call[call_id]
        untold = sorted(worker.recording.difference(call_ids))
        worker.recording.clear()
        worker.call_ids.clear()
        worker.answered.clear()
        worker.listed.clear()
        worker.given_up.update(call_ids)
        for command in pending:
            self.replied(worker, command, Refused(command.cookie, Refusal.UNREACHABLE, "the media worker is gone"))
        if call_ids or untold:
            self._on_worker_lost([*call_ids, *untold])
        self.settle()

    def _take_awaited(self, worker: WorkerConnection, call_id: str, commands: list[Command]) -> None:
        self._by_call[call_id] = worker
        worker.call_ids.add(call_id)
        worker.answered.add(call_id)
        for command in commands:
            self.send(command)

    def settle(self) -> None:
        """Calls are awaited for as long as there is a worker to await them from."""
        if self._awaited and not any(worker.is_silent for worker in self._workers):
            self._await_no_longer()

    def _await_no_longer(self) -> None:
        """No worker has these calls, or only one that tells nothing: then it is to end them if it ever does."""
        if self._give_up is not None:
            self._give_up.cancel()
        awaited, self._awaited = self._awaited, {}
        for worker in self._workers:
            if worker.is_silent:
                worker.given_up.update(awaited)
        for commands in awaited.values():
            for command in commands:
                self._refuse(command.cookie, Refusal.UNREACHABLE, "no media worker told of the call")
        if awaited:
            self._on_worker_lost(list(awaited))

    def _listed(self, worker: WorkerConnection, cookie: int, reply: Reply) -> None:
        call_ids = reply.call_ids if isinstance(reply, Accepted) else []
        for call_id in call_ids:
            if call_id in worker.given_up:
                # The engine was told that this call is lost and has ended it: so must the worker.
                worker.send(Delete(next(self._own_cookies), call_id, self._clock()))
            elif (commands := self._awaited.pop(call_id, None)) is not None:
                self._take_awaited(worker, call_id, commands)
            elif call_id not in self._by_call:
                self._by_call[call_id] = worker
                worker.call_ids.add(call_id)
                worker.answered.add(call_id)
                ended_at = self._ended_at(call_id)
                if ended_at is not None:
                    worker.send(Delete(next(self._own_cookies), call_id, ended_at))
        if isinstance(reply, Accepted):
            worker.given_up.clear()
            worker.listed.set()
            self.settle()
        progress = self._lists.pop(cookie, None)
        if progress is None:
            return
        progress.call_ids.extend(call_id for call_id in call_ids if self._by_call.get(call_id) is worker)
        progress.waiting -= 1
        if progress.waiting == 0:
            self._on_reply(Accepted(progress.cookie, call_ids=progress.call_ids))

    def _forget(self, worker: WorkerConnection, call_id: str) -> None:
        if self._by_call.get(call_id) is worker:
            del self._by_call[call_id]
        worker.call_ids.discard(call_id)
        worker.answered.discard(call_id)


def _is_recorded(reply: Reply) -> bool:
    """Also where it was before: an engine that takes a call up asks for its recording again."""
    return isinstance(reply, Accepted) or reply.refusal is Refusal.WRONG_STATE


class _ListInProgress:
    __slots__ = ("call_ids", "cookie", "waiting")

    def __init__(self, cookie: int, waiting: int) -> None:
        self.cookie = cookie
        self.waiting = waiting
        self.call_ids: list[str] = []
