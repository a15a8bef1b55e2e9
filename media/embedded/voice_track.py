"""One side's voice in a recording: its samples into a channel, and the stretches that nothing covered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

import numpy as np

from media.codec.g711 import Pcm, decode_pairs
from media.errors import PeerFault
from media.rtp.block import Block
from media.rtp.packet import parse
from media.rtp.timeline import Timeline

GAPS_MAX: Final = 250
GAP_SAMPLES_MIN: Final = 80
"""10 ms: half of a usual packet, so that one lost packet is reported and rounding is not."""

EDGE_SAMPLES_MIN: Final = 480
"""60 ms: the first packet cannot come before it is spoken, nor the last one after the call."""

_SEQUENCES: Final = 1 << 16


class VoiceTrack:
    """Positions are absolute, in samples of the monotonic clock, until ``gaps`` is asked."""

    __slots__ = ("_covered", "_deaf_until", "_decided", "_end", "_gaps", "_next", "_timeline")

    def __init__(self) -> None:
        self._timeline = Timeline()
        self._covered: list[tuple[int, int]] = []
        self._deaf_until = 0
        self._decided: int | None = None
        self._gaps: list[tuple[int, int]] = []
        self._next: tuple[int, int] | None = None
        """SSRC and sequence number that come next if nothing is lost."""
        self._end = 0

    def place(
        self,
        block: Block,
        laws: Mapping[int, str],
        decoded: Mapping[str, Pcm],
        channel: Pcm,
        base: int,
        late: int = 0,
    ) -> int:
        """Decode a block into ``channel``, whose first sample is position ``base``; returns how far it reached.

        Payload types that are not in ``laws`` are silence. Samples outside of the channel are dropped. ``late`` is as
        in ``Timeline.place``.
        """
        run = block.run
        if run is not None and run.payload_type in laws:
            start = self._timeline.place_run(run, late)
            if start is not None:
                end = start + len(block) * run.octets
                last = (run.sequence + len(block) - 1) % _SEQUENCES
                self._cover((run.ssrc, run.sequence), (run.ssrc, last), start, end)
                return _put(channel, start - base, decode_pairs(block.octet_pairs, laws[run.payload_type]))
        if block.payloads is not None:
            law = laws.get(int(block.payload_types[0]))
            if law is None:
                self._skip(block, 0, len(block) - 1)
                return 0
            positions = self._timeline.place(block.ssrcs, block.timestamps, block.arrivals, late)
            size = block.payloads.shape[1]
            edges = np.flatnonzero(positions[1:] - positions[:-1] != size) + 1
            starts = [0, *edges.tolist(), len(block)]
            samples = decoded[law].take(block.payloads).reshape(-1)
            reach = 0
            for first, last in pairwise(starts):
                start, end = int(positions[first]), int(positions[last - 1]) + size
                self._cover(_arrived(block, first), _arrived(block, last - 1), start, end)
                reach = max(reach, _put(channel, start - base, samples[first * size : last * size]))
            return reach
        return self._place_singly(block, laws, decoded, channel, base, late)

    def interrupt(self, until: int) -> None:
        """Nobody has listened up to here: silence before it was not meant, whatever numbers and clocks say later."""
        self._deaf_until = until

    def decide(self, up_to: int, start: int) -> None:
        """Nothing before ``up_to`` will change: what is not covered there, from ``start`` on, is a gap."""
        place = self._decided if self._decided is not None else start
        rest: list[tuple[int, int]] = []
        for first, last in sorted(self._covered):
            if first > place:
                self._note(place, min(first, up_to))
            place = max(place, min(last, up_to))
            if last > up_to:
                rest.append((first, last))
        if place < up_to:
            self._note(place, up_to)
        self._decided = up_to
        self._covered = rest

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """(start, end) of each stretch without packets between two positions; one side's bounded list."""
        found = []
        for first, last in self._gaps:
            first, last = max(first, start), min(last, end)
            least = EDGE_SAMPLES_MIN if first <= start or last >= end else GAP_SAMPLES_MIN
            if last - first >= least:
                found.append((first, last))
        return found

    def _place_singly(
        self, block: Block, laws: Mapping[int, str], decoded: Mapping[str, Pcm], channel: Pcm, base: int, late: int
    ) -> int:
        """Packets of several lengths, payload types or SSRCs, or with more than the plain header."""
        voice = np.isin(block.payload_types, list(laws))
        reach = 0
        placed: Iterator[int] = iter(())
        if voice.any():
            placed = iter(
                self._timeline.place(block.ssrcs[voice], block.timestamps[voice], block.arrivals[voice], late).tolist()
            )
        for index, is_voice in enumerate(voice.tolist()):
            if not is_voice:
                self._skip(block, index, index)
                continue
            position = next(placed)
            try:
                packet = parse(block.packets[index])
            except PeerFault:
                continue
            payload = np.frombuffer(packet.payload, np.uint8)
            self._cover(_arrived(block, index), _arrived(block, index), position, position + len(payload))
            samples = decoded[laws[packet.payload_type]].take(payload)
            reach = max(reach, _put(channel, position - base, samples))
        return reach

    def _skip(self, block: Block, first: int, last: int) -> None:
        """Packets that are silence by intent (events, comfort noise) or not for us; they keep the count of numbers."""
        for index in range(first, last + 1):
            arrived = _arrived(block, index)
            if arrived == self._next:
                self._next = _successor(*arrived)
            else:
                self._next = None

    def _cover(self, first: tuple[int, int], last: tuple[int, int], start: int, end: int) -> None:
        """Note packets as present, the first and the last given by SSRC and sequence number.

        Silence before them is meant, not lost, if no number is missing (DTX).
        """
        if first == self._next and start > max(self._end, self._deaf_until):
            start = max(self._end, self._deaf_until)
            while self._gaps and self._gaps[-1][1] > start:
                earlier = self._gaps.pop()
                if earlier[0] < start:
                    self._gaps.append((earlier[0], start))
        if self._covered and self._covered[-1][0] <= start <= self._covered[-1][1]:
            self._covered[-1] = (self._covered[-1][0], max(end, self._covered[-1][1]))
        else:
            self._covered.append((start, end))
        self._end = end
        self._next = _successor(*last)

    def _note(self, start: int, end: int) -> None:
        if self._gaps and self._gaps[-1][1] >= start:
            self._gaps[-1] = (self._gaps[-1][0], end)
        elif len(self._gaps) < GAPS_MAX:
            self._gaps.append((start, end))


def _arrived(block: Block, index: int) -> tuple[int, int]:
    return int(block.ssrcs[index]), int(block.sequences[index])


def _successor(ssrc: int, sequence: int) -> tuple[int, int]:
    return ssrc, (sequence + 1) % _SEQUENCES


def _put(channel: Pcm, start: int, samples: Pcm) -> int:
    """Copy what fits; returns the end of what was put."""
    end = min(start + len(samples), len(channel))
    first = max(start, 0)
    if end <= first:
        return 0
    channel[first:end] = samples[first - start : end - start]
    return end
