"""A SIP phone by hand, for what SIPp cannot do: crossing, broken and unusual messages."""

from __future__ import annotations

import re
import select
import socket
import time

from tests.interop.wire import Message


class SipPhone:
    """One socket towards the engine. Retransmits nothing; what comes is in ``received``."""

    def __init__(self, host: str, port: int, engine: tuple[str, int]) -> None:
        self.host, self.port, self.engine = host, port, engine
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        self.received: list[Message] = []
        self._host = f"[{host}]" if ":" in host else host
        self.contact = f"<sip:phone@{self._host}:{port}>"
        self._read = 0
        self._branch = 0
        self._local = self._remote = self._target = self._call_id = ""
        self._cseq = self._invite_cseq = 0
        self._last = b""

    def send(self, octets: bytes) -> None:
        self._last = octets
        self.socket.sendto(octets, self.engine)

    def request(
        self,
        method: str,
        uri: str,
        *,
        from_: str,
        to: str,
        call_id: str,
        cseq: int = 1,
        headers: tuple[str, ...] = (),
        body: str = "",
    ) -> None:
        """Sends a request that is well-formed but for what its arguments say."""
        self._branch += 1
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._host}:{self.port};branch=z9hG4bK-{call_id}-{self._branch};rport",
            f"From: {from_}",
            f"To: {to}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: {self.contact}",
            "Max-Forwards: 70",
            *headers,
            f"Content-Length: {len(body.encode())}",
        ]
        self.send(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    # Calling ------------------------------------------------------------------------------------------------------

    def call(self, own: str, dialled: str, rtp_port: int, *, cseq: int = 1, headers: tuple[str, ...] = ()) -> None:
        """Sends an INVITE with an offer of PCMA."""
        self.offer(own, dialled, self.description(rtp_port), cseq=cseq, headers=headers)

    def offer(self, own: str, dialled: str, description: str, *, cseq: int = 1, headers: tuple[str, ...] = ()) -> None:
        """Sends an INVITE with whatever description."""
        self._local = f"<sip:{own}@{self._host}>;tag=phone-{self.port}"
        self._remote = f"<sip:{dialled}@{self.engine[0]}>"
        self._target = f"sip:{dialled}@{self.engine[0]}:{self.engine[1]}"
        self._cseq = self._invite_cseq = cseq
        self._call_id = self._call_id or f"call-{self.port}"
        content = ("Content-Type: application/sdp", *headers)
        self._send_in_dialog("INVITE", cseq, content, description)

    def cancel(self) -> None:
        """CANCEL of the INVITE sent last: its own branch and number (RFC 3261 §9.1)."""
        self._branch -= 1
        self._send_in_dialog("CANCEL", self._cseq)

    def repeat(self) -> None:
        """The last datagram once more."""
        self.send(self._last)

    def acknowledge(self, response: Message, description: str = "") -> None:
        """ACK for a 2xx; from now on the dialog is the one that the response made."""
        self.take_dialog(response)
        content = ("Content-Type: application/sdp",) if description else ()
        self._send_in_dialog("ACK", self._invite_cseq, content, description)

    def take_dialog(self, response: Message) -> None:
        self._remote = response.header("To")
        contact = re.search(r"<([^>]+)>", response.header("Contact"))
        assert contact is not None
        self._target = contact[1]

    def acknowledge_failure(self, response: Message) -> None:
        """ACK for a 3xx to 6xx: of the INVITE's own transaction (RFC 3261 §17.1.1.3)."""
        lines = [
            f"ACK {self._target} SIP/2.0",
            f"Via: {response.header('Via')}",
            f"From: {response.header('From')}",
            f"To: {response.header('To')}",
            f"Call-ID: {response.header('Call-ID')}",
            f"CSeq: {self._cseq} ACK",
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    def offer_again(self, description: str, headers: tuple[str, ...] = ()) -> None:
        """re-INVITE: hold and the like."""
        self._cseq += 1
        self._invite_cseq = self._cseq
        self._send_in_dialog("INVITE", self._cseq, ("Content-Type: application/sdp", *headers), description)

    def bye(self, headers: tuple[str, ...] = ()) -> None:
        self._cseq += 1
        self._send_in_dialog("BYE", self._cseq, headers)

    def description(self, rtp_port: int, *lines_more: str) -> str:
        family = "IP6" if ":" in self.host else "IP4"
        lines = [
            "v=0", f"o=- 1 1 IN {family} {self.host}", "s=-", f"c=IN {family} {self.host}", "t=0 0",
            f"m=audio {rtp_port} RTP/AVP 8", "a=rtpmap:8 PCMA/8000", *lines_more,
        ]  # fmt: skip
        return "\r\n".join(lines) + "\r\n"

    def _send_in_dialog(self, method: str, cseq: int, headers: tuple[str, ...] = (), body: str = "") -> None:
        self.request(
            method, self._target, from_=self._local, to=self._remote, call_id=self._call_id, cseq=cseq,
            headers=headers, body=body,
        )  # fmt: skip

    # Being called -------------------------------------------------------------------------------------------------

    def accept(self, rtp_port: int) -> Message:
        """Waits for an INVITE and answers it at once."""
        invite = self.expect("INVITE")
        tagged = f"{invite.header('To')};tag=phone-{self.port}"
        self.respond(invite, "200 OK", to=tagged, body=self.description(rtp_port))
        contact = re.search(r"<([^>]+)>", invite.header("Contact"))
        assert contact is not None
        self._target, self._call_id, self._cseq = contact[1], invite.header("Call-ID"), 0
        self._local, self._remote = tagged, invite.header("From")
        return invite

    def respond(
        self, request: Message, line: str, *, to: str = "", headers: tuple[str, ...] = (), body: str = ""
    ) -> None:
        kind = ["Content-Type: application/sdp"] if body else []
        lines = [
            f"SIP/2.0 {line}",
            *(f"Via: {via}" for via in request.headers("Via")),
            f"From: {request.header('From')}",
            f"To: {to or request.header('To')}",
            f"Call-ID: {request.header('Call-ID')}",
            f"CSeq: {request.header('CSeq')}",
            f"Contact: {self.contact}",
            *kind,
            *headers,
            f"Content-Length: {len(body.encode())}",
        ]
        self.send(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def expect(self, method: str, seconds: float = 3.0) -> Message:
        """The first request of that method, come or still to come."""
        deadline = time.monotonic() + seconds
        while True:
            found = [each for each in self.received if each.start_line.startswith(method + " ")]
            if found:
                return found[0]
            assert time.monotonic() < deadline, f"no {method} within {seconds} s"
            self.take(deadline - time.monotonic())

    def serve_byes(self, seconds: float) -> int:
        """Answers each BYE that has come or comes so soon; how many calls' there were, not counting copies."""
        self.listen(seconds)
        byes = {each.header("Via"): each for each in self.received if each.start_line.startswith("BYE ")}
        for bye in byes.values():
            self.respond(bye, "200 OK")
        return len(byes)

    # Whatever comes -----------------------------------------------------------------------------------------------

    def answer(self, seconds: float = 3.0, *, least: int = 101) -> Message:
        """The next response that is not read yet and has at least that status. AssertionError if none comes."""
        deadline = time.monotonic() + seconds
        while True:
            while self._read < len(self.received):
                self._read += 1
                if self.received[self._read - 1].status >= least:
                    return self.received[self._read - 1]
            left = deadline - time.monotonic()
            assert left > 0, f"no answer within {seconds} s; got {[each.start_line for each in self.received]}"
            self.take(left)

    def take(self, seconds: float) -> None:
        """Waits so long for one datagram, and keeps it."""
        ready, _, _ = select.select([self.socket], [], [], max(0.0, seconds))
        if ready:
            self.received.append(Message(self.socket.recv(65_536), received=True))

    def listen(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.take(left)

    def close(self) -> None:
        self.socket.close()
