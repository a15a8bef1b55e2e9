"""Query parameters that an operation does not name are refused, and those that come twice: who mistypes a filter is not
to be given everything, nor is it guessed which of two he meant.
"""

from __future__ import annotations

from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.routes import HTTPRoute

from admin_api.common.errors import Refused

KNOWN = "query parameters"
"""The option of a handler that holds the names of its own and its dependencies'. ``note_parameters`` sets it."""
NAME_LENGTH_MAX = 100
"""Of an unknown one, as it is told."""


def note_parameters(app: Litestar) -> None:
    """Once the application is whole: each handler's names, which Litestar has found in it and its dependencies."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler, model in route.route_handler_map.values():
                handler.opt[KNOWN] = frozenset(each.field_alias for each in model.expected_query_params)


def known_parameters_only(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A guard of the whole application. Raises Refused."""
    known: frozenset[str] = handler.opt[KNOWN]
    for name in connection.query_params:
        if name not in known:
            words = f"knows {', '.join(sorted(known))}" if known else "knows none"
            raise Refused(
                name[:NAME_LENGTH_MAX],
                f"is no query parameter of this operation, which {words}",
                400,
                code="query.unknown",
                allowed=sorted(known),
            )
        if len(connection.query_params.getall(name)) > 1:
            raise Refused(name, "is given more than once, and takes one value", 400, code="query.repeated")
