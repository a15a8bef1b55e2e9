"""Payment notices: only what the provider signed is money, with our own keys in the providers' place."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from engine.payments.alipay import Alipay
from engine.payments.notice import Gateway, NoticeRefused, Payment
from engine.payments.signed_json import SignedJson
from engine.payments.wechat_pay import WeChatPay

NOW_MS = 1_800_000_000_000
OURS, OTHERS = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
API_KEY = b"k" * 32
Notice = tuple[dict[str, str], bytes]


def _sign(text: bytes, key: rsa.RSAPrivateKey) -> str:
    return base64.b64encode(key.sign(text, PKCS1v15(), SHA256())).decode()


def _hmac(key: bytes = API_KEY, at_ms: int = NOW_MS, **values: Any) -> Notice:
    fields = {"reference": "r1", "trade": "t1", "amount_micro": 12_340_000, "state": "paid"} | values
    body, timestamp = json.dumps(fields).encode(), str(at_ms // 1000)
    signature = hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"x-timestamp": timestamp, "x-signature": signature}, body


def _wechat(key: rsa.RSAPrivateKey = OURS, at_ms: int = NOW_MS, **values: Any) -> Notice:
    inner = {"mchid": "m", "out_trade_no": "r1", "transaction_id": "t1", "trade_state": "SUCCESS"}
    inner |= {"amount": {"total": 1234, "currency": "CNY"}} | values
    sealed = AESGCM(API_KEY).encrypt(b"n" * 12, json.dumps(inner).encode(), b"transaction")
    resource = {"ciphertext": base64.b64encode(sealed).decode(), "nonce": "n" * 12, "associated_data": "transaction"}
    body, timestamp = json.dumps({"id": "x", "resource": resource}).encode(), str(at_ms // 1000)
    headers = {"wechatpay-timestamp": timestamp, "wechatpay-nonce": "q", "wechatpay-serial": "S1"}
    headers["wechatpay-signature"] = _sign(f"{timestamp}\nq\n".encode() + body + b"\n", key)
    return headers, body


def _alipay(key: rsa.RSAPrivateKey = OURS, **values: str) -> Notice:
    fields = {"app_id": "a", "out_trade_no": "r1", "trade_no": "t1", "trade_status": "TRADE_SUCCESS"}
    fields |= {"total_amount": "12.34", "subject": "话费 & more", "empty": ""} | values
    text = "&".join(f"{name}={value}" for name, value in sorted(fields.items()) if value)
    return {}, urlencode(fields | {"sign": _sign(text.encode(), key), "sign_type": "RSA2"}).encode()


GATEWAYS: list[tuple[Gateway, Callable[..., Notice]]] = [
    (SignedJson(API_KEY), _hmac),
    (WeChatPay({"S1": OURS.public_key()}, API_KEY, "m"), _wechat),
    (Alipay(OURS.public_key(), "a"), _alipay),
]
each = pytest.mark.parametrize(("gateway", "make"), GATEWAYS, ids=lambda value: getattr(value, "name", ""))


@each
def test_a_genuine_notice_is_refused(gateway: Gateway, make: Callable[..., Notice]) -> None:
    assert gateway.read(*make(), NOW_MS) == Payment(gateway.name, "r1", "t1", 12_340_000)


@each
def test_a_forged_notice_is_money(gateway: Gateway, make: Callable[..., Notice]) -> None:
    headers, body = make(key=b"x" * 32 if gateway.name == "hmac" else OTHERS)
    with pytest.raises(NoticeRefused):
        gateway.read(headers, body, NOW_MS)
    headers, body = make()
    for index in range(0, len(body), 7):
        try:
            payment = gateway.read(headers, body[:index] + bytes([body[index] ^ 1]) + body[index + 1 :], NOW_MS)
        except NoticeRefused:
            continue
        # Alipay does not sign the signature's type, nor the names of fields without a value.
        assert gateway.name == "alipay"
        assert payment == Payment("alipay", "r1", "t1", 12_340_000)
    for name in headers:
        with pytest.raises(NoticeRefused):
            gateway.read({key: value for key, value in headers.items() if key != name}, body, NOW_MS)
        with pytest.raises(NoticeRefused):
            gateway.read(headers | {name: "é"}, body, NOW_MS)


@pytest.mark.parametrize(
    ("gateway", "notice"),
    [
        (GATEWAYS[0][0], _hmac(currency="USD")),
        (GATEWAYS[1][0], _wechat(amount={"total": 1234, "currency": "USD"})),
        (GATEWAYS[2][0], _alipay(trans_currency="USD")),
    ],
)
def test_another_currency_is_taken_for_ours(gateway: Gateway, notice: Notice) -> None:
    payment = gateway.read(*notice, NOW_MS)
    assert payment is not None
    assert payment.currency == "USD"


@pytest.mark.parametrize(("gateway", "make"), GATEWAYS[:2])
def test_an_old_notice_is_played_again(gateway: Gateway, make: Callable[..., Notice]) -> None:
    for off_ms in (-301_000, 301_000):
        with pytest.raises(NoticeRefused):
            gateway.read(*make(at_ms=NOW_MS + off_ms), NOW_MS)


@pytest.mark.parametrize(
    ("gateway", "notice"),
    [
        (GATEWAYS[0][0], _hmac(state="refunded")),
        (GATEWAYS[1][0], _wechat(trade_state="REFUND")),
        (GATEWAYS[2][0], _alipay(trade_status="WAIT_BUYER_PAY")),
    ],
)
def test_what_is_no_payment_is_money(gateway: Gateway, notice: Notice) -> None:
    assert gateway.read(*notice, NOW_MS) is None


@pytest.mark.parametrize(
    ("gateway", "notice"),
    [
        (GATEWAYS[0][0], _hmac(amount_micro="12")),
        (GATEWAYS[1][0], _wechat(mchid="another")),
        (GATEWAYS[0][0], _hmac(currency="yuan")),
        (GATEWAYS[0][0], _hmac(reference="\x00")),
        (GATEWAYS[0][0], _hmac(trade="t" * 65)),
        (GATEWAYS[2][0], _alipay(app_id="another")),
        (GATEWAYS[2][0], _alipay(total_amount="1e3")),
        (GATEWAYS[2][0], _alipay(total_amount="-1")),
    ],
)
def test_a_signed_notice_of_something_else_is_money(gateway: Gateway, notice: Notice) -> None:
    with pytest.raises(NoticeRefused):
        gateway.read(*notice, NOW_MS)
