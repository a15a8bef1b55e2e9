from __future__ import annotations

from pathlib import Path

from scripts.benchmarks.installation import free_udp_port


def test_a_free_port_is_none_that_another_socket_may_be_given_before_it_is_bound() -> None:
    """One run in a hundred or so a SIPp found its port taken by a socket that had asked for any."""
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())

    ports = {free_udp_port("127.0.0.1") for _ in range(200)}

    assert not [port for port in ports if lowest <= port <= highest]
    assert len(ports) > 100, "two who ask at once would get the same"
