"""Everything of the operator's, guarded here and nowhere else."""

from litestar import Router
from litestar.di import Provide

from admin_api.common.guards import permitted, platform_only, platform_scope
from admin_api.platform.agents import PlatformAgentController
from admin_api.platform.carriers import CarrierController, list_carrier_kinds
from admin_api.platform.funds import FundsController
from admin_api.platform.jumps import create_jump
from admin_api.platform.kept_recordings import delete_recording, get_retention, put_retention
from admin_api.platform.lines import LineController
from admin_api.platform.metrics import read_metrics
from admin_api.platform.money_rules import MoneyRulesController
from admin_api.platform.number_pools import NumberPoolController
from admin_api.platform.orders import PlatformOrderController, PlatformPackageController
from admin_api.platform.rates import RateController
from admin_api.platform.recharges import PlatformRechargeController, create_recharge_order
from admin_api.platform.reconciliations import ReconciliationController, get_record_format, put_record_format
from admin_api.platform.statements import StatementController
from admin_api.platform.tenant_permissions import TenantPermissionController
from admin_api.platform.tenant_zone import put_zone
from admin_api.platform.tenants import AccountController, TenantController
from admin_api.platform.traces import read_trace
from admin_api.platform.trunks import TrunkController
from admin_api.platform.usable_lines import PlatformUsableLinesController
from admin_api.platform.users import PlatformUserController
from admin_api.platform.x_numbers import PlatformXNumberController
from admin_api.resources.audit import list_audit
from admin_api.resources.calls import CdrController, LiveCallController
from admin_api.resources.exports import export
from admin_api.resources.kept_recordings import LegalHoldController, RecordingDeletionController
from admin_api.resources.money_rules import list_money_events
from admin_api.resources.performance import PerformanceController
from admin_api.resources.roles import RoleController
from admin_api.resources.sip_accounts import SipAccountController
from admin_api.resources.velocity_alarms import VelocityAlarmController

platform_router = Router(
    "/api/platform",
    guards=[platform_only, permitted],
    dependencies={"audience": Provide(platform_scope)},
    route_handlers=[
        TenantController,
        TenantPermissionController,
        put_zone,
        AccountController,
        PlatformAgentController,
        PerformanceController,
        SipAccountController,
        PlatformUserController,
        RoleController,
        create_jump,
        list_audit,
        list_carrier_kinds,
        CarrierController,
        TrunkController,
        RateController,
        LineController,
        PlatformUsableLinesController,
        NumberPoolController,
        PlatformXNumberController,
        LiveCallController,
        CdrController,
        export,
        LegalHoldController,
        RecordingDeletionController,
        get_retention,
        put_retention,
        delete_recording,
        ReconciliationController,
        get_record_format,
        put_record_format,
        FundsController,
        MoneyRulesController,
        list_money_events,
        VelocityAlarmController,
        PlatformRechargeController,
        StatementController,
        create_recharge_order,
        PlatformPackageController,
        PlatformOrderController,
        read_trace,
        read_metrics,
    ],
)
