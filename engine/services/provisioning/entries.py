"""What may stand in a provisioning file: a type for each section's entries. ``conf/README.md`` describes every key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from engine.domain.money.package import PERIODS_MAX
from engine.domain.people.department import HEADS_MAX
from engine.services.access.credentials import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN
from engine.services.lines.number_replacement import LineReplacement
from engine.services.lines.usable_lines import LINES_MAX
from engine.services.sales.packages import MINUTES_MAX, NUMBERS_MAX

Code = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Reference = Annotated[str, Meta(max_length=64)]
"""A code, or the empty string for none."""
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Password = Annotated[str, Meta(min_length=PASSWORD_LENGTH_MIN, max_length=PASSWORD_LENGTH_MAX)]
SecretReference = Annotated[str, Meta(pattern=r"^(env|file):.+$", max_length=1000)]
"""Where a secret stands: ``env:NAME``, or ``file:PATH`` (from the provisioning file's folder)."""
Path = Annotated[str, Meta(pattern=r"^[^/]+(/[^/]+)*$", max_length=1000)]
"""A department's names from the top down: ``Sales/North``."""
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


class RoleEntry(Entry, kw_only=True):
    """Without a tenant it is the platform's."""

    name: Name
    audience: Literal["platform_admin", "tenant_admin", "department_head", "agent"]
    permissions: Annotated[list[str], Meta(max_length=100)]
    tenant: Reference = ""


class DepartmentEntry(Entry, kw_only=True):
    """``path`` is the names from the top down; the departments above it are made where they are not there."""

    tenant: Code
    path: Path
    heads: Annotated[list[Code], Meta(max_length=HEADS_MAX)] | UnsetType = UNSET


class AgentEntry(Entry, kw_only=True):
    tenant: Code
    code: Code
    name: Name
    department: Path | Literal[""] | UnsetType = UNSET
    phone: Number | UnsetType = UNSET
    status: Literal["active", "suspended", "left"] | UnsetType = UNSET


class UserEntry(Entry, kw_only=True):
    """``password`` says where the password stands; ``initial_password`` is one, of a new user, who is to change it."""

    login: Code
    role: Literal["platform_admin", "tenant_admin", "department_head", "agent"]
    password: SecretReference | UnsetType = UNSET
    initial_password: Password | UnsetType = UNSET
    role_name: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    tenant: Reference = ""
    agent: Reference = ""

    def __repr__(self) -> str:
        return f"UserEntry({self.login!r}, …)"

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
    kind: Annotated[str, Meta(max_length=24)] | UnsetType = UNSET
    settings: dict[str, Any] | UnsetType = UNSET
    """By the kind's schema; what is secret there says where the secret stands."""


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
    callback_legs: Literal["both", "callee"] | UnsetType = UNSET


class LineEntry(Entry, kw_only=True):
    code: Code
    carrier: Code
    trunk: Code
    rate: Code
    name: Name
    is_custom: bool | UnsetType = UNSET
    replacement: LineReplacement | UnsetType = UNSET
    recording: bool | UnsetType = UNSET
    calls_max: LimitOrNone | UnsetType = UNSET
    calls_per_second_max: LimitOrNone | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class NumberPoolEntry(Entry, kw_only=True):
    line: Code
    code: Code
    name: Name
    pool_key: Annotated[str, Meta(pattern=r"^[\x21-\x7e]*$", max_length=64)] | UnsetType = UNSET


class PermissionEntry(Entry, kw_only=True):
    """Of a carrier (all its lines), or of a line."""

    tenant: Code
    carrier: Reference = ""
    line: Reference = ""


class UsableLinesEntry(Entry, kw_only=True):
    """What an agent, or a department, may use of the tenant's lines: these, and all of these carriers'."""

    tenant: Code
    agent: Reference = ""
    department: Path | Literal[""] = ""
    lines: Annotated[list[Code], Meta(max_length=LINES_MAX)] = []
    carriers: Annotated[list[Code], Meta(max_length=LINES_MAX)] = []


class PackageEntry(Entry, kw_only=True):
    code: Code
    name: Name
    minutes: Annotated[int, Meta(ge=1, le=MINUTES_MAX)]
    price: str
    tenant: Reference = ""
    period_unit: Literal["day", "month", "year"] = "month"
    period_count: Annotated[int, Meta(ge=1, le=PERIODS_MAX)] = 1
    zone: str = "Asia/Shanghai"
    lines: Annotated[list[Code], Meta(max_length=1000)] = []
    numbers: dict[Code, Annotated[int, Meta(ge=1, le=NUMBERS_MAX)]] = {}
    """X numbers that come with it, by line."""
    on_sale: bool | UnsetType = UNSET
    renewals_approved: bool | UnsetType = UNSET


class MoneyRulesEntry(Entry, kw_only=True):
    tenant: Code
    zone: str | UnsetType = UNSET
    day_cap: str | UnsetType = UNSET
    low_balance: str | UnsetType = UNSET


class SpendCapEntry(Entry, kw_only=True):
    tenant: Code
    agent: Code
    day_cap: str


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
    pool: Reference | UnsetType = UNSET
    tenant: Reference | UnsetType = UNSET
    department: Path | Literal[""] | UnsetType = UNSET
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
    "money_rules": MoneyRulesEntry,
    "roles": RoleEntry,
    "departments": DepartmentEntry,
    "agents": AgentEntry,
    "spend_caps": SpendCapEntry,
    "users": UserEntry,
    "sip_accounts": SipAccountEntry,
    "carriers": CarrierEntry,
    "rates": RateEntry,
    "trunks": TrunkEntry,
    "lines": LineEntry,
    "number_pools": NumberPoolEntry,
    "permissions": PermissionEntry,
    "packages": PackageEntry,
    "package_minutes": PackageMinutesEntry,
    "x_numbers": XNumberEntry,
    "usable_lines": UsableLinesEntry,
    "bindings": BindingEntry,
}
"""In the order in which they are applied: what is referred to comes first."""
