"""One relayed call: two sides, what their descriptions agreed on, and how packets pass between them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

from media import sdp
from media.codec.wav import SAMPLE_RATE
from media.embedded.leg import DATAGRAM_OCTETS_MAX, KEYS_PER_FLUSH_MAX, Leg, Send, discard
from media.embedded.negotiation import Negotiation, WrongState
from media.embedded.recorder import Recorder
from media.errors import PeerFault
from media.plane import Dtmf, Side, SideStatistics, Srtp
from media.rtp import rtcp
from media.rtp.block import Block, read_block
from media.rtp.dtmf import KeyPress, read_event
from media.rtp.latch import Address, Verdict
from media.rtp.packet import is_rtp, parse

log = logging.getLogger("media.calls")

Flow = tuple[Callable[[int], bytes], int, Send, Callable[[bytes], None], Callable[[float], None], Leg]
"""What the loop needs for a packet of a latched side: recv and its size, send to the other, keep packet, keep arrival,
and the side."""

Handler = Callable[[float], None]

RECORDED_ENCODINGS: Final = frozenset({"PCMU", "PCMA"})


class Switchboard(Protocol):
    """The loop, as a call sees it: where it says which sockets to watch and how."""

    flush_failures: int

    def watch(self, descriptor: int, handler: Handler) -> None: ...
    def connect_through(self, descriptor: int, flow: Flow) -> None: ...
    def forget(self, descriptor: int) -> None: ...


class RelayedCall:
    """State of one call. Times are monotonic seconds."""

    __slots__ = (
        "_board",
        "_descriptions",
        "_event_types",
        "_laws",
        "_muted",
        "_negotiation",
        "_noise_types",
        "_spare",
        "_surplus",
        "answered",
        "call_id",
        "closed",
        "failed",
        "last_media",
        "legs",
        "on_hold",
        "on_key",
        "recorder",
        "timed_out",
    )  # fmt: skip

    def __init__(
        self,
        call_id: str,
        caller: Leg,
        callee: Leg,
        *,
        negotiation: Negotiation,
        board: Switchboard,
        now: float,
        spare: Leg | None = None,
    ) -> None:
        """``spare`` is a leg in the other family for a side that may be in either; its answer decides."""
        self._negotiation = negotiation
        self.call_id = call_id
        self.legs = {Side.CALLER: caller, Side.CALLEE: callee}
        self._spare = spare
        self._surplus: list[int] = []
        self.recorder: Recorder | None = None
        self.answered = False
        self.on_hold = False
        self.timed_out = False
        self.closed = False
        self.last_media = now
        self._board = board
        self._descriptions: dict[Side, sdp.Description] = {}
        self._muted = dict.fromkeys(Side, 0)
        self._laws = {0: "PCMU", 8: "PCMA"}
        self._noise_types = {13}
        self._event_types: set[int] = set()
        self.on_key: Callable[[Dtmf, float], None] = lambda _key, _now: None
        """Told of each key, with the time."""
        self.failed = False
        """A fault of ours in its flush ended its recording."""
        for leg in self._all_legs:
            board.watch(leg.rtp.fileno(), partial(self._receive_open, leg))
            leg.on_widened = self.wire
            leg.on_odd = partial(self._receive_odd, leg)
            board.watch(leg.rtcp.fileno(), partial(self._receive_rtcp, leg))

    def offer(
        self, side: Side, description: sdp.Description, *, srtp: Srtp = Srtp.OFF, srtp_required: bool = False
    ) -> dict[int, bytes]:
        """Take a side's offer and write it for the other side, in each family at which that may be, the first first.

        The first offer counts at once (early media); a later one only when it is answered, since it may be refused.
        Raises PeerFault; the call is then as before.
        """
        leg = self.legs[side]
        leg.srtp_required |= srtp_required  # for good: a call goes on with it when the engine that said so is gone
        self._negotiation.take_offer(leg, description)
        if not self.answered:
            self._settle(leg, description)
            self.wire()
        written: dict[int, bytes] = {}
        for towards in self._legs_of(side.other).values():
            self._negotiation.offer_srtp(towards, srtp)
            written[towards.family] = self._negotiation.write_offer(towards)
        return written

    def answer(self, side: Side, raw: bytes, now: float) -> bytes:
        """Take a side's answer and write it for the one that offered. Raises PeerFault, WrongState."""
        negotiation = self._negotiation
        offer, offerer = negotiation.offer, negotiation.offerer
        if side is offerer:
            raise WrongState("an answer from the side that offered")
        leg, description, agreement = negotiation.take_answer(self._legs_of(side), raw)
        self._keep(leg)
        if self.answered:
            self._settle(self.legs[offerer], offer)
        self._settle(leg, description)
        common = agreement.common
        self.legs[offerer].payload_types, self.legs[offerer].laws = common.to_offerer, common.laws_to_offerer
        leg.payload_types, leg.laws = common.to_answerer, common.laws_to_answerer
        self.on_hold = offer.on_hold or description.on_hold
        self.answered = True
        self.timed_out = False
        self.last_media = now
        self.wire()
        return negotiation.write_answer(self.legs[offerer], agreement)

    def g711_towards(self, side: Side) -> tuple[int, str] | None:
        """The payload type and law in which ``side`` takes voice, its first choice; None without G.711."""
        description = self._descriptions.get(side)
        if description is None:
            return None
        for codec in description.audio.codecs:
            if codec.encoding in RECORDED_ENCODINGS and codec.clock_rate == 8000:
                return codec.payload_type, codec.encoding
        return None

    def events_towards(self, side: Side) -> int | None:
        """The payload type in which ``side`` takes telephone events (RFC 4733); None where it takes none."""
        description = self._descriptions.get(side)
        if description is None:
            return None
        events = [codec.payload_type for codec in description.audio.codecs if _is_event(codec)]
        return events[0] if events else None

    def takes_events(self, side: Side) -> bool:
        """False where a side has said what it takes, and telephone events are not among it."""
        return side not in self._descriptions or self.events_towards(side) is not None

    def mute(self, side: Side, muted: bool) -> None:
        """Stop or take up again the relay of voice *to* ``side``; the other direction and recording go on. Who has
        stopped it, and none else, takes it up: a key and a tone may be played at once."""
        self._muted[side] += 1 if muted else -1
        self.wire()

    def wire(self) -> None:
        """Tell the loop how packets pass, after anything changed."""
        for side, leg in self.legs.items():
            if leg.connected is not None:
                send, keep, mark = self._sender(side.other), leg.packets.append, leg.arrivals.append
                octets = DATAGRAM_OCTETS_MAX if leg.security is not None else leg.receive_octets
                flow = (leg.receiver(), octets, send, keep, mark, leg)
                self._board.connect_through(leg.connected.fileno(), flow)

    def flush(self, now: float) -> None:
        """Once a second: count, place and write what came since the last time.

        Never raises: a fault of ours ends this call's recording, not the worker with all its calls.
        """
        try:
            blocks = self._take(now)
            if self.recorder is not None:
                self.recorder.flush(now, blocks, self._laws)
        except Exception:  # noqa: BLE001 - logged with its traceback; one call must not end all
            self._give_recording_up()
        for leg in self.legs.values():
            leg.keys_left = KEYS_PER_FLUSH_MAX
            self._tell(leg, leg.keys.expire(now), now)

    def finish_recording(self, now: float, at: float) -> None:
        """End the recording, if there is one, at the time ``at``. Never raises, as ``flush``."""
        if self.recorder is None:
            return
        try:
            self.recorder.finish(now, self._take(now), self._laws, at)
        except Exception:  # noqa: BLE001 - logged with its traceback; one call must not end all
            self._give_recording_up()
        self.recorder = None

    def _give_recording_up(self) -> None:
        """After a fault of ours in a flush: what is written stays, and is reported as a recording that ended early."""
        self._board.flush_failures += 1
        if not self.failed:
            log.exception("a flush failed; the call goes on without its recording")
        self.failed = True
        for leg in self.legs.values():
            leg.packets.clear()
            leg.arrivals.clear()
        if self.recorder is not None:
            self.recorder.abandon()
            self.recorder = None

    def _take(self, now: float) -> dict[Side, Block]:
        """The packets since the last flush, counted."""
        blocks: dict[Side, Block] = {}
        for side, leg in self.legs.items():
            if not leg.packets:
                continue
            packets, arrivals = list(leg.packets), list(leg.arrivals)
            leg.packets.clear()
            leg.arrivals.clear()
            leg.last_packet = packets[-1]
            self.last_media = max(self.last_media, arrivals[-1])
            self.timed_out = False
            blocks[side] = block = read_block(packets, arrivals)
            leg.statistics.add(block)
        return blocks

    def statistics(self, side: Side) -> SideStatistics:
        """What one side sent, as of the last flush."""
        leg = self.legs[side]
        counts = leg.statistics
        return SideStatistics(
            packets=counts.packets,
            octets=counts.octets,
            lost=counts.lost,
            out_of_order=counts.out_of_order,
            duplicates=counts.duplicates,
            jitter_ms=round(counts.jitter_seconds * 1000, 3),
            refused=leg.refused,
            keys=leg.keys_told,
        )

    def close(self) -> list[int]:
        """Close all sockets; returns the ports, to be given back."""
        self.closed = True
        for leg in self._all_legs:
            self._close(leg)
        return self.take_surplus()

    def take_surplus(self) -> list[int]:
        """Ports that the call no longer needs, to be given back."""
        surplus, self._surplus = self._surplus, []
        return surplus

    @property
    def _all_legs(self) -> list[Leg]:
        return [*self.legs.values(), *([self._spare] if self._spare is not None else [])]

    def _legs_of(self, side: Side) -> dict[int, Leg]:
        """By family, the one that comes first in offers first."""
        return {leg.family: leg for leg in self._all_legs if leg.side is side}

    def _keep(self, leg: Leg) -> None:
        """A side has taken one of the families that it was offered: the leg in the other one is not needed."""
        if self._spare is None or self._spare.side is not leg.side:
            return
        surplus = self._spare if leg is self.legs[leg.side] else self.legs[leg.side]
        self.legs[leg.side], self._spare = leg, None
        self._close(surplus)

    def _close(self, leg: Leg) -> None:
        if leg.connected is not None:
            self._board.forget(leg.connected.fileno())
        self._board.forget(leg.rtp.fileno())
        self._board.forget(leg.rtcp.fileno())
        leg.close()
        self._surplus.append(leg.port)

    def _sender(self, side: Side) -> Send:
        return discard if self._muted[side] else self.legs[side].sender()

    def _settle(self, leg: Leg, description: sdp.Description) -> None:
        """A side's description comes into force: its address, and the latch open again."""
        self._descriptions[leg.side] = description
        for codec in description.audio.codecs:
            if codec.encoding in RECORDED_ENCODINGS and codec.kind[1:] == (8000, 1):
                self._laws[codec.payload_type] = codec.encoding
        audio = description.audio
        self._negotiation.secure(leg, audio)
        noises = [codec.payload_type for codec in audio.codecs if codec.encoding == "CN"]
        self._noise_types.update(noises)
        leg.comfort_noise = bool(noises)
        self._event_types.update(codec.payload_type for codec in audio.codecs if _is_event(codec))
        if leg.connected is not None:
            self._board.forget(leg.connected.fileno())
        if sdp.is_unspecified(audio.address):
            leg.target = leg.rtcp_target = None
            leg.expect(None, None)
        else:
            leg.expect((audio.address, audio.port), (audio.rtcp_address, audio.rtcp_port))

    def _receive_open(self, leg: Leg, now: float) -> None:
        """A datagram that the connected socket did not take: the side is not latched yet, or it is a stranger."""
        try:
            data, source = leg.rtp.recvfrom(DATAGRAM_OCTETS_MAX)
        except OSError:  # an ICMP error of an earlier send; the next packet shows what is so
            return
        self._judge(leg, data, (source[0], source[1]), now)

    def _judge(self, leg: Leg, data: bytes, source: Address, now: float) -> None:
        if leg.security is not None:
            try:
                data = leg.security.unprotect(data)
            except PeerFault:
                leg.refused += 1
                return
        if not is_rtp(data):
            leg.refused += 1
            return
        verdict = leg.latch.receive(source)
        if verdict is Verdict.REFUSE:
            leg.refused += 1
            return
        self._pass(leg, data, now)
        if verdict is Verdict.LATCH:
            self._latched(leg, source, now)

    def _receive_odd(self, leg: Leg, data: bytes, now: float) -> None:
        """A datagram of a latched side that is no packet of voice by its size."""
        if is_rtp(data):
            self._pass(leg, data, now)
        else:
            leg.refused += 1

    def _pass(self, leg: Leg, data: bytes, now: float) -> None:
        """Keep a packet and send it on, unless it is comfort noise or an event that the other side does not know."""
        leg.packets.append(data)
        leg.arrivals.append(now)
        payload_type, other = data[1] & 0x7F, leg.side.other
        if payload_type in self._noise_types and not self.legs[other].comfort_noise:
            return
        if payload_type in self._event_types:
            self._take_key(leg, data, now)
            if not self.takes_events(other):
                return
        with suppress(OSError):  # nobody listens there just now
            self._sender(other)(data)

    def _take_key(self, leg: Leg, data: bytes, now: float) -> None:
        """A packet of a telephone event: tell of the keys that were let go."""
        try:
            packet = parse(data)
            event = read_event(packet.payload)
        except PeerFault:  # relayed like the rest; there is no key in it
            return
        self._tell(leg, leg.keys.receive(packet.timestamp, event, now), now)

    def _tell(self, leg: Leg, pressed: list[KeyPress], now: float) -> None:
        for key in pressed[: leg.keys_left]:
            leg.keys_left -= 1
            leg.keys_told += 1
            duration_ms, relayed = key.duration * 1000 // SAMPLE_RATE, self.takes_events(leg.side.other)
            self.on_key(Dtmf(self.call_id, leg.side, key.digit, duration_ms, relayed), now)

    def _latched(self, leg: Leg, source: Address, now: float) -> None:
        if leg.connected is not None:
            self._board.forget(leg.connected.fileno())
        if source != leg.latch.expected:
            # Behind NAT the RTCP address in the SDP is of no use either; the next port is the best guess (RFC 3550).
            leg.rtcp_target = (source[0], source[1] + 1)
        leg.target = source
        try:
            early = leg.connect(source)
        except OSError:  # out of descriptors: the open socket serves, at a higher price
            early = []
        self.wire()
        for data, sender in early:
            self._judge(leg, data, sender, now)

    def _receive_rtcp(self, leg: Leg, _now: float) -> None:
        """Reports pass from where the side's media or its SDP is, to where the other side's is."""
        try:
            data, address = leg.rtcp.recvfrom(DATAGRAM_OCTETS_MAX)
        except OSError:
            return
        source = (address[0], address[1])
        other = self.legs[leg.side.other]
        known = leg.rtcp_target is not None and source == leg.rtcp_target
        if not known and (leg.target is None or source[0] != leg.target[0]):
            leg.refused += 1
            return
        try:
            if leg.security is not None:
                data = leg.security.unprotect_rtcp(data)
            neutral = rtcp.neutralise(data)
            if other.security is not None:
                neutral = other.security.protect_rtcp(neutral)
        except PeerFault:
            leg.refused += 1
            return
        leg.rtcp_target = source
        if other.rtcp_target is not None:
            with suppress(OSError):
                other.rtcp.sendto(neutral, other.rtcp_target)


def _is_event(codec: sdp.Codec) -> bool:
    return codec.encoding == "TELEPHONE-EVENT" and codec.clock_rate == SAMPLE_RATE
