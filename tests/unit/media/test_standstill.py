"""A machine that stands still between two things that a worker does must not make the second older than it is."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable

from media.embedded.relay import Relay
from tests.unit.media.phones import rtp


def test_a_command_is_never_carried_out_before_it_came() -> None:
    """The machine stood still between two things that a worker had found to do. A call's end, which the engine had
    told meanwhile, was then more than a second in its future, was not believed, and a second was cut off."""
    here = [0.0]
    relay = Relay(lambda: here[0], descriptors_max=1024)
    pipes = [os.pipe() for _ in range(2)]
    times: list[float] = []

    def handled(now: float) -> None:
        times.append(now)
        here[0] += 1.2
        relay.stopping = True

    for read, write in pipes:
        relay.watch(read, handled)
        os.write(write, b"x")
    try:
        relay.run()
    finally:
        gc.enable()
        gc.unfreeze()
    assert times == [0.0, 1.2]
    for end in (end for pipe in pipes for end in pipe):
        os.close(end)


def test_packets_that_waited_are_never_said_to_have_come_before_they_did() -> None:
    """A worker that stood still a second time, while it took what had waited since the first, gave what came then the
    time of before. The sender's clock seemed to have jumped ahead, was set by that, and back a second later."""
    here = [0.0]

    def clock() -> float:
        return here[0]

    relay = Relay(clock, descriptors_max=1024)
    came: list[float] = []
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) for _ in range(2)]

    def receiver(own: socket.socket, other: socket.socket) -> Callable[[int], bytes]:
        def receive(octets: int) -> bytes:
            data = own.recv(octets)
            if here[0] < 9.0:  # it stands still here; meanwhile a packet comes for the other side
                here[0] = 9.0
                other.send(rtp(2))
            return data

        return receive

    for index, (_, own) in enumerate(pairs):
        receive = receiver(own, pairs[1 - index][0])
        relay.connect_through(own.fileno(), (receive, 1500, lambda data: None, lambda data: None, came.append, None))  # type: ignore[arg-type]  # no side is odd here
        pairs[index][0].send(rtp(1))
    here[0] = 1.0
    relay._catch_up()
    assert sorted(came) == [9.0, 9.0, 9.0]
    for pair in pairs:
        for each in pair:
            each.close()
