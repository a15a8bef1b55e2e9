"""Phone numbers: one canonical form inside (E.164 with ``+``), the trunk's own form outside, masked for onlookers."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

CHINA = "+86"
DIALLED_LENGTH_MAX = 40
"""Longer than any number anybody dials with its separators; what is longer is refused unread."""
CACHE_ENTRIES_MAX = 16_384

_SEPARATORS = str.maketrans("", "", " -().\t")
_MAINLAND_MOBILE = re.compile(r"1[3-9][0-9]{9}")
_DIGITS = re.compile(r"\+?[0-9]{3,20}")


class InvalidNumber(ValueError):
    """Not a phone number. The text says why and does not repeat the number."""


class NumberFormat(StrEnum):
    """How a trunk wants and sends numbers."""

    E164 = "e164"  # +8613800138000
    PLAIN_86 = "plain_86"  # 8613800138000
    NATIONAL = "national"  # 13800138000, 01012345678


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def normalise(text: str) -> str:
    """E.164 with ``+`` from what a person, a trunk or a phone wrote: +86…, 0086…, 86…, 0…, or none of these.

    Without a country code a number is mainland Chinese. Raises InvalidNumber.
    """
    if len(text) > DIALLED_LENGTH_MAX:
        raise InvalidNumber("longer than any phone number")
    number = text.translate(_SEPARATORS)
    if _MAINLAND_MOBILE.fullmatch(number):
        return CHINA + number
    if not _DIGITS.fullmatch(number) or not number.isascii():
        raise InvalidNumber("empty, or holds something other than digits")
    if number.startswith("+"):
        return _international(number)
    if number.startswith("00"):
        return _international("+" + number[2:])
    if number.startswith("0"):
        # 0 is the national trunk prefix: 010… for Beijing, and 0138… for a mobile of another city.
        return _international(CHINA + number[1:])
    if number.startswith("86") and _MAINLAND_MOBILE.fullmatch(number[2:]):
        return CHINA + number[2:]
    if number.startswith("86") and len(number) >= 11:
        return _international("+" + number)
    return _international(CHINA + number)


def _international(number: str) -> str:
    if number.startswith(CHINA):
        national = number[3:].lstrip("0")
        # Mainland landlines have 10 or 11 digits with the area code, service numbers 3 to 10.
        if not 3 <= len(national) <= 12:
            raise InvalidNumber("too short or too long for mainland China")
        return CHINA + national
    if not 8 <= len(number) <= 16:  # E.164 §6.1: at most 15 digits
        raise InvalidNumber("too short or too long for an international number")
    if number[1] == "0":
        raise InvalidNumber("no country code begins with 0")
    import phonenumbers  # large tables, and seldom wanted: most numbers are mainland ones

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException as error:
        raise InvalidNumber("has no country code that exists") from error
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def to_trunk_format(number: str, number_format: NumberFormat) -> str:
    """A canonical number as a trunk wants it."""
    if number_format is NumberFormat.E164:
        return number
    if not number.startswith(CHINA):
        return number[1:] if number_format is NumberFormat.PLAIN_86 else "00" + number[1:]
    if number_format is NumberFormat.PLAIN_86:
        return number[1:]
    national = number[3:]
    if _MAINLAND_MOBILE.fullmatch(national) or len(national) < 9 or national[0] in "489":
        return national  # mobiles, short codes, 400/800/95 service numbers take no 0
    return "0" + national


def dialled_form(number: str, number_format: NumberFormat, strip_digits: int, prefix: str) -> str:
    """A canonical number as a trunk wants it dialled: in its format, digits taken off the front, a prefix put there."""
    written = to_trunk_format(number, number_format)
    if strip_digits:
        plus = "+" if written.startswith("+") else ""
        written = plus + written.removeprefix("+")[strip_digits:]
    return prefix + written


def from_trunk_format(text: str, number_format: NumberFormat) -> str:
    """The canonical number from what a trunk sent. Raises InvalidNumber.

    A trunk that writes country codes without ``+`` means one by every digit string; only a mainland mobile, which has
    one spelling without its code, is taken for what it is.
    """
    if number_format is NumberFormat.PLAIN_86 and text[:1] not in ("+", "0"):
        digits = text.translate(_SEPARATORS)
        if len(digits) <= DIALLED_LENGTH_MAX and not _MAINLAND_MOBILE.fullmatch(digits):
            return normalise("+" + digits)
    return normalise(text)


def mask(number: str | None) -> str:
    """For someone who may know that a number is there but not which: 138****1234."""
    if not number:
        return ""
    national = number.removeprefix(CHINA)
    if len(national) < 8:
        return "****"
    return f"{national[:3]}****{national[-4:]}"
