"""The provisioning file: TOML, as ``conf/README.md`` describes it, read into typed entries that know their place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import msgspec

from engine.domain.lines.number import InvalidNumber, normalise
from engine.domain.money.charging import MICRO_PER_YUAN
from engine.services.provisioning.entries import SECTIONS, Entry

FILE_OCTETS_MAX = 64 * 1024 * 1024
"""Several hundred thousand entries; more belongs into several files."""
PROBLEMS_TOLD_MAX = 50
"""Problems that one error names; who has more has made one mistake many times."""

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Problem:
    """``path`` is the key's, as ``agents[2].phone``, counted from 0. The reason repeats no number and no password."""

    path: str
    reason: str


class ProvisioningError(Exception):
    """The file cannot be applied, and nothing of it was. ``str()`` has a line ``file: key: reason`` a problem."""

    def __init__(self, file: Path, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        lines = [f"{file}: {problem.path}: {problem.reason}" for problem in problems[:PROBLEMS_TOLD_MAX]]
        if len(problems) > PROBLEMS_TOLD_MAX:
            lines.append(f"{file}: and {len(problems) - PROBLEMS_TOLD_MAX} problems more")
        super().__init__("\n".join(lines))


def read_provisioning_file(path: Path) -> dict[str, list[tuple[str, Entry]]]:
    """Each section's entries with their key paths (``agents[2]``). Raises ProvisioningError with all that is wrong."""
    try:
        with path.open("rb") as file:
            octets = file.read(FILE_OCTETS_MAX + 1)
    except OSError as error:
        raise ProvisioningError(path, [Problem("(file)", f"cannot be read: {error.strerror}")]) from error
    if len(octets) > FILE_OCTETS_MAX:
        raise ProvisioningError(path, [Problem("(file)", f"is longer than {FILE_OCTETS_MAX} octets")])
    try:
        tree = tomllib.loads(octets.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProvisioningError(path, [Problem("(file)", f"is not TOML: {error}")]) from error
    problems: list[Problem] = []
    for section in tree.keys() - SECTIONS.keys():
        problems.append(Problem(section, f"is none of {', '.join(SECTIONS)}"))
    sections = {section: _read_section(section, tree.get(section, []), problems) for section in SECTIONS}
    if problems:
        raise ProvisioningError(path, problems)
    return sections


def _read_section(section: str, tree: Any, problems: list[Problem]) -> list[tuple[str, Entry]]:
    if not isinstance(tree, list):
        problems.append(Problem(section, f"is a list of tables: write [[{section}]]"))
        return []
    entries = []
    for index, item in enumerate(tree):
        place = f"{section}[{index}]"
        try:
            entries.append((place, msgspec.convert(item, SECTIONS[section])))
        except msgspec.ValidationError as error:
            reason, _, below = str(error).partition(" - at `$")
            problems.append(Problem(place + below.rstrip("`"), _without_quotes(reason)))
    return entries


def _without_quotes(reason: str) -> str:
    return reason.replace("`", "'")


_YUAN = re.compile(r"(-?)([0-9]{1,9})(?:\.([0-9]{1,6}))?")


def micro_from_yuan(text: str) -> int:
    """Micro-units from a decimal string such as "0.12", exactly. Raises ValueError.

    Never from a float: 0.1 + 0.2 is no sum of money.
    """
    match = _YUAN.fullmatch(text)
    if match is None or not text.isascii():
        raise ValueError('is no amount in yuan such as "0.12", with up to 6 decimals')
    sign, whole, part = match.groups()
    micro = int(whole) * MICRO_PER_YUAN + int((part or "").ljust(6, "0"))
    return -micro if sign else micro


def checked_number(text: str) -> str:
    """A number in its canonical form. Raises ValueError, without the number."""
    try:
        return normalise(text)
    except InvalidNumber as error:
        raise ValueError(f"is no phone number: {error}") from error


def checked_gateway_host(text: str) -> str:
    """An IP address in its canonical form, or a DNS name in lower case (RFC 1123 §2.1). Raises ValueError."""
    try:
        return str(ip_address(text))
    except ValueError:
        name = text.rstrip(".").lower()
    labels = name.split(".")
    # All digits in the last label would be a mistyped address and no name.
    if len(name) > 253 or labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("is neither an IP address nor a host name")
    return name


def checked_source_address(text: str) -> str:
    """A CIDR block, an address, ``address:port`` or ``[IPv6]:port``, in canonical form. Raises ValueError."""
    try:
        if "/" in text:
            return str(ip_network(text))
        if text.startswith("["):
            host, _, port = text[1:].rpartition("]:")
            return f"[{ip_address(host)}]:{_port(port)}"
        if text.count(":") == 1:
            host, _, port = text.partition(":")
            return f"{ip_address(host)}:{_port(port)}"
        return str(ip_address(text))
    except ValueError as error:
        raise ValueError("is no CIDR block, no address, and no address:port") from error


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 65535:
        raise ValueError("is no port")
    return int(text)
