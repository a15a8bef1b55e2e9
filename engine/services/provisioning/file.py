"""The provisioning file: TOML, as ``conf/README.md`` describes it, read into typed entries that know their place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from engine.domain.charging import MICRO_PER_YUAN
from engine.domain.number import InvalidNumber, normalise
from engine.services.credentials import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN

FILE_OCTETS_MAX = 64 * 1024 * 1024
"""Several hundred thousand entries; more belongs into several files."""
PROBLEMS_TOLD_MAX = 50
"""Problems that one error names; who has more has made one mistake many times."""

Code = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Reference = Annotated[str, Meta(max_length=64)]
"""A code, or the empty string for none."""
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Password = Annotated[str, Meta(min_length=PASSWORD_LENGTH_MIN, max_length=PASSWORD_LENGTH_MAX)]
Number = Annotated[str, Meta(max_length=40)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
IncrementSeconds = Annotated[int, Meta(ge=1, le=3600)]
MinimumSeconds = Annotated[int, Meta(ge=0, le=3600)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
PRICES_MAX = 20_000
"""Entries of one rate plan: every area code of the world has room."""
Status = Literal["active", "suspended"]
LimitOrNone = Annotated[int, Meta(ge=0, le=1_000_000)]
"""0: no limit."""
StripDigits = Annotated[int, Meta(ge=0, le=15)]
DialPrefix = Annotated[str, Meta(pattern=r"^[0-9*#+]*$", max_length=16)]
GATEWAYS_MAX = 16
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9-]{0,61}[a-z0-9])?")
Transport = Literal["udp", "tcp", "tls"]
Redirects = Annotated[int, Meta(ge=0, le=8)]  # a call that is led further than that is led in circles
TrunkSrtp = Literal["off", "offered", "required"]
GatewayPort = Annotated[int, Meta(ge=0, le=65535)]
"""0: what DNS says of the name, or the transport's own."""


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays as it is in the database, and is the default in a new row."""


class TenantEntry(Entry, kw_only=True):
    code: Code
    name: Name
    calls_max: LimitOrNone | UnsetType = UNSET
    calls_per_second_max: LimitOrNone | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class AccountEntry(Entry, kw_only=True):
    tenant: Code
    overdraft_limit: str | UnsetType = UNSET
    opening_balance: str | UnsetType = UNSET


class AgentEntry(Entry, kw_only=True):
    tenant: Code
    code: Code
    name: Name
    phone: Number | UnsetType = UNSET
    status: Literal["active", "suspended", "left"] | UnsetType = UNSET


class UserEntry(Entry, kw_only=True):
    login: Code
    password: Password
    role: Literal["platform_admin", "tenant_admin", "agent"]
    tenant: Reference = ""
    agent: Reference = ""
    status: Status | UnsetType = UNSET


class SipAccountEntry(Entry, kw_only=True):
    username: Code
    password: Password
    tenant: Code
    agent: Code
    status: Status | UnsetType = UNSET


class CarrierEntry(Entry, kw_only=True):
    code: Code
    name: Name


class GatewayEntry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    host: Annotated[str, Meta(max_length=255)]
    port: GatewayPort = 5060
    transport: Transport = "udp"
    priority: Annotated[int, Meta(ge=0, le=65535)] = 0
    weight: Annotated[int, Meta(ge=1, le=65535)] = 1


class RegistrationEntry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How we register to the carrier. The realm is the carrier's: with it the password is kept as a hash alone."""

    username: Annotated[str, Meta(min_length=1, max_length=64)]
    password: Annotated[str, Meta(min_length=1, max_length=PASSWORD_LENGTH_MAX)]
    realm: Annotated[str, Meta(min_length=1, max_length=100)]
    expires_seconds: Annotated[int, Meta(ge=60, le=86400)] = 600

    def __repr__(self) -> str:
        return f"RegistrationEntry({self.username!r})"


