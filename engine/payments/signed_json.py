"""A notice of our own shape, for providers that an operator connects himself: JSON under an HMAC."""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from engine.payments.notice import CURRENCY, Headers, NoticeRefused, Payment, check_age


class _Body(msgspec.Struct):
    reference: str
    trade: str
    amount_micro: int
    state: str
    currency: str = CURRENCY


class SignedJson:
    """``x-signature``: hex HMAC-SHA256 with ``key`` over ``x-timestamp`` (seconds), a full stop and the body."""

    name = "hmac"
    media_type = "application/json"
    accepted = b'{"accepted":true}'
    refused = b'{"accepted":false}'

    def __init__(self, key: bytes) -> None:
        self._key = key

    def read(self, headers: Headers, body: bytes, now_ms: int) -> Payment | None:
        timestamp = headers.get("x-timestamp", "")
        expected = hmac.new(self._key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        given = headers.get("x-signature", "")
        if not hmac.compare_digest(expected.encode(), given.encode()):
            raise NoticeRefused("the signature is wrong")
        check_age(timestamp, now_ms)
        try:
            notice = msgspec.json.decode(body, type=_Body)
        except msgspec.DecodeError as error:
            raise NoticeRefused("the body is malformed") from error
        if notice.state != "paid":
            return None
        return Payment(self.name, notice.reference, notice.trade, notice.amount_micro, notice.currency)
