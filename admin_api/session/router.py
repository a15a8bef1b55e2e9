"""Everything that is one's own, whoever one is."""

from litestar import Router

from admin_api.common.guards import permitted
from admin_api.session.me import MeController

session_router = Router("/api", guards=[permitted], route_handlers=[MeController])
