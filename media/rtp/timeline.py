"""Where packets belong on the machine's own sample clock, by their RTP timestamps and not by when they came."""

from __future__ import annotations

from typing import Final

import numpy as np

from media.rtp.block import Floats, Int64s, Run

SAMPLE_RATE: Final = 8000

DISAGREEMENT_SAMPLES_MAX: Final = 960
"""120 ms. Timestamp and arrival may disagree by so much (drift, a first packet that was late) before the clock is
set anew; it is less than the 200 ms that a recording keeps back, so that drift never costs a packet."""

JUMP_SAMPLES_MIN: Final = 1600
"""200 ms. A change of delay between two packets that is looked at as a possible jump of the sender's clock."""

JUMP_PACKETS_MIN: Final = 3
"""Fewer packets at another delay are late packets, not a jump."""

SOURCES_MAX: Final = 4
"""SSRCs whose clocks are remembered; the least recent is forgotten first."""

_WRAP: Final = 1 << 32
_HALF: Final = 1 << 31


class _Clock:
    """One SSRC's: ``reference`` is an unwrapped timestamp, position = unwrapped timestamp + ``offset``."""

    __slots__ = ("offset", "reference")

    def __init__(self, reference: int, offset: int) -> None:
        self.reference = reference
        self.offset = offset


class Timeline:
    """One side's packets. The first of an SSRC tie its timestamps to when they came; from then on timestamps say."""

    __slots__ = ("_clocks",)

    def __init__(self) -> None:
        self._clocks: dict[int, _Clock] = {}

    def place(self, ssrcs: Int64s, timestamps: Int64s, arrivals: Floats, late: int = 0) -> Int64s:
        """The position of each packet's first sample: monotonic time in samples of 8 kHz.

        Packets in the order of arrival, at least one, voice only: an event's packets repeat their timestamp
        (RFC 4733 §2.5.1.2) and would look like a clock that stands still. ``late`` is by how many samples the process
        that noted the arrivals was late itself: so much says nothing of the sender's clock.
        """
        first = int(ssrcs[0])
        if bool((ssrcs == first).all()):
            return self._place_source(first, timestamps, arrivals, late)
        positions = np.empty(len(ssrcs), np.int64)
        for ssrc in dict.fromkeys(ssrcs.tolist()):
            chosen = ssrcs == ssrc
            positions[chosen] = self._place_source(ssrc, timestamps[chosen], arrivals[chosen], late)
        return positions

    def place_run(self, run: Run, late: int = 0) -> int | None:
        """The position of a run's first sample, its packets lying end to end; None where ``place`` must judge."""
        clock = self._clocks.get(run.ssrc)
        if clock is None:
            return None
        step = (run.timestamp - clock.reference + _HALF) % _WRAP - _HALF
        start = step + clock.reference + clock.offset
        # A packet's lead over its arrival is the start less its delay.
        if (
            start - float(np.minimum.reduce(run.delays)) * SAMPLE_RATE > DISAGREEMENT_SAMPLES_MAX
            or start - float(np.maximum.reduce(run.delays)) * SAMPLE_RATE < -DISAGREEMENT_SAMPLES_MAX - late
        ):
            return None
        if len(self._clocks) > 1:
            self._clocks[run.ssrc] = self._clocks.pop(run.ssrc)
        clock.reference += step
        return start

    def _place_source(self, ssrc: int, timestamps: Int64s, arrivals: Floats, late: int) -> Int64s:
        arrived = (arrivals * SAMPLE_RATE).astype(np.int64)
        clock = self._clocks.pop(ssrc, None)
        if clock is None:
            # The least delayed of the first packets says when they were spoken; the very first may have been late.
            spoken = (timestamps - timestamps[0] + _HALF) % _WRAP - _HALF
            clock = _Clock(int(timestamps[0]), int((arrived - spoken).min()) - int(timestamps[0]))
            if len(self._clocks) >= SOURCES_MAX:
                del self._clocks[next(iter(self._clocks))]
        self._clocks[ssrc] = clock  # last in the dict is most recent
        steps = (timestamps - clock.reference + _HALF) % _WRAP - _HALF
        positions = steps + (clock.reference + clock.offset)
        clock.reference += int(steps[-1])
        leads = positions - arrived
        if int(leads.max()) <= DISAGREEMENT_SAMPLES_MAX and int(leads.min()) >= -DISAGREEMENT_SAMPLES_MAX - late:
            return positions
        return self._set_anew(clock, positions, leads)

    def _set_anew(self, clock: _Clock, positions: Int64s, leads: Int64s) -> Int64s:
        """Where arrival and timestamp disagree: find jumps of the clock among packets that are merely late.

        A stretch without a sudden change of delay has its least delayed packet as its measure. A network that stood
        still delivers a burst whose last packet is on time again, so that nothing moves; a clock that jumped, or
        stood still, has no packet on time.
        """
        edges = np.flatnonzero(np.abs(np.diff(leads)) >= JUMP_SAMPLES_MIN) + 1
        shift = 0
        for stretch in np.split(np.arange(len(positions)), edges):
            best = int(leads[stretch].max()) + shift
            if len(stretch) >= JUMP_PACKETS_MIN and abs(best) > DISAGREEMENT_SAMPLES_MAX:
                shift -= best
            positions[stretch] += shift
        clock.offset += shift
        return positions
