import pytest

from engine.domain.lines.number import InvalidNumber, NumberFormat, from_trunk_format, mask, normalise, to_trunk_format


@pytest.mark.parametrize(
    "written",
    [
        "13800138000",
        "+8613800138000",
        "008613800138000",
        "8613800138000",
        "013800138000",
        "138 0013 8000",
        "+86-138-0013-8000",
    ],
)
def test_a_mobile_is_the_same_number_however_it_is_written(written: str) -> None:
    assert normalise(written) == "+8613800138000"


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("010 6552 9988", "+861065529988"),
        ("+86 10 6552 9988", "+861065529988"),
        ("+86 010 6552 9988", "+861065529988"),
        ("0086 21 6552 9988", "+862165529988"),
        ("4008123123", "+864008123123"),
        ("95588", "+8695588"),
        ("+852 2345 6789", "+85223456789"),
        ("0014155552671", "+14155552671"),
    ],
)
def test_landlines_services_and_foreign_numbers(written: str, canonical: str) -> None:
    assert normalise(written) == canonical


@pytest.mark.parametrize(
    "garbage", ["", "+", "anonymous", "12", "+0123456789", "1" * 41, "13800138000a", "+999", "１３８００１３８０００"]
)
def test_what_is_no_number_is_refused_without_repeating_it(garbage: str) -> None:
    with pytest.raises(InvalidNumber) as raised:
        normalise(garbage)
    assert not garbage or garbage not in str(raised.value)


@pytest.mark.parametrize("number_format", NumberFormat)
@pytest.mark.parametrize("number", ["+8613800138000", "+861065529988", "+864008123123", "+8695588", "+85223456789"])
def test_a_trunks_format_reads_back_as_the_same_number(number: str, number_format: NumberFormat) -> None:
    assert from_trunk_format(to_trunk_format(number, number_format), number_format) == number


def test_masked_numbers_show_neither_middle_nor_short_numbers() -> None:
    assert mask("+8613812345678") == "138****5678"
    assert mask("+8610086") == "****"
    assert mask(None) == ""
