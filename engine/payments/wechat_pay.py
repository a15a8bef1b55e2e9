"""WeChat Pay API v3: a notice signed with the platform's key, its contents sealed with the merchant's APIv3 key."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.payments.notice import Headers, NoticeRefused, Payment, check_age, verify_rsa

MICRO_PER_FEN = 10_000
"""Of other currencies too, as ISO 4217 gives most a hundredth: such a payment is disputed, whatever its amount."""


class _Resource(msgspec.Struct):
    ciphertext: str
    nonce: str
    associated_data: str = ""


class _Notice(msgspec.Struct):
    resource: _Resource


class _Amount(msgspec.Struct):
    total: int
    currency: str


class _Transaction(msgspec.Struct):
    mchid: str
    out_trade_no: str
    transaction_id: str
    trade_state: str
    amount: _Amount


class WeChatPay:
    """``keys``: the platform's public keys by serial number; ``api_key``: 32 octets."""

    name = "wechat"
    media_type = "application/json"
    accepted = b""
    refused = '{"code":"FAIL","message":"失败"}'.encode()

    def __init__(self, keys: Mapping[str, RSAPublicKey], api_key: bytes, merchant_id: str) -> None:
        self._keys = keys
        self._cipher = AESGCM(api_key)
        self._merchant_id = merchant_id

    def read(self, headers: Headers, body: bytes, now_ms: int) -> Payment | None:
        timestamp = headers.get("wechatpay-timestamp", "")
        nonce = headers.get("wechatpay-nonce", "")
        key = self._keys.get(headers.get("wechatpay-serial", ""))
        if key is None:
            raise NoticeRefused("the key's serial number is not known")
        signed = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
        verify_rsa(key, headers.get("wechatpay-signature", ""), signed)
        check_age(timestamp, now_ms)
        try:
            sealed = msgspec.json.decode(body, type=_Notice).resource
            octets = msgspec.convert(sealed.ciphertext, bytes)  # base64
            opened = self._cipher.decrypt(sealed.nonce.encode(), octets, sealed.associated_data.encode())
            transaction = msgspec.json.decode(opened, type=_Transaction)
        except (msgspec.DecodeError, InvalidTag, ValueError) as error:
            raise NoticeRefused("the body is malformed") from error
        if transaction.mchid != self._merchant_id:
            raise NoticeRefused("it is another merchant's")
        if transaction.trade_state != "SUCCESS":
            return None
        amount_micro = transaction.amount.total * MICRO_PER_FEN
        currency = transaction.amount.currency
        return Payment(self.name, transaction.out_trade_no, transaction.transaction_id, amount_micro, currency)
