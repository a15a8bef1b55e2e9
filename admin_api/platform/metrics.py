"""The engine's figures for whoever has a token; Prometheus itself asks the engine's own port (``[metrics]``)."""

from __future__ import annotations

from litestar import Response, get

from admin_api.common.context import GivenContext
from admin_api.common.errors import EngineRefused
from engine.domain.people.permission import Permission
from engine.runtime.control.protocol import Failed, Metrics, ReadMetrics
from engine.runtime.monitoring.metrics import CONTENT_TYPE


@get(
    "/metrics",
    opt={"permission": Permission.OPERATION_READ},
    tags=["operation"],
    summary="The engine's figures in Prometheus' text format",
)
async def read_metrics(context: GivenContext) -> Response[str]:
    reply = await context.control.ask(ReadMetrics())
    if not isinstance(reply, Metrics):
        raise EngineRefused(reply.reason if isinstance(reply, Failed) else "it answered something else")
    return Response(reply.text, media_type=CONTENT_TYPE)
