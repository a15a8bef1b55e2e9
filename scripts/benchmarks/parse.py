"""Messages a second on one core: a typical INVITE parsed and built again from its fields.

CPU time, not wall time; the best of some runs beside their median, since other processes share the machine. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from statistics import median

from engine.main.engine import GARBAGE_COLLECTION_THRESHOLDS
from sip.core.messages.builder import request_octets
from sip.core.messages.message import Request
from sip.core.messages.parser import parse_message

BODY = (
    b"v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n"
    b"m=audio 54400 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
)
INVITE = (
    b"INVITE sip:01065500001@203.0.113.9:5060;user=phone SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK776asdhds;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b'From: "Alice" <sip:13800000000@203.0.113.1>;tag=1928301774\r\n'
    b"To: <sip:01065500001@203.0.113.9>\r\n"
    b"Call-ID: a84b4c76e66710@203.0.113.1\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Contact: <sip:13800000000@203.0.113.1:5060>\r\n"
    b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE\r\n"
    b"Supported: timer, 100rel\r\n"
    b"User-Agent: trunk\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: %d\r\n\r\n"
) % len(BODY) + BODY


def round_trip(data: bytes) -> bytes:
    """The message parsed, its From, To and Contact with it, and built again as the user agent builds requests."""
    message = parse_message(data)
    assert isinstance(message, Request)
    first = message.headers.first
    _ = message.uri, message.from_.uri, message.contact
    lines = (
        f"Contact: {first['contact']}\r\nAllow: {first['allow']}\r\nSupported: {first['supported']}\r\n"
        f"User-Agent: {first['user-agent']}\r\n"
    )
    return request_octets(
        message.method,
        message.uri_text,
        message.via.value,
        message.max_forwards,
        first["from"],
        first["to"],
        message.call_id,
        message.cseq_number,
        lines,
        first["content-type"],
        message.body,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench parse", description=__doc__)
    parser.add_argument("--json", action="store_true", help="kept for scripts: the output is JSON either way")
    parser.add_argument("--messages", type=int, default=40_000, help="of each run")
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    if round_trip(INVITE) != INVITE:
        raise SystemExit("the message that was built is not the one that was parsed")
    gc.freeze()
    gc.set_threshold(*GARBAGE_COLLECTION_THRESHOLDS)
    rates = []
    for _ in range(arguments.runs):
        started = time.process_time()
        for _ in range(arguments.messages):
            round_trip(INVITE)
        rates.append(arguments.messages / (time.process_time() - started))
    print(
        json.dumps(
            {
                "messages_per_second": round(max(rates)),
                "median_per_second": round(median(rates)),
                "octets": len(INVITE),
            }
        )
    )


if __name__ == "__main__":
    main()
