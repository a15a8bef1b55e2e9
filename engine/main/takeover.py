"""What an engine takes over from the one before it, as the journal tells: its clock, and its calls."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from engine.b2bua.controller import Controller
from engine.runtime.clock import SteadyClock, read_boot_id
from engine.runtime.records.record_keeper import RecordKeeper
from engine.runtime.records.recovery import end_interrupted, recover
from engine.runtime.switchboard import Switchboard
from engine.store.records.journal import read_journal
from media.embedded.client import EmbeddedPlane

LEFT_RECORDINGS_SECONDS = 5.0
"""A media worker that lives has told by then of the recordings that it had closed while no engine was there."""

log = structlog.get_logger()


class Takeover:
    """What a crash left undone. It is read before a new segment is begun, and is in that segment before the old one
    goes. Raises OSError where the journal cannot be read."""

    def __init__(self, journal_folder: Path) -> None:
        self.journal = recover(read_journal(journal_folder) if journal_folder.exists() else ())
        self.boot_id = read_boot_id()
        setting = self.journal.clock if self.journal.goes_on else None
        self.clock = SteadyClock.as_it_was(setting, self.journal.alive_at_ms, self.boot_id)
        self.talking = {record.media_call_id for record in self.journal.talking}
        """What media workers may go on with; nobody's any more once that is taken up."""
        self._ended_at = {call_id: at_ms / 1000 for call_id, at_ms in self.journal.ended_at_ms.items()}
        for record in self.journal.talking:
            if record.running is not None and record.running.joined is not None:
                self._ended_at[record.cdr.id] = record.running.joined.at_ms / 1000

    async def adopt(self, keeper: RecordKeeper) -> None:
        """Stores what had ended, as far as the database is there."""
        left = self.journal
        await keeper.adopt([*left.ended, *left.talking], left.alive_at_ms, left.recordings)

    def media_ends_at(self, call_id: str) -> float | None:
        """A media worker outlives us. It goes on (None) with the calls that we take up; of the others the recordings
        end where their CDRs do, in seconds of the monotonic clock."""
        if call_id in self.talking:
            return None
        return self.clock.to_monotonic(self._ended_at.get(call_id, self.clock.now()))

    def take_up(
        self, plane: EmbeddedPlane, controller: Controller, keeper: RecordKeeper, switchboard: Switchboard
    ) -> None:
        """Goes on with the calls that the media workers have held, and ends the others. The plane has started."""
        left, now = self.journal, self.clock.now
        held = [record for record in left.talking if plane.holds(record.media_call_id)]
        lost = [record for record in left.talking if not plane.holds(record.media_call_id)]
        for record in lost:  # the media worker has died as well
            end_interrupted(record, left.alive_at_ms)
            controller.release(record, now())
        controller.abandon(left.ended)
        controller.give_up(left.left_waiting, now())
        controller.hang_up_again(left.hung_up, now())
        controller.resume(held, now())
        keeper.take(lost)
        switchboard.keep_left_recordings([record.cdr for record in lost if record.media_call_id == record.cdr.id])
        told = {recording.call_id for recording in left.recordings}
        untold = [record.cdr for record in left.ended if record.cdr.id not in told]
        switchboard.await_recordings(untold)
        asyncio.get_running_loop().call_later(LEFT_RECORDINGS_SECONDS, switchboard.measure_untold, untold)
        self.talking.clear()
        if left.alive_at_ms:
            log.warning(
                "took up the journal",
                resumed=len(held),
                lost=len(lost),
                interrupted=left.interrupted,
                stored=len(left.ended),
                unreadable=left.unreadable,
            )
