from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

from scripts.benchmarks.installation import free_udp_port
from tests.chaos.voices import Voices
from tests.chaos.world import CALLER_HOST, ENGINE_HOST


def test_a_port_that_is_given_again_has_the_voice_of_the_call_that_has_it_now(tmp_path: Path) -> None:
    """In a long run such calls were silent on one side, and recordings that said so were taken for wrong."""
    own_port = free_udp_port(CALLER_HOST)
    voices = Voices(tmp_path)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as engine:
        engine.bind((ENGINE_HOST, 0))
        engine.settimeout(2.0)
        theirs = str(engine.getsockname()[1])
        for call_id in ("never hushed", "later"):
            voices._obey(["talk", call_id, "caller", str(own_port), theirs], 0.0)
        first, second = voices._by_call.values()
        assert first.ended
        second.say()
        assert len(engine.recv(2048)) == 172
        second.hush()
