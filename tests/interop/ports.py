"""UDP and TCP ports as the kernel sees them."""

from __future__ import annotations

import os
from pathlib import Path


def sockets(kind: str) -> dict[str, int]:
    """Inode to local port of every socket of that ``kind`` on the machine (proc(5), /proc/net/udp, /proc/net/tcp)."""
    found = {}
    for table in (kind, f"{kind}6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            found[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    return found


def sockets_of(process_id: int, kind: str = "udp") -> list[int]:
    """The local ports of a process's sockets, "udp" or "tcp"."""
    known = sockets(kind)
    ports = []
    for descriptor in Path(f"/proc/{process_id}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:
            continue  # closed meanwhile
        inode = target.removeprefix("socket:[").removesuffix("]")
        if inode in known:
            ports.append(known[inode])
    return ports
