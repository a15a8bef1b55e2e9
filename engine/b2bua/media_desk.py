"""The calls' dealings with the media plane: commands out, and which call a reply belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from engine.b2bua.active_call import ActiveCall
from engine.domain.events import Leg
from media import plane


@dataclass(frozen=True, slots=True)
class MediaNeeds:
    """What one side of a call asks of the media plane, known from where its signalling goes."""

    families: tuple[int, ...] = ()
    """IP versions at which it may be, the likeliest first; empty where nothing is known."""
    srtp: plane.Srtp = plane.Srtp.OFF


NOTHING_KNOWN = MediaNeeds()
_SIDES = {leg: plane.Side(leg) for leg in Leg}


def media_needs(hosts: Iterable[str], srtp: str = "off") -> MediaNeeds:
    """``hosts`` are where a side's signalling goes; ``srtp`` is its trunk's setting, of which an unknown word means
    the strictest: rather no call than speech in the clear."""
    return _needs(tuple(dict.fromkeys([family_at(host) for host in hosts])), srtp)


@lru_cache(maxsize=64)
def _needs(families: tuple[int, ...], srtp: str) -> MediaNeeds:
    known = srtp in plane.Srtp.__members__.values()
    return MediaNeeds(families, plane.Srtp(srtp) if known else plane.Srtp.REQUIRED)


def family_at(host: str) -> int:
    """The IP version of a numeric host."""
    return 6 if ":" in host else 4


class MediaDesk:
    """``commands`` are for the driver to take. Every command gets a reply or, from the plane's client, a refusal."""

    def __init__(self) -> None:
        self.commands: list[plane.Command] = []
        self._awaited: dict[int, tuple[ActiveCall, type[plane.Command]]] = {}
        self._cookie = 0

    def offer(self, active: ActiveCall, leg: Leg, sdp: bytes) -> None:
        """Puts a side's offer to the plane, which writes it for the other side as that needs it."""
        other = active.media_needs.get(leg.other, NOTHING_KNOWN)
        required = active.media_needs.get(leg, NOTHING_KNOWN).srtp is plane.Srtp.REQUIRED
        call_id, side = active.media_side(leg)
        self._send(
            plane.Offer(self._next_cookie(), call_id, _SIDES[side], sdp, other.families, other.srtp, required),
            active,
        )

    def answer(self, active: ActiveCall, leg: Leg, sdp: bytes) -> None:
        call_id, side = active.media_side(leg)
        self._send(plane.Answer(self._next_cookie(), call_id, _SIDES[side], sdp), active)

    def start_recording(self, active: ActiveCall, path: str, at: float) -> None:
        """``at`` is on CLOCK_MONOTONIC, as is ``delete``'s."""
        self._send(plane.StartRecording(self._next_cookie(), active.call_id, path, at), active)

    def play_warning(self, active: ActiveCall, leg: Leg, duration_ms: int) -> None:
        call_id, side = active.media_side(leg)
        self._send(plane.PlayMedia(self._next_cookie(), call_id, _SIDES[side], "warning", duration_ms), active)

    def play_ringback(self, active: ActiveCall, leg: Leg) -> None:
        """Until ``stop_tone``, or the plane's own limit."""
        call_id, side = active.media_side(leg)
        command = plane.PlayMedia(self._next_cookie(), call_id, _SIDES[side], "ringback", plane.RINGBACK_MS_MAX)
        self._send(command, active)

    def stop_tone(self, active: ActiveCall, leg: Leg) -> None:
        call_id, side = active.media_side(leg)
        self._send(plane.StopMedia(self._next_cookie(), call_id, _SIDES[side]), active)

    def play_key(self, active: ActiveCall, leg: Leg, key: str, duration_ms: int) -> None:
        """Towards ``leg``, by telephone events."""
        call_id, side = active.media_side(leg)
        self._send(plane.PlayDtmf(self._next_cookie(), call_id, _SIDES[side], key, duration_ms), active)

    def delete(self, active: ActiveCall, at: float) -> None:
        self._send(plane.Delete(self._next_cookie(), active.call_id, at), active)

    def claim(self, reply: plane.Reply) -> tuple[ActiveCall, type[plane.Command]] | None:
        """The call that a reply is for and the command that it answers; None for a reply that nobody waits for."""
        awaited = self._awaited.pop(reply.cookie, None)
        if awaited is not None and isinstance(reply, plane.Accepted) and reply.sdp_by_family:
            awaited[0].offers = reply.sdp_by_family
        return awaited

    def _next_cookie(self) -> int:
        self._cookie += 1
        return self._cookie

    def _send(self, command: plane.Command, active: ActiveCall) -> None:
        self._awaited[command.cookie] = (active, type(command))
        self.commands.append(command)
