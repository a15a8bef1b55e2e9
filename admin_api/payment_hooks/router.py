"""What payment providers tell us. Nobody logs in here: a notice is believed for its signature alone."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import Request, Response, Router, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from admin_api.common.auth import PUBLIC, address_of, request_id_of
from admin_api.common.context import Context, GivenContext
from admin_api.payment_hooks.refused_notices import RefusedNotices
from engine.payments.notice import BODY_OCTETS_MAX, Gateway, NoticeRefused
from engine.services.money.payment_notices import ENTITY, Outcome, is_settled, settle
from engine.store.access.audit import Actor, ActorKind, audit

_log = structlog.get_logger(__name__)


@post(
    "/{provider:str}",
    status_code=200,
    opt={PUBLIC: True},
    media_type="text/plain",
    request_max_body_size=BODY_OCTETS_MAX,
    summary="A payment provider's signed notice: credits the recharge that it names, once",
    tags=["payment notices"],
)
async def take_notice(
    request: Request[Any, Any, Any], context: GivenContext, provider: FromPath[str]
) -> Response[bytes]:
    """The answer is what the provider expects: on 200 it is satisfied, on anything else it tells us again."""
    gateway = context.gateways.get(provider)
    if gateway is None:
        raise NotFoundException("no payments are taken of that provider")
    body = await request.body()
    headers = {name.lower(): value for name, value in request.headers.items()}
    now_ms = context.now_ms()
    try:
        payment = gateway.read(headers, body, now_ms)
    except NoticeRefused as refused:
        _log.warning("payment_notice_refused", provider=provider, reason=str(refused))
        await _note_refused(request, context, provider, str(refused), now_ms)
        return _answer(gateway, 400)
    if payment is None:
        _log.info("payment_notice", provider=provider, outcome="no payment")
        return _answer(gateway, 200)
    async with context.reading() as reading:
        settled = await is_settled(reading, payment)
    if settled:
        outcome = Outcome.REPEATED
    else:
        # Money that has come lets calls go on: the engine is told.
        async with context.writing(_actor(request, context, provider)) as session:
            outcome = await settle(session, payment, now_ms)
    level = _log.warning if outcome is Outcome.DISPUTED else _log.info
    level("payment_notice", provider=provider, outcome=outcome.value)
    return _answer(gateway, 409 if outcome is Outcome.DISPUTED else 200)


def _answer(gateway: Gateway, status: int) -> Response[bytes]:
    content = gateway.accepted if status == 200 else gateway.refused
    return Response(content, status_code=status, media_type=gateway.media_type)


def _actor(request: Request[Any, Any, Any], context: Context, provider: str) -> Actor:
    address, request_id = address_of(context, request), request_id_of(request.scope, context)
    return Actor(ActorKind.SYSTEM, f"payments of {provider}", address=address, request_id=request_id)


async def _note_refused(
    request: Request[Any, Any, Any], context: Context, provider: str, reason: str, now_ms: int
) -> None:
    notices: RefusedNotices = request.app.state.refused_notices
    count = notices.count(provider, now_ms)
    if count:
        async with context.writing_quietly(_actor(request, context, provider)) as session:
            after = {"reason": reason, "count": count}
            audit(session, "payment.refused", ENTITY, provider, after=after)


payment_router = Router("/payment-notices", route_handlers=[take_notice])
"""Outside of /api, and without its guards: the signature is the guard."""
