"""The calls' dealings with the media plane: commands out, and which call a reply belongs to."""

from __future__ import annotations

from engine.b2bua.active_call import ActiveCall
from engine.domain.events import Leg
from media import plane


class MediaDesk:
    """``commands`` are for the driver to take. Every command gets a reply or, from the plane's client, a refusal."""

    def __init__(self) -> None:
        self.commands: list[plane.Command] = []
        self._awaited: dict[int, tuple[ActiveCall, type[plane.Command]]] = {}
        self._cookie = 0

    def offer(self, active: ActiveCall, leg: Leg, sdp: bytes) -> None:
        self._send(plane.Offer(self._next_cookie(), active.call_id, plane.Side(leg), sdp), active)

    def answer(self, active: ActiveCall, leg: Leg, sdp: bytes) -> None:
        self._send(plane.Answer(self._next_cookie(), active.call_id, plane.Side(leg), sdp), active)

    def start_recording(self, active: ActiveCall, path: str, at: float) -> None:
        """``at`` is on CLOCK_MONOTONIC, as is ``delete``'s."""
        self._send(plane.StartRecording(self._next_cookie(), active.call_id, path, at), active)

    def play_warning(self, active: ActiveCall, leg: Leg, duration_ms: int) -> None:
        side = plane.Side(leg)
        self._send(plane.PlayMedia(self._next_cookie(), active.call_id, side, "warning", duration_ms), active)

    def delete(self, active: ActiveCall, at: float) -> None:
        self._send(plane.Delete(self._next_cookie(), active.call_id, at), active)

    def claim(self, reply: plane.Reply) -> tuple[ActiveCall, type[plane.Command]] | None:
        """The call that a reply is for and the command that it answers; None for a reply that nobody waits for."""
        return self._awaited.pop(reply.cookie, None)

    def _next_cookie(self) -> int:
        self._cookie += 1
        return self._cookie

    def _send(self, command: plane.Command, active: ActiveCall) -> None:
        self._awaited[command.cookie] = (active, type(command))
        self.commands.append(command)
