"""What somebody may do. Roles are made of permissions; an audience bounds what its roles may hold.

A handler names its permission (``opt={"permission": Permission.NUMBERS_WRITE}``), and whoever asks needs a role that
holds it. Which rows he then sees is his scope's matter and not the permission's.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Audience(StrEnum):
    """Whom somebody belongs to; it decides his router and his scope."""

    PLATFORM_ADMIN = "platform_admin"
    TENANT_ADMIN = "tenant_admin"
    DEPARTMENT_HEAD = "department_head"
    AGENT = "agent"


class Permission(StrEnum):
    SELF = "self"  # to see who one is, to log out
    CREDENTIALS = "self.credentials"  # one's own password, second factor and sessions

    AGENTS_READ = "agents.read"
    AGENTS_WRITE = "agents.write"
    API_KEYS_READ = "api_keys.read"
    API_KEYS_WRITE = "api_keys.write"
    AUDIT_READ = "audit.read"
    BINDINGS_READ = "bindings.read"
    BINDINGS_WRITE = "bindings.write"
    CALLS_READ = "calls.read"  # CDRs, running calls, recordings
    CALLS_EXPORT = "calls.export"
    CALLS_WRITE = "calls.write"  # to hang up
    CARRIERS_READ = "carriers.read"
    CARRIERS_WRITE = "carriers.write"
    DEPARTMENTS_READ = "departments.read"
    DEPARTMENTS_WRITE = "departments.write"
    FUNDS_READ = "funds.read"
    FUNDS_WRITE = "funds.write"
    LINES_READ = "lines.read"
    LINES_WRITE = "lines.write"
    NUMBERS_READ = "numbers.read"
    NUMBERS_WRITE = "numbers.write"
    OPERATION_READ = "operation.read"  # figures and traces of the engine
    ORDERS_APPROVE = "orders.approve"
    ORDERS_READ = "orders.read"
    ORDERS_WRITE = "orders.write"
    PACKAGES_READ = "packages.read"
    PACKAGES_WRITE = "packages.write"
    RATES_READ = "rates.read"
    RATES_WRITE = "rates.write"
    RECONCILIATIONS_READ = "reconciliations.read"
    RECONCILIATIONS_WRITE = "reconciliations.write"
    RECORDINGS_DELETE = "recordings.delete"  # before their time
    RECORDINGS_KEEP = "recordings.keep"  # retention and legal holds
    RECORDINGS_READ = "recordings.read"  # what is kept how long, and what is gone; to listen is CALLS_READ
    ROLES_READ = "roles.read"
    ROLES_WRITE = "roles.write"
    SIP_PASSWORDS = "sip_passwords.write"  # to make softphones' passwords, which are shown then
    TENANTS_JUMP = "tenants.jump"
    TENANTS_READ = "tenants.read"
    TENANTS_WRITE = "tenants.write"
    USERS_READ = "users.read"
    USERS_WRITE = "users.write"
    WEBHOOKS_READ = "webhooks.read"
    WEBHOOKS_WRITE = "webhooks.write"


_PLATFORM = frozenset({Audience.PLATFORM_ADMIN})
_TENANT = frozenset({Audience.TENANT_ADMIN})
_BACK_OFFICE = _PLATFORM | _TENANT
_HEADS_TOO = _BACK_OFFICE | {Audience.DEPARTMENT_HEAD}
_ALL = frozenset(Audience)

HOLDERS: dict[Permission, frozenset[Audience]] = {
    Permission.SELF: _ALL,
    Permission.CREDENTIALS: _ALL,
    Permission.AGENTS_READ: _ALL,
    Permission.AGENTS_WRITE: _BACK_OFFICE,
    Permission.API_KEYS_READ: _TENANT,
    Permission.API_KEYS_WRITE: _TENANT,
    Permission.AUDIT_READ: _BACK_OFFICE,
    Permission.BINDINGS_READ: _TENANT | {Audience.DEPARTMENT_HEAD, Audience.AGENT},
    Permission.BINDINGS_WRITE: _TENANT | {Audience.AGENT},
    Permission.CALLS_READ: _ALL,
    Permission.CALLS_EXPORT: _BACK_OFFICE,
    Permission.CALLS_WRITE: _BACK_OFFICE | {Audience.AGENT},
    Permission.CARRIERS_READ: _PLATFORM,
    Permission.CARRIERS_WRITE: _PLATFORM,
    Permission.DEPARTMENTS_READ: _HEADS_TOO,
    Permission.DEPARTMENTS_WRITE: _BACK_OFFICE,
    Permission.FUNDS_READ: _BACK_OFFICE,
    Permission.FUNDS_WRITE: _BACK_OFFICE,
    Permission.LINES_READ: _BACK_OFFICE | {Audience.AGENT},
    Permission.LINES_WRITE: _PLATFORM,
    Permission.NUMBERS_READ: _ALL,
    Permission.NUMBERS_WRITE: _BACK_OFFICE,
    Permission.OPERATION_READ: _PLATFORM,
    Permission.ORDERS_APPROVE: _PLATFORM,
    Permission.ORDERS_READ: _BACK_OFFICE | {Audience.AGENT},
    Permission.ORDERS_WRITE: _BACK_OFFICE | {Audience.AGENT},
    Permission.PACKAGES_READ: _BACK_OFFICE | {Audience.AGENT},
    Permission.PACKAGES_WRITE: _PLATFORM,
    Permission.RATES_READ: _PLATFORM,
    Permission.RATES_WRITE: _PLATFORM,
    Permission.RECONCILIATIONS_READ: _PLATFORM,
    Permission.RECONCILIATIONS_WRITE: _PLATFORM,
    Permission.RECORDINGS_DELETE: _PLATFORM,
    Permission.RECORDINGS_KEEP: _BACK_OFFICE,
    Permission.RECORDINGS_READ: _BACK_OFFICE,
    Permission.ROLES_READ: _BACK_OFFICE,
    Permission.ROLES_WRITE: _BACK_OFFICE,
    Permission.SIP_PASSWORDS: _BACK_OFFICE,
    Permission.TENANTS_JUMP: _PLATFORM,
    Permission.TENANTS_READ: _PLATFORM,
    Permission.TENANTS_WRITE: _PLATFORM,
    Permission.USERS_READ: _BACK_OFFICE,
    Permission.USERS_WRITE: _BACK_OFFICE,
    Permission.WEBHOOKS_READ: _TENANT,
    Permission.WEBHOOKS_WRITE: _TENANT,
}
"""Who may at most have it. One that is not listed is nobody's."""

EVERYTHING = "*"
"""In a built-in role: all that its audience may have, with what later versions add."""

ALWAYS = frozenset({Permission.SELF, Permission.CREDENTIALS})
"""Whoever logs in has them: a role cannot take from somebody his own password."""

OF_PEOPLE = frozenset(
    {
        Permission.CREDENTIALS,
        Permission.USERS_WRITE,
        Permission.ROLES_WRITE,
        Permission.API_KEYS_WRITE,
    }
)
"""What lets others in. No API key has it."""


NOT_IN_JUMPS = OF_PEOPLE | {Permission.SIP_PASSWORDS}
"""Nobody of the platform has it while he acts for a tenant: with a softphone's password he would call as its agent,
long after the jump is over."""


def at_most(audience: Audience) -> frozenset[Permission]:
    return frozenset(permission for permission, holders in HOLDERS.items() if audience in holders)


def granted(audience: Audience, names: Iterable[str]) -> frozenset[Permission]:
    """What a role of ``audience`` with these permissions grants. Names that are not known (of a later version, or of
    one that is gone) grant nothing."""
    most = at_most(audience)
    wanted = set(names)
    if EVERYTHING in wanted:
        return most
    return (frozenset(permission for permission in most if permission.value in wanted) | ALWAYS) & most
