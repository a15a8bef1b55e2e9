"""The providers that this installation takes payments of: their keys, read from the files that the settings name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from engine.payments.alipay import Alipay
from engine.payments.notice import Gateway
from engine.payments.signed_json import SignedJson
from engine.payments.wechat_pay import WeChatPay
from engine.settings import PaymentSettings, SettingsError

HMAC_KEY_OCTETS_MIN = 32
WECHAT_API_KEY_OCTETS = 32
RSA_BITS_MIN = 2048
KEY_FILE_OCTETS_MAX = 16_384
WECHAT_KEYS_MAX = 32
"""Files in the folder; WeChat Pay changes its key once in years."""


def open_gateways(settings: PaymentSettings) -> dict[str, Gateway]:
    """By provider's name; a provider of which nothing is set is not there.

    Raises SettingsError, which names key and file, and never what is in it.
    """
    gateways: list[Gateway] = []
    if _whole(settings, "hmac_key_file"):
        gateways.append(SignedJson(_secret("hmac_key_file", settings.hmac_key_file, HMAC_KEY_OCTETS_MIN)))
    if _whole(settings, "wechat_merchant_id", "wechat_api_key_file", "wechat_keys_folder"):
        api_key = _secret("wechat_api_key_file", settings.wechat_api_key_file, WECHAT_API_KEY_OCTETS)
        if len(api_key) != WECHAT_API_KEY_OCTETS:
            raise _wrong("wechat_api_key_file", settings.wechat_api_key_file, "an APIv3 key is 32 characters")
        keys = _keys_of_folder("wechat_keys_folder", settings.wechat_keys_folder)
        gateways.append(WeChatPay(keys, api_key, settings.wechat_merchant_id))
    if _whole(settings, "alipay_app_id", "alipay_key_file"):
        gateways.append(Alipay(_rsa("alipay_key_file", Path(settings.alipay_key_file)), settings.alipay_app_id))
    return {gateway.name: gateway for gateway in gateways}


def _whole(settings: PaymentSettings, *keys: str) -> bool:
    """Whether a provider's keys are set; SettingsError where some are and some are not."""
    missing = [key for key in keys if not getattr(settings, key)]
    if missing and len(missing) < len(keys):
        raise SettingsError(f"payments: {missing[0]} is missing, where {', '.join(set(keys) - set(missing))} is set")
    return not missing


def _wrong(key: str, path: str | Path, reason: str) -> SettingsError:
    return SettingsError(f"payments.{key}: {path}: {reason}")


def _read(key: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            octets = file.read(KEY_FILE_OCTETS_MAX + 1)
    except OSError as error:
        raise _wrong(key, path, f"cannot be read: {error.strerror}") from error
    if len(octets) > KEY_FILE_OCTETS_MAX:
        raise _wrong(key, path, "is too long for a key")
    return octets


def _secret(key: str, name: str, octets_min: int) -> bytes:
    """A key that the provider has too. The file's last line break is none of it."""
    path = Path(name)
    secret = _read(key, path).strip(b"\r\n")
    if path.stat().st_mode & 0o077:
        raise _wrong(key, path, "others may read it: chmod 600 it")
    if len(secret) < octets_min:
        raise _wrong(key, path, f"is shorter than {octets_min} octets")
    return secret


def _rsa(key: str, path: Path) -> RSAPublicKey:
    """A public key, or that of a certificate, in PEM."""
    octets = _read(key, path)
    try:
        is_certificate = b"BEGIN CERTIFICATE" in octets
        found = load_pem_x509_certificate(octets).public_key() if is_certificate else load_pem_public_key(octets)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _wrong(key, path, "is neither a public key nor a certificate in PEM") from error
    if not isinstance(found, RSAPublicKey) or found.key_size < RSA_BITS_MIN:
        raise _wrong(key, path, f"is no RSA key of {RSA_BITS_MIN} bits or more")
    return found


def _keys_of_folder(key: str, name: str) -> Mapping[str, RSAPublicKey]:
    """By serial number, which is the file's name: ``<serial>.pem``."""
    paths = sorted(Path(name).glob("*.pem"))
    if not paths:
        raise _wrong(key, name, "holds no <serial>.pem")
    if len(paths) > WECHAT_KEYS_MAX:
        raise _wrong(key, name, f"holds more than {WECHAT_KEYS_MAX} keys")
    return {path.stem: _rsa(key, path) for path in paths}
