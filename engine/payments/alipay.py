"""Alipay's asynchronous notice: a form, signed with RSA2 over its sorted fields."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from engine.payments.notice import CURRENCY, Headers, NoticeRefused, Payment, verify_rsa

FIELDS_MAX = 100
_YUAN = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,2}))?")


class Alipay:
    """A notice carries no time that we could hold it to; that it is told again does no harm."""

    name = "alipay"
    media_type = "text/plain"
    accepted = b"success"
    refused = b"failure"

    def __init__(self, key: RSAPublicKey, app_id: str) -> None:
        self._key = key
        self._app_id = app_id

    def read(self, headers: Headers, body: bytes, now_ms: int) -> Payment | None:
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=FIELDS_MAX)
        except ValueError as error:
            raise NoticeRefused("the body is malformed") from error
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise NoticeRefused("a field is there twice")
        # Neither the signature nor its type is signed, nor is a field without a value.
        names = sorted(fields.keys() - {"sign", "sign_type"})
        signed = "&".join(f"{name}={fields[name]}" for name in names if fields[name])
        verify_rsa(self._key, fields.get("sign", ""), signed.encode())
        if fields.get("app_id") != self._app_id:
            raise NoticeRefused("it is another app's")
        if fields.get("trade_status") not in ("TRADE_SUCCESS", "TRADE_FINISHED"):
            return None
        amount = _YUAN.fullmatch(fields.get("total_amount", ""))
        reference, trade = fields.get("out_trade_no", ""), fields.get("trade_no", "")
        if amount is None or not reference or not trade:
            raise NoticeRefused("the body is malformed")
        fen = int(amount[1]) * 100 + int((amount[2] or "").ljust(2, "0"))
        # Notices of payments within China name no currency; those from abroad do.
        return Payment(self.name, reference, trade, fen * 10_000, fields.get("trans_currency") or CURRENCY)
