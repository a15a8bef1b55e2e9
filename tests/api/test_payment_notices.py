"""Payment providers' notices over HTTP, signed with real keys: credited once, refused aloud, and always on record."""

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.payments.gateways import open_gateways
from engine.settings import PaymentSettings

from .conftest import World

OURS, OTHERS = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
HMAC_KEY, API_KEY = b"h" * 32, b"k" * 32
SERIAL = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"

Notice = tuple[dict[str, str], bytes]
Make = Callable[..., Notice]


def _sign(text: bytes, key: rsa.RSAPrivateKey) -> str:
    return base64.b64encode(key.sign(text, PKCS1v15(), SHA256())).decode()


def _hmac(
    reference: str, now_ms: int, *, trade: str = "T1", fen: int = 1234, currency: str = "CNY", forged: bool = False
) -> Notice:
    fields = {"reference": reference, "trade": trade, "amount_micro": fen * 10_000, "state": "paid"}
    body, timestamp = json.dumps(fields | {"currency": currency}).encode(), str(now_ms // 1000)
    key = b"x" * 32 if forged else HMAC_KEY
    signature = hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"x-timestamp": timestamp, "x-signature": signature}, body


def _wechat(
    reference: str, now_ms: int, *, trade: str = "T1", fen: int = 1234, currency: str = "CNY", forged: bool = False
) -> Notice:
    inner = {"mchid": "m", "out_trade_no": reference, "transaction_id": trade, "trade_state": "SUCCESS"}
    inner_octets = json.dumps(inner | {"amount": {"total": fen, "currency": currency}}).encode()
    sealed = AESGCM(API_KEY).encrypt(b"n" * 12, inner_octets, b"transaction")
    resource = {"ciphertext": base64.b64encode(sealed).decode(), "nonce": "n" * 12, "associated_data": "transaction"}
    body, timestamp = json.dumps({"id": "x", "resource": resource}).encode(), str(now_ms // 1000)
    headers = {"Wechatpay-Timestamp": timestamp, "Wechatpay-Nonce": "q", "Wechatpay-Serial": SERIAL}
    signed = f"{timestamp}\nq\n".encode() + body + b"\n"
    return headers | {"Wechatpay-Signature": _sign(signed, OTHERS if forged else OURS)}, body


def _alipay(
    reference: str, _now_ms: int, *, trade: str = "T1", fen: int = 1234, currency: str = "", forged: bool = False
) -> Notice:
    fields = {"app_id": "a", "out_trade_no": reference, "trade_no": trade, "trade_status": "TRADE_SUCCESS"}
    fields |= {"total_amount": f"{fen // 100}.{fen % 100:02}", "subject": "话费", "trans_currency": currency}
    text = "&".join(f"{name}={value}" for name, value in sorted(fields.items()) if value)
    signature = _sign(text.encode(), OTHERS if forged else OURS)
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    return headers, urlencode(fields | {"sign": signature, "sign_type": "RSA2"}).encode()


MAKERS: dict[str, tuple[Make, str, str]] = {
    "hmac": (_hmac, '{"accepted":true}', '{"accepted":false}'),
    "wechat": (_wechat, "", '{"code":"FAIL","message":"失败"}'),
    "alipay": (_alipay, "success", "failure"),
}
each = pytest.mark.parametrize("provider", MAKERS)


@pytest.fixture
async def paid_world(world: World, tmp_path: Path) -> World:
    """The world, where all three providers are set up by files."""
    (tmp_path / "keys").mkdir()
    pem = OURS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, octets in (
        ("hmac.key", HMAC_KEY + b"\n"),
        ("wechat.key", API_KEY + b"\n"),
        ("alipay.pem", pem),
        (f"keys/{SERIAL}.pem", pem),
    ):
        (tmp_path / name).write_bytes(octets)
        (tmp_path / name).chmod(0o600)
    payments = PaymentSettings(
        hmac_key_file=str(tmp_path / "hmac.key"),
        wechat_merchant_id="m",
        wechat_api_key_file=str(tmp_path / "wechat.key"),
        wechat_keys_folder=str(tmp_path / "keys"),
        alipay_app_id="a",
        alipay_key_file=str(tmp_path / "alipay.pem"),
    )
    world.app.state.context = dataclasses.replace(world.context, gateways=open_gateways(payments))
    return world


async def _order(world: World, provider: str, *, key: str = "k") -> dict[str, Any]:
    body = {"amount_micro": 1234 * 10_000, "key": key, "provider": provider}
    answer = await world.ask("tenant1", "POST", "/api/tenant/recharges", json=body)
    assert answer.status_code == 201, answer.text
    order: dict[str, Any] = answer.json()
    return order


async def _tell(world: World, provider: str, notice: Notice) -> tuple[int, str]:
    headers, body = notice
    answer = await world.client.post(f"/payment-notices/{provider}", headers=headers, content=body)
    return answer.status_code, answer.text


async def _balance(world: World) -> int:
    account = (await world.ask("tenant1", "GET", "/api/tenant/account")).json()
    micro: int = account["balance_micro"]
    return micro


async def _log(world: World) -> list[dict[str, Any]]:
    answer = await world.ask("platform", "GET", "/api/platform/audit?entity=payment_notices")
    return list(reversed(answer.json()["items"]))


@each
async def test_a_payment_is_credited_twice_or_never(paid_world: World, provider: str) -> None:
    make, accepted, _ = MAKERS[provider]
    order = await _order(paid_world, provider)
    before = await _balance(paid_world)
    notice = make(order["reference"], paid_world.now_ms)
    answers = await asyncio.gather(*(_tell(paid_world, provider, notice) for _ in range(8)))
    assert set(answers) == {(200, accepted)}
    paid_world.now_ms += 20_000
    assert await _tell(paid_world, provider, make(order["reference"], paid_world.now_ms)) == (200, accepted)
    assert await _balance(paid_world) == before + 1234 * 10_000
    (shown,) = [
        each
        for each in (await paid_world.ask("tenant1", "GET", "/api/tenant/recharges")).json()["items"]
        if each["id"] == order["id"]
    ]
    assert (shown["state"], shown["confirmed_by"]) == ("credited", None)
    entries = await _log(paid_world)
    assert [(entry["action"], entry["entity_id"], entry["tenant_id"]) for entry in entries] == [
        ("payment.credited", f"{provider}:T1", 1),
        ("payment.repeated", f"{provider}:T1", 1),
    ]
    assert {(entry["actor_kind"], entry["actor"]) for entry in entries} == {("system", f"payments of {provider}")}
    changes = (await paid_world.ask("platform", "GET", "/api/platform/audit?entity=recharges")).json()["items"]
    assert changes[0]["after"]["state"] == "credited"


@each
async def test_a_forged_notice_is_believed_or_fills_the_log(paid_world: World, provider: str) -> None:
    make, accepted, refused = MAKERS[provider]
    order = await _order(paid_world, provider)
    before = await _balance(paid_world)
    for _ in range(5):
        notice = make(order["reference"], paid_world.now_ms, forged=True)
        assert await _tell(paid_world, provider, notice) == (400, refused)
    assert len(await _log(paid_world)) == 1
    paid_world.now_ms += 60_000
    assert await _tell(paid_world, provider, ({}, b"\xff\x00 no notice")) == (400, refused)
    entries = await _log(paid_world)
    assert [(entry["action"], entry["after"]["count"]) for entry in entries] == [
        ("payment.refused", 1),
        ("payment.refused", 5),
    ]
    assert order["reference"] not in json.dumps(entries)
    assert await _balance(paid_world) == before
    assert await _tell(paid_world, provider, make(order["reference"], paid_world.now_ms)) == (200, accepted)


@each
@pytest.mark.parametrize(
    ("change", "action"),
    [
        ({"fen": 1235}, "payment.other_amount"),
        ({"fen": 1}, "payment.other_amount"),
        ({"currency": "USD"}, "payment.other_currency"),
    ],
)
async def test_another_amount_or_currency_is_credited(
    paid_world: World, provider: str, change: dict[str, Any], action: str
) -> None:
    make, accepted, refused = MAKERS[provider]
    order = await _order(paid_world, provider)
    before = await _balance(paid_world)
    for _ in range(3):
        notice = make(order["reference"], paid_world.now_ms, **change)
        assert await _tell(paid_world, provider, notice) == (409, refused)
    assert await _balance(paid_world) == before
    (entry,) = await _log(paid_world)
    assert (entry["action"], entry["tenant_id"], entry["after"]["recharge_id"]) == (action, 1, order["id"])
    # The order still waits, and its right payment is credited.
    assert await _tell(paid_world, provider, make(order["reference"], paid_world.now_ms, trade="T2")) == (200, accepted)
    assert await _balance(paid_world) == before + 1234 * 10_000


@each
async def test_an_order_that_is_nobody_s_another_s_or_paid_already(paid_world: World, provider: str) -> None:
    make, accepted, refused = MAKERS[provider]
    order, other = await _order(paid_world, provider), await _order(paid_world, "by_hand", key="other")
    second = await _order(paid_world, provider, key="second")
    before = await _balance(paid_world)
    assert await _tell(paid_world, provider, make("nobody", paid_world.now_ms)) == (409, refused)
    assert await _tell(paid_world, provider, make(other["reference"], paid_world.now_ms, trade="T2")) == (409, refused)
    assert await _tell(paid_world, provider, make(order["reference"], paid_world.now_ms, trade="T3")) == (200, accepted)
    again = make(order["reference"], paid_world.now_ms, trade="T4")
    assert await _tell(paid_world, provider, again) == (409, refused)
    elsewhere = make(second["reference"], paid_world.now_ms, trade="T3")
    assert await _tell(paid_world, provider, elsewhere) == (409, refused)
    assert [entry["action"] for entry in await _log(paid_world)] == [
        "payment.unknown_reference",
        "payment.other_provider",
        "payment.credited",
        "payment.paid_twice",
        "payment.paid_twice",
    ]
    assert await _balance(paid_world) == before + 1234 * 10_000


@each
async def test_money_for_an_order_that_was_closed_is_lost(paid_world: World, provider: str) -> None:
    make, accepted, _ = MAKERS[provider]
    order = await _order(paid_world, provider)
    before = await _balance(paid_world)
    answer = await paid_world.ask("platform", "POST", f"/api/platform/recharges/{order['id']}/close")
    assert answer.status_code == 200
    assert await _tell(paid_world, provider, make(order["reference"], paid_world.now_ms)) == (200, accepted)
    assert await _balance(paid_world) == before + 1234 * 10_000
    changes = (await paid_world.ask("tenant1", "GET", "/api/tenant/audit?entity=recharges")).json()["items"]
    assert (changes[0]["before"]["state"], changes[0]["after"]["state"]) == ("closed", "credited")


async def test_a_notice_without_end_or_for_whom_nothing_is_set_up(paid_world: World) -> None:
    status, _ = await _tell(paid_world, "hmac", ({}, b"x" * 65_537))
    assert status == 413
    status, text = await _tell(paid_world, "nobody", ({}, b""))
    assert (status, json.loads(text)["code"]) == (404, "not_found")
    assert await _log(paid_world) == []


async def test_a_recharge_is_ordered_that_nobody_could_pay(world: World) -> None:
    body = {"amount_micro": 1, "key": "k", "provider": "wechat"}
    answer = await world.ask("tenant1", "POST", "/api/tenant/recharges", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "provider_not_set_up")
    assert (await _tell(world, "wechat", ({}, b"")))[0] == 404
