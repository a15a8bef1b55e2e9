"""Keeps who is registered over the engine's end: an agent is reached again at once, not at his phone's next REGISTER.

A segment a minute, of what was registered in it. A phone that is still there has registered again before its last
registration ran out, and so stands in a newer segment: a segment whose registrations have all run out goes, and none is
copied but at a start. Losing the last second does no harm, so that nothing waits for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import structlog

from engine.store.records.journal import FRAME_OCTETS_MAX, Journal, read_journal, segments
from sip.core.registrar import Binding

WRITE_SECONDS = 1.0
SEGMENT_SECONDS = 60.0

log = structlog.get_logger()


class Registered(msgspec.Struct, array_like=True):
    """All contacts of one address of record, as of now."""

    aor: str
    bindings: list[Binding]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Registered).decode


def read_registrations(folder: Path, now: float) -> dict[str, list[Binding]]:
    """Who is still registered at ``now``, by address of record. Raises OSError."""
    found: dict[str, list[Binding]] = {}
    for payload in read_journal(folder):
        try:
            record = _decode(payload)
        except msgspec.MsgspecError:
            continue  # of another version of ours: the phone will come again
        live = [binding for binding in record.bindings if binding.expires_at > now]
        found.pop(record.aor, None)
        if live:
            found[record.aor] = live
    return found


class RegistrationKeeper:
    """``folder`` is its own, and ``registered`` what ``read_registrations`` found in it."""

    def __init__(self, folder: Path, registered: Mapping[str, list[Binding]], now: Callable[[], float]) -> None:
        """Raises OSError."""
        self._now = now
        self._last_expiry = 0.0
        self._until: dict[Path, float] = {}
        """When the last registration in each earlier segment runs out."""
        earlier = segments(folder) if folder.exists() else []
        self._journal = Journal(folder)
        for aor, bindings in registered.items():
            self.take(aor, bindings)
        self._journal.write()
        for path in earlier:
            path.unlink(missing_ok=True)

    def take(self, aor: str, bindings: list[Binding]) -> None:
        payload = _encode(Registered(aor, bindings))
        if len(payload) > FRAME_OCTETS_MAX:
            return  # more contacts than any phone has: it is forgotten at a restart
        self._journal.append(payload)
        self._last_expiry = max(self._last_expiry, max((each.expires_at for each in bindings), default=0.0))

    async def run(self) -> None:
        """Runs until cancelled."""
        loop = asyncio.get_running_loop()
        begun_at = loop.time()
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            self.write()
            if loop.time() - begun_at >= SEGMENT_SECONDS:
                begun_at = loop.time()
                self.begin_segment()

    def write(self) -> None:
        try:
            self._journal.write()
        except OSError as error:
            log.error("registrations not written", reason=error.strerror)

    def begin_segment(self) -> None:
        """Starts a new segment; those that hold nobody any more go."""
        try:
            self._until[self._journal.next_segment()] = self._last_expiry
            self._last_expiry = 0.0
            for path in [path for path, until in self._until.items() if until <= self._now()]:
                path.unlink(missing_ok=True)
                del self._until[path]
        except OSError as error:
            log.error("registrations not written", reason=error.strerror)