class TrunkEntry(Entry, kw_only=True):
    code: Code
    carrier: Code
    name: Name
    host: Annotated[str, Meta(max_length=255)]
    port: GatewayPort | UnsetType = UNSET
    transport: Transport | UnsetType = UNSET
    source_addresses: Annotated[list[str], Meta(min_length=1, max_length=100)]
    number_format: Literal["e164", "plain_86", "national"] | UnsetType = UNSET
    calls_max: Count | UnsetType = UNSET
    calls_per_second_max: LimitOrNone | UnsetType = UNSET
    gateways: Annotated[list[GatewayEntry], Meta(max_length=GATEWAYS_MAX)] | UnsetType = UNSET
    caller_display: Literal["from", "pai", "both"] | UnsetType = UNSET
    dial_strip_digits: StripDigits | UnsetType = UNSET
    dial_prefix: DialPrefix | UnsetType = UNSET
    srtp: TrunkSrtp | UnsetType = UNSET
    buy_rate: Reference | UnsetType = UNSET
    redirects_max: Redirects | UnsetType = UNSET
    registration: RegistrationEntry | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class PriceEntry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One entry of a rate plan; increments and minimum that it does not name are the plan's own."""

    per_minute: str
    prefix: Annotated[str, Meta(pattern=r"^[0-9]*$", max_length=15)] = ""
    direction: Literal["both", "a_to_b", "b_to_a"] = "both"
    weekdays: Annotated[list[Weekday], Meta(min_length=1, max_length=7)] | UnsetType = UNSET
    from_time: str = "00:00"
    until_time: str = "00:00"
    valid_from: datetime | UnsetType = UNSET
    valid_until: datetime | UnsetType = UNSET
    connect_fee: str = "0"
    first_increment_seconds: IncrementSeconds | UnsetType = UNSET
    next_increment_seconds: IncrementSeconds | UnsetType = UNSET
    minimum_seconds: MinimumSeconds | UnsetType = UNSET


class RateEntry(Entry, kw_only=True):
    code: Code
    name: Name
    per_minute: str | UnsetType = UNSET
    first_increment_seconds: IncrementSeconds | UnsetType = UNSET
    next_increment_seconds: IncrementSeconds | UnsetType = UNSET
    minimum_seconds: MinimumSeconds | UnsetType = UNSET
    connect_fee: str | UnsetType = UNSET
    rounding: Literal["half_up", "up", "down"] | UnsetType = UNSET
    rounded_to: str | UnsetType = UNSET
    zone: str | UnsetType = UNSET
    entries: Annotated[list[PriceEntry], Meta(max_length=PRICES_MAX)] | UnsetType = UNSET
    loss_allowed: bool | UnsetType = UNSET


class LineEntry(Entry, kw_only=True):
    code: Code
    carrier: Code
    trunk: Code
    rate: Code
    name: Name
    recording: bool | UnsetType = UNSET
    calls_max: LimitOrNone | UnsetType = UNSET
    calls_per_second_max: LimitOrNone | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class PackageMinutesEntry(Entry, kw_only=True):
    order: Code
    tenant: Code
    minutes: Annotated[int, Meta(ge=1, le=10_000_000)]
    starts_at: Annotated[datetime, Meta(tz=True)]
    expires_at: Annotated[datetime, Meta(tz=True)]
    agent: Reference = ""
    lines: Annotated[list[Code], Meta(max_length=1000)] = []


class XNumberEntry(Entry, kw_only=True):
    number: Number
    line: Code
    tenant: Reference | UnsetType = UNSET
    agent: Reference | UnsetType = UNSET
    unknown_caller_policy: Literal["refuse", "owner"] | UnsetType = UNSET
    calls_max: LimitOrNone | UnsetType = UNSET
    calls_per_second_max: LimitOrNone | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class BindingEntry(Entry, kw_only=True):
    tenant: Code
    x_number: Number
    b_number: Number
    agent: Reference = ""
    a_number: Number = ""
    direction: Literal["both", "a_to_b", "b_to_a"] = "both"
    recording: bool = True


SECTIONS: dict[str, type[Entry]] = {
    "tenants": TenantEntry,
    "accounts": AccountEntry,
    "agents": AgentEntry,
    "users": UserEntry,
    "sip_accounts": SipAccountEntry,
    "carriers": CarrierEntry,
    "rates": RateEntry,
    "trunks": TrunkEntry,
    "lines": LineEntry,
    "package_minutes": PackageMinutesEntry,
    "x_numbers": XNumberEntry,
    "bindings": BindingEntry,
}
"""In the order in which they are applied: what is referred to comes first."""


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
