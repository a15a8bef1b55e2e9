"""The database's tables: facts that outlive a process.

Money is integer micro-units (¥1 = 1,000,000), times are integer milliseconds since the epoch in UTC (SQLite keeps no
time zone and loses a Numeric's digits), numbers are E.164 with ``+``.

Importing this makes all of them known to the metadata.
"""

from __future__ import annotations

from engine.store.tables.base import NUMBER_LENGTH_MAX, Table
from engine.store.tables.calls import CarrierRecordFormat, Cdr, Reconciliation, ReconciliationDifference
from engine.store.tables.feed import Change
from engine.store.tables.idempotency import IdempotencyKey
from engine.store.tables.identity import ApiKey, AuditEntry, AuditPruning, RecoveryCode, Role, SecondFactor, UserSession
from engine.store.tables.limits import ApiKeyBudget, LoginFailure
from engine.store.tables.lines import Binding, BindingParty, Carrier, Line, Trunk, XNumber
from engine.store.tables.money import Account, CreditClaim, CreditLease, LedgerEntry, LedgerTransaction
from engine.store.tables.numbers import CarrierPermission, LinePermission, NumberMove, NumberPool, UsableLines
from engine.store.tables.offboarding import Offboarding
from engine.store.tables.orders import (
    AgentSpendCap,
    ClosedMonth,
    MoneyEvent,
    MoneyRules,
    Order,
    OrderEvent,
    OverdraftChange,
    Package,
    PackageLine,
    PackageVersion,
    Recharge,
)
from engine.store.tables.people import Agent, Department, DepartmentHead, SipAccount, Tenant, User
from engine.store.tables.rates import MinutesBucket, MinutesLease, MinutesUse, Rate, RateVersion
from engine.store.tables.recordings import (
    LegalHold,
    Recording,
    RecordingDeletion,
    RecordingManifest,
    RecordingRetention,
)
from engine.store.tables.velocity import VelocityAlarm, VelocityDay, VelocityWindow
from engine.store.tables.webhooks import Webhook, WebhookDelivery

__all__ = [
    "NUMBER_LENGTH_MAX",
    "Account",
    "Agent",
    "AgentSpendCap",
    "ApiKey",
    "ApiKeyBudget",
    "AuditEntry",
    "AuditPruning",
    "Binding",
    "BindingParty",
    "Carrier",
    "CarrierPermission",
    "CarrierRecordFormat",
    "Cdr",
    "Change",
    "ClosedMonth",
    "CreditClaim",
    "CreditLease",
    "Department",
    "DepartmentHead",
    "IdempotencyKey",
    "LedgerEntry",
    "LedgerTransaction",
    "LegalHold",
    "Line",
    "LinePermission",
    "LoginFailure",
    "MinutesBucket",
    "MinutesLease",
    "MinutesUse",
    "MoneyEvent",
    "MoneyRules",
    "NumberMove",
    "NumberPool",
    "Offboarding",
    "Order",
    "OrderEvent",
    "OverdraftChange",
    "Package",
    "PackageLine",
    "PackageVersion",
    "Rate",
    "RateVersion",
    "Recharge",
    "Reconciliation",
    "ReconciliationDifference",
    "Recording",
    "RecordingDeletion",
    "RecordingManifest",
    "RecordingRetention",
    "RecoveryCode",
    "Role",
    "SecondFactor",
    "SipAccount",
    "Table",
    "Tenant",
    "Trunk",
    "UsableLines",
    "User",
    "UserSession",
    "VelocityAlarm",
    "VelocityDay",
    "VelocityWindow",
    "Webhook",
    "WebhookDelivery",
    "XNumber",
]
