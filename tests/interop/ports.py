"""UDP ports as the kernel sees them."""

from __future__ import annotations

import os
from pathlib import Path


def udp_sockets() -> dict[str, int]:
    """Inode to local port of every UDP socket on the machine (proc(5), /proc/net/udp)."""
    found = {}
    for table in ("udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            found[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    return found


def sockets_of(process_id: int) -> list[int]:
    """The local ports of a process's UDP sockets."""
    sockets = udp_sockets()
    ports = []
    for descriptor in Path(f"/proc/{process_id}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:
            continue  # closed meanwhile
        inode = target.removeprefix("socket:[").removesuffix("]")
        if inode in sockets:
            ports.append(sockets[inode])
    return ports
