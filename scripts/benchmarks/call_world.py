"""Whom the benchmarks' calls are made by and to: one tenant, one line, ten X numbers, 500 bindings."""

from __future__ import annotations

CALLER_HOST, ENGINE_HOST, CALLEE_HOST = "127.0.0.2", "127.0.0.1", "127.0.0.3"
PAIRS = 500
"""Bindings that the calls go round on; each has its own A and B on one of ten X numbers."""
X_NUMBERS = 10


def world(
    callee_port: int,
    *,
    balance: str = "1000000",
    rate: str = "0.12",
    by_second: bool = False,
    transport: str = "udp",
) -> str:
    """The provisioning file of the benchmark: one tenant, one line, ten X numbers, 500 bindings. ``rate`` a minute."""
    increments = "\nfirst_increment_seconds = 1\nnext_increment_seconds = 1" if by_second else ""
    lines = [
        '[[tenants]]\ncode = "bench"\nname = "Bench"',
        f'[[accounts]]\ntenant = "bench"\nopening_balance = "{balance}"',
        '[[carriers]]\ncode = "bench"\nname = "Bench"',
        f'[[trunks]]\ncarrier = "bench"\ncode = "bench"\nname = "Bench"\nhost = "{CALLEE_HOST}"\nport = {callee_port}\n'
        f'source_addresses = ["{CALLER_HOST}", "{CALLEE_HOST}"]\nnumber_format = "national"\ncalls_max = 100000'
        + (f'\ntransport = "{transport}"' if transport != "udp" else ""),
        f'[[rates]]\ncode = "bench"\nname = "Bench"\nper_minute = "{rate}"{increments}',
        '[[lines]]\ncarrier = "bench"\ntrunk = "bench"\nrate = "bench"\ncode = "bench"\nname = "Bench"',
    ]
    lines += [
        f'[[x_numbers]]\nnumber = "{x_number(index)}"\nline = "bench"\ntenant = "bench"' for index in range(X_NUMBERS)
    ]
    lines += [
        f'[[bindings]]\ntenant = "bench"\nx_number = "{x_number(index % X_NUMBERS)}"\n'
        f'a_number = "{a_number(index)}"\nb_number = "{13_900_000_000 + index}"'
        for index in range(PAIRS)
    ]
    return "\n\n".join(lines)


def a_number(index: int) -> str:
    return str(13_800_000_000 + index)


def x_number(index: int) -> str:
    return f"010655{index:05d}"


def pairs() -> str:
    """SIPp's file of who calls which X number, in turn."""
    return "SEQUENTIAL\n" + "".join(f"{a_number(index)};{x_number(index % X_NUMBERS)};\n" for index in range(PAIRS))
