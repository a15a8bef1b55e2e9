"""What every provider's notice comes to."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

CURRENCY = "CNY"
"""Of all accounts."""
AGE_SECONDS_MAX = 300
"""Of a signed time, either way: a notice that somebody kept is not taken later (WeChat Pay's own advice)."""
BODY_OCTETS_MAX = 65_536
NAME_LENGTH_MAX = 64
"""Of a reference or a trade; WeChat Pay's and Alipay's own are 32 and 64 at most."""
_NAME = re.compile(rf"[\x20-\x7e]{{1,{NAME_LENGTH_MAX}}}", re.ASCII)


class NoticeRefused(Exception):
    """The peer's fault: not signed by the provider, too old, or not what its format says. Holds nothing of the body."""


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that the provider says it has taken. ``reference`` is ours, ``trade`` the provider's own number.

    ``amount_micro`` is in millionths of ``currency`` (ISO 4217). Raises NoticeRefused where a name is none.
    """

    provider: str
    reference: str
    trade: str
    amount_micro: int
    currency: str = CURRENCY

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.reference) or not _NAME.fullmatch(self.trade):
            raise NoticeRefused("the reference or the trade is malformed")
        if not re.fullmatch(r"[A-Z]{3}", self.currency, re.ASCII):
            raise NoticeRefused("the currency is malformed")


Headers = Mapping[str, str]
"""Names in lower case."""


class Gateway(Protocol):
    """One provider. ``read`` raises NoticeRefused; None for a genuine notice of something other than a payment."""

    name: str
    media_type: str
    """Of our answers."""
    accepted: bytes
    """What the provider wants to hear, or it tells us again."""
    refused: bytes

    def read(self, headers: Headers, body: bytes, now_ms: int) -> Payment | None: ...


def verify_rsa(key: RSAPublicKey, signature_base64: str, signed: bytes) -> None:
    """SHA256 with RSA, PKCS#1 v1.5: WeChat Pay's and Alipay's RSA2. Raises NoticeRefused."""
    try:
        key.verify(base64.b64decode(signature_base64, validate=True), signed, PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise NoticeRefused("the signature is wrong") from error


def check_age(timestamp: str, now_ms: int) -> None:
    """``timestamp`` is in seconds since the epoch."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise NoticeRefused("the time is missing")
    if abs(now_ms // 1000 - int(timestamp)) > AGE_SECONDS_MAX:
        raise NoticeRefused("the notice is too old")
