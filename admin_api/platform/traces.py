"""The SIP messages of one call. For the platform alone: they show both sides' addresses."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import MediaType, Response, get
from litestar.params import QueryParameter

from admin_api.common.context import GivenContext, found
from admin_api.common.errors import EngineRefused
from admin_api.resources.calls import CallId
from engine.domain.people.permission import Permission
from engine.runtime.control.protocol import CallTrace, Failed, ReadTrace
from engine.runtime.monitoring.trace_ladder import ladder

LEFT_OUT = "… and {} more messages, which were not kept\n"


@get(
    "/calls/{call_id:str}/trace",
    opt={"permission": Permission.OPERATION_READ},
    tags=["calls"],
    summary="A call's SIP messages of both legs, numbers masked",
)
async def read_trace(
    context: GivenContext,
    call_id: CallId,
    shape: Annotated[
        Literal["json", "text"], QueryParameter(name="format", description="text: a ladder, and the messages below.")
    ] = "json",
) -> Response[CallTrace | str]:
    """Kept in the engine's memory while the call runs and for a while after; not over an engine's restart."""
    reply = await context.control.ask(ReadTrace(call_id))
    if not isinstance(reply, CallTrace):
        raise EngineRefused(reply.reason if isinstance(reply, Failed) else "it answered something else")
    messages = found(reply.messages, "trace")
    if shape == "json":
        return Response(reply)
    parts = [ladder(messages), LEFT_OUT.format(reply.left_out) if reply.left_out else ""]
    start_us = messages[0].at_us if messages else 0
    for message in messages:
        way = "to" if message.sent else "from"
        parts.append(f"\n--- {(message.at_us - start_us) / 1e6:.3f} s {way} {message.peer}\n")
        parts.append(message.text.replace("\r\n", "\n").rstrip("\n") + "\n")
    return Response("".join(parts), media_type=MediaType.TEXT)
