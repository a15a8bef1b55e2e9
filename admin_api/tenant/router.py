"""Everything of a tenant's administrators, guarded here and nowhere else; the tenant is the token's."""

from litestar import Router
from litestar.di import Provide

from admin_api.common.guards import permitted, tenant_only, tenant_scope
from admin_api.resources.audit import list_audit
from admin_api.resources.bindings import BindingController
from admin_api.resources.calls import CdrController, LiveCallController
from admin_api.resources.exports import export
from admin_api.resources.kept_recordings import LegalHoldController, RecordingDeletionController
from admin_api.resources.money_rules import list_money_events
from admin_api.resources.orders import OrderController, PackageReadController
from admin_api.resources.performance import PerformanceController
from admin_api.resources.roles import RoleController
from admin_api.resources.sip_accounts import SipAccountController
from admin_api.resources.velocity_alarms import VelocityAlarmController
from admin_api.tenant.account import get_account, list_ledger, list_lines
from admin_api.tenant.agents import TenantAgentController
from admin_api.tenant.api_keys import ApiKeyController
from admin_api.tenant.departments import DepartmentController
from admin_api.tenant.funds import get_spending
from admin_api.tenant.kept_recordings import get_own_retention, put_own_retention
from admin_api.tenant.money_rules import (
    SpendCapController,
    change_own_money_rules,
    get_own_money_rules,
)
from admin_api.tenant.offboarding import OffboardingController
from admin_api.tenant.recharges import TenantRechargeController
from admin_api.tenant.statements import get_statement
from admin_api.tenant.usable_lines import TenantUsableLinesController
from admin_api.tenant.users import TenantUserController
from admin_api.tenant.webhooks import WebhookController
from admin_api.tenant.x_numbers import TenantXNumberController

tenant_router = Router(
    "/api/tenant",
    guards=[tenant_only, permitted],
    dependencies={"audience": Provide(tenant_scope)},
    route_handlers=[
        TenantAgentController,
        TenantUserController,
        RoleController,
        ApiKeyController,
        list_audit,
        DepartmentController,
        PerformanceController,
        SipAccountController,
        OffboardingController,
        list_lines,
        TenantUsableLinesController,
        TenantXNumberController,
        BindingController,
        get_account,
        list_ledger,
        LiveCallController,
        CdrController,
        export,
        LegalHoldController,
        RecordingDeletionController,
        get_own_retention,
        put_own_retention,
        WebhookController,
        PackageReadController,
        OrderController,
        get_spending,
        get_own_money_rules,
        change_own_money_rules,
        list_money_events,
        VelocityAlarmController,
        SpendCapController,
        TenantRechargeController,
        get_statement,
    ],
)
