"""Everything of an agent's own, guarded here and nowhere else; the agent is the token's."""

from litestar import Router
from litestar.di import Provide

from admin_api.agent.lines import list_own_lines
from admin_api.agent.me import get_me
from admin_api.common.guards import agent_only, agent_scope, permitted
from admin_api.resources.bindings import BindingController
from admin_api.resources.calls import CdrController, LiveCallController
from admin_api.resources.orders import OrderController, PackageReadController
from admin_api.resources.x_numbers import XNumberController

agent_router = Router(
    "/api/agent",
    guards=[agent_only, permitted],
    dependencies={"audience": Provide(agent_scope)},
    route_handlers=[
        get_me,
        list_own_lines,
        XNumberController,
        BindingController,
        LiveCallController,
        CdrController,
        PackageReadController,
        OrderController,
    ],
)
