import pytest

from engine.domain.people.totp import code_at, enrolment_uri, matching_step

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "code"),
    # RFC 6238 appendix B, SHA-1, the last six digits of eight.
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_a_code_is_not_the_rfcs(seconds: int, code: str) -> None:
    assert code_at(SECRET, seconds // 30) == code
    assert matching_step(SECRET, code, seconds * 1000, after=0) == seconds // 30


def test_a_code_before_the_last_one_is_taken() -> None:
    step = 100
    assert matching_step(SECRET, code_at(SECRET, step - 1), step * 30_000, after=0) == step - 1
    assert matching_step(SECRET, code_at(SECRET, step - 1), step * 30_000, after=step - 1) is None
    assert matching_step(SECRET, code_at(SECRET, step - 2), step * 30_000, after=0) is None
    assert matching_step(SECRET, code_at(SECRET, step + 2), step * 30_000, after=0) is None


@pytest.mark.parametrize("code", ["", "1", "zzzzzz", "２８７０８２", "\u0000" * 6])
def test_a_code_of_another_shape_matches(code: str) -> None:
    assert matching_step(SECRET, code, 59_000, after=-1) is None


def test_a_login_breaks_the_uri() -> None:
    assert enrolment_uri(SECRET, "a b&c", "axbridge") == (
        "otpauth://totp/axbridge:a%20b%26c?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=axbridge"
    )
