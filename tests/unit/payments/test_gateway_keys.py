"""[payments]: half a provider, a key that others read, a key that is none: said at the start, without the key."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from engine.payments.gateways import open_gateways
from engine.settings import PaymentSettings, SettingsError

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider")])
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, RSA.public_key(), 1, begins, begins + timedelta(days=1))
    return builder.sign(RSA, SHA256()).public_bytes(Encoding.PEM)


def _file(folder: Path, name: str, octets: bytes, mode: int = 0o600) -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(octets)
    path.chmod(mode)
    return str(path)


def test_nothing_is_set_or_everything(tmp_path: Path) -> None:
    assert open_gateways(PaymentSettings()) == {}
    _file(tmp_path, "keys/A1.pem", _pem(RSA))
    _file(tmp_path, "keys/B2.pem", _certificate())
    settings = PaymentSettings(
        hmac_key_file=_file(tmp_path, "h", b"h" * 32),
        wechat_merchant_id="m",
        wechat_api_key_file=_file(tmp_path, "w", b"k" * 32 + b"\r\n"),
        wechat_keys_folder=str(tmp_path / "keys"),
        alipay_app_id="a",
        alipay_key_file=_file(tmp_path, "a", _certificate(), 0o644),
    )
    assert set(open_gateways(settings)) == {"hmac", "wechat", "alipay"}


@pytest.mark.parametrize(
    ("key", "octets", "mode", "words"),
    [
        ("hmac_key_file", b"too short a key", 0o600, "shorter than 32"),
        ("hmac_key_file", b"s3cret" * 10, 0o640, "others may read it"),
        ("hmac_key_file", b"s3cret" * 10_000, 0o600, "too long"),
        ("hmac_key_file", None, 0, "cannot be read"),
        ("alipay_key_file", b"s3cret", 0o600, "neither a public key"),
        ("alipay_key_file", b"-----BEGIN CERTIFICATE-----\ns3cret", 0o600, "neither a public key"),
        ("alipay_key_file", _pem(ec.generate_private_key(ec.SECP256R1())), 0o600, "no RSA key"),
        ("alipay_key_file", _pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)), 0o600, "no RSA key"),
        ("wechat_api_key_file", b"s3cret" * 10, 0o600, "32 characters"),
    ],
)
def test_a_key_that_cannot_be_one(tmp_path: Path, key: str, octets: bytes | None, mode: int, words: str) -> None:
    path = str(tmp_path / "none") if octets is None else _file(tmp_path, "key", octets, mode)
    others = {"alipay_app_id": "a"} if key.startswith("alipay") else {}
    if key.startswith("wechat"):
        others = {"wechat_merchant_id": "m", "wechat_keys_folder": str(tmp_path)}
    with pytest.raises(SettingsError, match=words) as raised:
        open_gateways(PaymentSettings(**{key: path}, **others))
    assert f"payments.{key}" in str(raised.value)
    assert path in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_half_a_provider_or_an_empty_folder_of_keys(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="wechat_api_key_file is missing"):
        open_gateways(PaymentSettings(wechat_merchant_id="m"))
    file = _file(tmp_path, "w", b"k" * 32)
    settings = PaymentSettings(
        wechat_merchant_id="m", wechat_api_key_file=file, wechat_keys_folder=str(tmp_path / "none")
    )
    with pytest.raises(SettingsError, match=r"holds no <serial>\.pem"):
        open_gateways(settings)
