"""pyVoIP as a softphone, to be run as a process of its own: it is GPL software, and leaves threads behind.

Arguments: server, its port, own host, own port, first and last RTP port, user name. The password is the first line of
standard input; then "call NUMBER", "hang up" or "end", a line each. Standard output: a JSON object a line.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

FRAME = bytes(128 + (64 if index % 8 < 4 else -64) for index in range(160))
"""20 ms of 1000 Hz, near enough to a tone: pyVoIP's samples have 8 bits, without sign, 8000 a second."""


def tell(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    # This one first: its modules import each other in a circle.
    from pyVoIP.VoIP import CallState, VoIPCall, VoIPPhone  # isort: skip
    from pyVoIP.RTP import PayloadType, TransmitType
    from pyVoIP.SIP import SIPMessage

    server, port, own_host, own_port, rtp_low, rtp_high, username = sys.argv[1:]
    parse = SIPMessage.parse

    def parse_and_tell(message: Any, data: bytes) -> None:
        tell(message=data.decode())
        parse(message, data)

    SIPMessage.parse = parse_and_tell
    current: list[Any] = []

    def rung(call: Any) -> None:
        current.append(call)
        call.answer()

    phone = VoIPPhone(
        server, int(port), username, sys.stdin.readline().strip(), myIP=own_host, callCallback=rung,
        sipPort=int(own_port), rtpPortLow=int(rtp_low), rtpPortHigh=int(rtp_high),
    )  # fmt: skip

    def dial(number: str) -> None:
        """As VoIPPhone.call, which offers PCMU alone."""
        media = {phone.request_port(): {8: PayloadType.PCMA, 101: PayloadType.EVENT}}
        request, call_id, session_id = phone.sip.invite(number, media, TransmitType.SENDRECV)
        call = VoIPCall(phone, CallState.DIALING, request, session_id, own_host, ms=media, sendmode="sendrecv")
        phone.calls[call_id] = call
        current.append(call)

    def watch() -> None:
        state, heard, next_at = None, 0, 0.0
        while True:
            time.sleep(0.01)
            if not current:
                continue
            call = current[-1]
            if call.state is not state:
                state = call.state
                tell(state=state.value)
            if state is CallState.ANSWERED and time.monotonic() >= next_at:
                next_at = time.monotonic() + 0.02
                call.write_audio(FRAME)
                if call.RTPClients and any(sample != 128 for sample in call.read_audio(160, False)):
                    heard += 1
                    tell(heard=heard)

    phone.start()
    time.sleep(1.1)  # its thread that receives begins a second later
    tell(status=str(phone.get_status().value))
    threading.Thread(target=watch, daemon=True).start()
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "call":
            dial(argument)
        elif command == "hang":
            current[-1].hangup()
        elif command == "end":
            break
    phone.stop()
    tell(status=str(phone.get_status().value))


if __name__ == "__main__":
    main()
