"""Memory and CPU of registered phones: REGISTERs through parser and registrar, then a refresh of each.

Prints one JSON object: `phones`, `rss_mb` (grown by them), `register_us`, `refresh_us` (CPU of each).
"""

from __future__ import annotations

import argparse
import json
import os
import time

from scripts.benchmarks.usage import resident_kb
from sip.core.hop import Hop
from sip.core.messages.message import Request
from sip.core.messages.parser import parse_message
from sip.core.registrar import Registrar, RegistrarSettings


def _register(index: int, cseq_number: int) -> tuple[Request, Hop]:
    host = f"10.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}"
    message = parse_message(
        f"REGISTER sip:axbridge SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{index}x{cseq_number};rport\r\n"
        f"From: <sip:phone{index}@axbridge>;tag=t{index}\r\nTo: <sip:phone{index}@axbridge>\r\n"
        f"Call-ID: call{index}@{host}\r\nCSeq: {cseq_number} REGISTER\r\nMax-Forwards: 70\r\n"
        f'Contact: <sip:phone{index}@{host}:5060;transport=udp>;+sip.instance="<urn:uuid:{index:032x}>"\r\n'
        f"Expires: 600\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert isinstance(message, Request)
    return message, Hop("udp", host, 5060)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench registrations", description=__doc__)
    parser.add_argument("--json", action="store_true", help="kept for scripts: the last line is JSON either way")
    parser.add_argument("--phones", type=int, default=100_000)
    phones = parser.parse_args().phones
    registrar = Registrar(RegistrarSettings(addresses_of_record_max=phones))
    before_kb = resident_kb(os.getpid())
    times = []
    for cseq_number in (1, 2):
        start = time.process_time()
        for index in range(phones):
            request, source = _register(index, cseq_number)
            registrar.register(f"phone{index}", request, source, float(cseq_number))
        times.append((time.process_time() - start) / phones * 1e6)
    assert len(registrar) == phones
    print(
        json.dumps(
            {
                "phones": phones,
                "rss_mb": round((resident_kb(os.getpid()) - before_kb) / 1024, 1),
                "register_us": round(times[0], 1),
                "refresh_us": round(times[1], 1),
            }
        )
    )


if __name__ == "__main__":
    main()
