"""The calls of a worker, and what commands do to them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from media import sdp
from media.embedded.call import RelayedCall
from media.embedded.key_player import KeyPlayer
from media.embedded.leg import Leg, open_leg
from media.embedded.negotiation import Negotiation, WrongState, family_of
from media.embedded.port_pool import PortPool, PortPoolExhausted
from media.embedded.recorder import Recorder
from media.embedded.recording_writer import RecordingWriter
from media.embedded.relay import Relay
from media.embedded.settings import WorkerSettings
from media.embedded.tone_player import TonePlayer
from media.errors import Insecure, NoCommonCodec, PeerFault
from media.plane import (
    Accepted,
    Answer,
    Command,
    Delete,
    Event,
    ListCalls,
    MediaTimedOut,
    Offer,
    PlayDtmf,
    PlayMedia,
    Query,
    Refusal,
    Refused,
    Reply,
    Side,
    StartRecording,
    StopMedia,
)
from media.rtp.dtmf import DIGITS
from media.rtp.srtp import KEY_OCTETS

log = logging.getLogger("media.calls")

CALL_ID_LENGTH_MAX: Final = 256
COMMAND_DELAY_SECONDS_MAX: Final = 60.0
"""A recording that is said to have begun longer ago, or later, begins now: a wrong clock must not make a huge file."""
AHEAD_SECONDS_MAX: Final = 1.0
"""A recording may be said to end so long after the present."""


class UnknownCall(Exception):
    """A command for a call that the worker does not hold."""


class Desk:
    """Executes commands on the calls it holds. Times are monotonic seconds."""

    def __init__(
        self,
        settings: WorkerSettings,
        relay: Relay,
        writer: RecordingWriter,
        *,
        emit: Callable[[Event, float], None],
        engine_connected: Callable[[], bool],
        random_bits: Callable[[int], int],
    ) -> None:
        self.calls: dict[str, RelayedCall] = {}
        self._settings = settings
        self._relay = relay
        self._writer = writer
        self._emit = emit
        self._engine_connected = engine_connected
        self._random_bits = random_bits
        self._pool = PortPool(settings.port_min, settings.port_max, settings.quarantine_seconds)
        self._players: dict[tuple[str, Side], TonePlayer] = {}
        self._keys: dict[tuple[str, Side], KeyPlayer] = {}
        relay.on_flushed(self._watch_over)

    def execute(self, command: Command, now: float) -> Reply:
        """Carry a command out. Never raises for what a peer or the engine sent: the reply says it."""
        try:
            return self._execute(command, now)
        except NoCommonCodec as error:
            return Refused(command.cookie, Refusal.NO_COMMON_CODEC, str(error))
        except Insecure as error:
            return Refused(command.cookie, Refusal.INSECURE, str(error))
        except PeerFault as error:
            return Refused(command.cookie, Refusal.BAD_SDP, str(error))
        except WrongState as error:
            return Refused(command.cookie, Refusal.WRONG_STATE, str(error))
        except UnknownCall:
            return Refused(command.cookie, Refusal.UNKNOWN_CALL, "no such call on this worker")
        except PortPoolExhausted:
            return Refused(command.cookie, Refusal.CAPACITY, "no port is free")

    def end_all(self, now: float) -> None:
        """End every call; recordings are closed as they stand."""
        for call_id in list(self.calls):
            self._end(call_id, now, now)

    def _execute(self, command: Command, now: float) -> Reply:
        match command:
            case Offer():
                return self._offer(command, now)
            case Answer():
                return self._answer(command, now)
            case StartRecording():
                return self._start_recording(command, now)
            case PlayMedia():
                return self._play(command, now)
            case StopMedia():
                return self._stop(command)
            case PlayDtmf():
                return self._press(command, now)
            case Delete():
                return self._end(command.call_id, command.at, now, command.cookie)
            case Query():
                call = self._call(command.call_id)
                call.flush(now)
                return _statistics(command.cookie, call)
            case ListCalls():
                return Accepted(command.cookie, call_ids=list(self.calls))

    def _call(self, call_id: str) -> RelayedCall:
        """Raises UnknownCall."""
        call = self.calls.get(call_id)
        if call is None:
            raise UnknownCall
        return call

    def _offer(self, command: Offer, now: float) -> Reply:
        call = self.calls.get(command.call_id)
        description = sdp.parse(command.sdp)
        if call is not None:
            return _offered(call, command, description)
        if len(command.call_id) > CALL_ID_LENGTH_MAX:
            return Refused(command.cookie, Refusal.WRONG_STATE, "call_id longer than CALL_ID_LENGTH_MAX")
        if len(self.calls) >= self._settings.calls_max:
            return Refused(command.cookie, Refusal.CAPACITY, "calls_max reached")
        family, served = family_of(description), self._settings.addresses
        if family not in served:
            return Refused(command.cookie, Refusal.BAD_SDP, "an address family that the worker does not serve")
        # Where the other side's family is not served, its signalling may still say too little: it may know ours.
        families = [each for each in dict.fromkeys(command.families) if each in served] or [family]
        call = self._new_call(command, family, families, now)
        try:
            reply = _offered(call, command, description)
        except PeerFault:
            self._pool.give_back(call.close(), now)
            raise
        call.on_key = self._emit
        self.calls[command.call_id] = call
        self._relay.flush_each_second(call, now)
        return reply

    def _new_call(self, command: Offer, family: int, families: list[int], now: float) -> RelayedCall:
        """A call with its ports: one for the side that offers, for the other one in each of ``families``.

        Raises PortPoolExhausted.
        """
        wanted = [(command.side, family), *((command.side.other, each) for each in families)]
        legs: list[Leg] = []
        try:
            for side, each in wanted:
                bound, advertised = self._settings.addresses[each]
                legs.append(open_leg(side, bound, advertised, self._pool, now))
            by_side = {leg.side: leg for leg in reversed(legs)}
            return RelayedCall(
                command.call_id,
                by_side[Side.CALLER],
                by_side[Side.CALLEE],
                negotiation=Negotiation(
                    {side: self._random_bits(62) for side in Side},
                    lambda: self._random_bits(8 * KEY_OCTETS).to_bytes(KEY_OCTETS, "big"),
                ),
                board=self._relay,
                now=now,
                spare=legs[2] if len(legs) > 2 else None,
            )
        except (OSError, PortPoolExhausted) as error:
            for leg in legs:
                leg.close()
            self._pool.give_back([leg.port for leg in legs], now)
            raise PortPoolExhausted from error

    def _answer(self, command: Answer, now: float) -> Reply:
        call = self._call(command.call_id)
        body = call.answer(command.side, command.sdp, now)
        self._pool.give_back(call.take_surplus(), now)
        return Accepted(command.cookie, sdp=body)

    def _start_recording(self, command: StartRecording, now: float) -> Reply:
        call = self._call(command.call_id)
        if call.recorder is not None:
            raise WrongState("the call is being recorded")
        try:
            at = command.at if abs(now - command.at) <= COMMAND_DELAY_SECONDS_MAX else now
            call.recorder = Recorder(command.call_id, command.path, at, self._writer)
        except OSError as error:
            log.error("recording: cannot be opened: %s", error.strerror)
            return Refused(command.cookie, Refusal.STORAGE, f"the file cannot be opened: {error.strerror}")
        return Accepted(command.cookie)

    def _play(self, command: PlayMedia, now: float) -> Reply:
        call = self._call(command.call_id)
        codec = call.g711_towards(command.side)
        if not call.answered:
            raise WrongState("the call is not answered")
        if codec is None:
            raise NoCommonCodec("the side takes no G.711")
        key = (command.call_id, command.side)
        running = self._players.get(key)
        if running is not None:
            running.stop()
        self._players[key] = TonePlayer(
            call,
            command.side,
            codec,
            is_ringback=command.tone == "ringback",
            duration_ms=command.duration_ms,
            ssrc=self._random_bits(32),
            schedule=self._relay.at,
            now=now,
        )
        return Accepted(command.cookie)

    def _stop(self, command: StopMedia) -> Reply:
        self._call(command.call_id)
        player = self._players.pop((command.call_id, command.side), None)
        if player is not None:
            player.stop()
        return Accepted(command.cookie)

    def _press(self, command: PlayDtmf, now: float) -> Reply:
        call = self._call(command.call_id)
        payload_type = call.events_towards(command.side)
        if not call.answered:
            raise WrongState("the call is not answered")
        if len(command.digit) != 1 or command.digit not in DIGITS:
            raise WrongState("no key")
        if payload_type is None:
            raise NoCommonCodec("the side takes no telephone events")
        key = (command.call_id, command.side)
        player = self._keys.get(key)
        if player is None:
            ssrc = self._random_bits(32)
            player = self._keys[key] = KeyPlayer(call, command.side, ssrc=ssrc, schedule=self._relay.at)
        if not player.press(command.digit, payload_type, command.duration_ms, now):
            return Refused(command.cookie, Refusal.CAPACITY, "too many keys wait")
        return Accepted(command.cookie)

    def engine_came(self, now: float) -> None:
        """Another engine knows nothing of what was ringing for the one before."""
        for key, player in list(self._players.items()):
            if player.is_ringback:
                player.stop()
                del self._players[key]

    def _end(self, call_id: str, at: float, now: float, cookie: int = 0) -> Reply:
        call = self._call(call_id)
        del self.calls[call_id]
        for side in Side:
            self._keys.pop((call_id, side), None)
            player = self._players.pop((call_id, side), None)
            if player is not None:
                player.stop()
        # Neither a time far off nor a NaN: the length of a file depends on it.
        call.finish_recording(now, at if at <= now + AHEAD_SECONDS_MAX else now)
        call.flush(now)
        reply = _statistics(cookie, call)
        self._pool.give_back(call.close(), now)
        return reply

    def _watch_over(self, call: RelayedCall, now: float) -> None:
        """After each flush: has media stopped, and is anybody there to end the call?"""
        silent = now - call.last_media
        if not call.answered:
            if silent > self._settings.orphan_seconds and not self._engine_connected():
                self._end(call.call_id, now, now)
            return
        if silent < self._settings.rtp_timeout_seconds or call.on_hold:
            return
        if not call.timed_out:
            call.timed_out = True
            self._emit(MediaTimedOut(call.call_id, round(silent, 3)), now)
        if silent > self._settings.orphan_seconds and not self._engine_connected():
            log.warning("a call without media and without an engine is ended")
            self._end(call.call_id, now, now)


def _offered(call: RelayedCall, command: Offer, description: sdp.Description) -> Accepted:
    """Raises PeerFault."""
    bodies = call.offer(command.side, description, srtp=command.srtp, srtp_required=command.srtp_required)
    return Accepted(
        command.cookie, sdp=next(iter(bodies.values())), sdp_by_family=bodies if len(command.families) > 1 else {}
    )


def _statistics(cookie: int, call: RelayedCall) -> Accepted:
    return Accepted(cookie, caller=call.statistics(Side.CALLER), callee=call.statistics(Side.CALLEE))
