"""The receiver's side is the guide's own code, so that the guide is right."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.webhooks.sealing import SealBroken, seal, unseal
from engine.webhooks.signature import headers, secret_octets, secret_text

SECRET = b"s" * 32
BODY = b'{"id":"cdr.ended:1"}'
GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "webhooks.md"


@pytest.fixture
def verify() -> Callable[..., str]:
    snippet = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert snippet is not None
    names: dict[str, Any] = {}
    exec(snippet[1], names)
    found: Callable[..., str] = names["verify"]
    return found


def signed(at_seconds: int) -> dict[str, str]:
    return headers(SECRET, "cdr.ended:1", at_seconds, BODY)


def test_a_receiver_that_follows_the_guide_refuses_us(verify: Callable[..., str]) -> None:
    assert verify(secret_text(SECRET), signed(int(time.time())), BODY) == "cdr.ended:1"


def test_an_old_message_is_taken_again(verify: Callable[..., str]) -> None:
    for seconds in (-400, 400):
        with pytest.raises(ValueError, match="old"):
            verify(secret_text(SECRET), signed(int(time.time()) + seconds), BODY)


@pytest.mark.parametrize("change", ["webhook-id", "webhook-timestamp", "body", "secret"])
def test_a_changed_message_is_taken(verify: Callable[..., str], change: str) -> None:
    message, body, secret = signed(int(time.time())), BODY, SECRET
    if change == "body":
        body += b" "
    elif change == "secret":
        secret = b"t" * 32
    else:
        message[change] = {"webhook-id": "cdr.ended:2", "webhook-timestamp": str(int(time.time()) + 1)}[change]
    with pytest.raises(ValueError, match="not signed"):
        verify(secret_text(secret), message, body)


def test_a_standard_receiver_refuses_us() -> None:
    # The example in Standard Webhooks' and Svix's documentation.
    key = secret_octets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    message = headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert message["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_stolen_seal_opens_for_another_tenant_or_key() -> None:
    sealed = seal(b"k" * 32, SECRET, 1, b"n" * 12)
    assert SECRET not in sealed.encode()
    assert unseal(b"k" * 32, sealed, 1) == SECRET
    for key, text, tenant_id in (
        (b"j" * 32, sealed, 1),
        (b"k" * 32, sealed, 2),
        (b"k" * 32, "", 1),
        (b"k" * 32, "é", 1),
    ):
        with pytest.raises(SealBroken):
            unseal(key, text, tenant_id)
