"""The languages in which problems are said. Without a wish it is English: the console asks for Chinese by itself."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files

_RANGE = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]{1,32})?\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?)\s*)?", re.ASCII)
RANGES_MAX = 20
"""Of an Accept-Language header; what follows is not read."""


class Language(StrEnum):
    ENGLISH = "en"
    CHINESE = "zh-CN"


@dataclass(frozen=True, slots=True)
class Catalogue:
    titles: dict[int, str]
    """By status."""
    details: dict[str, str]
    """By code."""


def _read(language: Language) -> Catalogue:
    name = language.value.replace("-", "_")
    path = files("admin_api.common") / "messages" / f"{name}.toml"
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return Catalogue({int(status): title for status, title in content["titles"].items()}, content["details"])


CATALOGUES = {language: _read(language) for language in Language}


def wished(accept_language: str) -> Language:
    """The language of an Accept-Language header (RFC 9110 §12.5.4) that we speak; English where it names none."""
    best, weight = Language.ENGLISH, 0.0
    for part in accept_language.split(",")[:RANGES_MAX]:
        if (match := _RANGE.fullmatch(part)) is None:
            continue
        language = {"zh": Language.CHINESE, "en": Language.ENGLISH}.get(match[1].lower())
        quality = 1.0 if match[2] is None else float(match[2])
        if language is not None and quality > weight:
            best, weight = language, quality
    return best
