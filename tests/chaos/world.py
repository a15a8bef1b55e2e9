"""Who calls whom: tenants, trunks whose phones answer, hang up, are busy or only ring, and pairs of numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

CALLER_HOST, CALLEE_HOST, ENGINE_HOST = "127.0.0.2", "127.0.0.3", "127.0.0.1"
RICH_TENANTS = ("rich-0", "rich-1", "rich-2")
POOR_TENANT = "poor"
CROWD_TENANT = "crowd"
"""Its calls come at once, in the round that asks for many."""
TENANTS = (*RICH_TENANTS, POOR_TENANT, CROWD_TENANT)
OPENING_YUAN = {**dict.fromkeys(TENANTS, 100_000), POOR_TENANT: 20}
PER_MINUTE_YUAN = 6
PER_SECOND_MICRO = PER_MINUTE_YUAN * 1_000_000 // 60
RTP_PORT_MIN = 10_000
PAIRS_PER_X = 60
CROWD_X_NUMBERS = 5


class Phone(StrEnum):
    """What the called phones of a trunk do."""

    ANSWERS = "answers"
    HANGS_UP = "hangs_up"
    BUSY = "busy"
    RINGS = "rings"


X_NUMBERS_OF_RICH = (Phone.ANSWERS, Phone.ANSWERS, Phone.ANSWERS, Phone.HANGS_UP, Phone.BUSY, Phone.RINGS)
"""The trunks of a tenant's X numbers, each with as many pairs."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A ↔ X ↔ B, numbers as they are dialled."""

    a: str
    x: str
    b: str
    tenant: str
    phone: Phone


def make_pairs() -> list[Pair]:
    kinds = [(tenant, phone) for tenant in RICH_TENANTS for phone in X_NUMBERS_OF_RICH]
    kinds += [(POOR_TENANT, Phone.ANSWERS)] + [(CROWD_TENANT, Phone.ANSWERS)] * CROWD_X_NUMBERS
    return [
        Pair(str(13_800_000_000 + number), f"010655{x_index:05d}", str(13_900_000_000 + number), tenant, phone)
        for x_index, (tenant, phone) in enumerate(kinds)
        for number in range(x_index * PAIRS_PER_X, (x_index + 1) * PAIRS_PER_X)
    ]


def provisioning(pairs: list[Pair], ports: dict[Phone, int]) -> str:
    """The file for ``axbridge load``. ``ports`` are where the phones of each trunk are."""
    entries = ['[[carriers]]\ncode = "chaos"\nname = "Chaos"']
    for tenant in TENANTS:
        entries.append(f'[[tenants]]\ncode = "{tenant}"\nname = "{tenant}"')
        entries.append(f'[[accounts]]\ntenant = "{tenant}"\nopening_balance = "{OPENING_YUAN[tenant]}"')
    entries.append(
        f'[[rates]]\ncode = "chaos"\nname = "Chaos"\nper_minute = "{PER_MINUTE_YUAN}"\nfirst_increment_seconds = 1\n'
        "next_increment_seconds = 1"
    )
    for phone, port in ports.items():
        # Callers come from one address and need not be told apart: whichever trunk it is, the numbers are the same.
        sources = [f"{CALLEE_HOST}:{port}"] + ([CALLER_HOST] if phone is Phone.ANSWERS else [])
        entries.append(
            f'[[trunks]]\ncode = "{phone}"\ncarrier = "chaos"\nname = "{phone}"\nhost = "{CALLEE_HOST}"\n'
            f'port = {port}\nsource_addresses = {sources}\nnumber_format = "national"\ncalls_max = 10000'.replace(
                "'", '"'
            )
        )
        entries.append(
            f'[[lines]]\ncode = "{phone}"\ncarrier = "chaos"\ntrunk = "{phone}"\nrate = "chaos"\nname = "{phone}"'
        )
    for x, (tenant, phone) in {pair.x: (pair.tenant, pair.phone) for pair in pairs}.items():
        entries.append(f'[[x_numbers]]\nnumber = "{x}"\nline = "{phone}"\ntenant = "{tenant}"')
    entries += [
        f'[[bindings]]\ntenant = "{pair.tenant}"\nx_number = "{pair.x}"\na_number = "{pair.a}"\nb_number = "{pair.b}"'
        for pair in pairs
    ]
    return "\n\n".join(entries)


def caller_lines(pairs: list[Pair], chance: random.Random, talk_seconds: tuple[float, float], first_port: int) -> str:
    """SIPp's injection file: who calls; whom; the RTP port; the talk's milliseconds. Either end of a pair calls."""
    shuffled = chance.sample(pairs, len(pairs))
    lines = ["SEQUENTIAL"]
    for turn in range(2):  # so that the other end calls the next time
        for index, pair in enumerate(shuffled):
            caller = pair.a if (index + turn) % 2 else pair.b
            talk_ms = round(chance.uniform(*talk_seconds) * 1000)
            port = first_port + 2 * (turn * len(pairs) + index)
            lines.append(f"{caller};{pair.x};{port};{talk_ms};")
    return "\n".join(lines) + "\n"


def callee_lines(first_port: int, count: int, chance: random.Random, talk_seconds: tuple[float, float]) -> str:
    """The called phones' file: the RTP port; milliseconds of ringing; of talk, where the callee hangs up."""
    lines = ["SEQUENTIAL"]
    for index in range(count):
        ring_ms, talk_ms = chance.randint(100, 1500), round(chance.uniform(*talk_seconds) * 1000)
        lines.append(f"{first_port + 2 * index};{ring_ms};{talk_ms};")
    return "\n".join(lines) + "\n"
