"""Problems have a code each, and words for it in both languages."""

import pytest

from admin_api.common.language import CATALOGUES, Language, wished

from .conftest import World
from .problem_codes import raised_codes


def test_a_code_has_no_words() -> None:
    codes = raised_codes()
    assert len(codes) > 50, "the codes are not found in the source"
    for language, catalogue in CATALOGUES.items():
        assert codes - set(catalogue.details) == set(), f"add them to {language}"
    english, chinese = CATALOGUES[Language.ENGLISH], CATALOGUES[Language.CHINESE]
    assert (set(english.details), set(english.titles)) == (set(chinese.details), set(chinese.titles))
    assert not [words for words in chinese.details.values() if words.isascii()]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("zh-CN", "zh-CN"),
        ("zh-Hans-CN,zh;q=0.9", "zh-CN"),
        ("en;q=0.8, zh;q=0.9", "zh-CN"),
        ("zh;q=0", "en"),
        ("fr, en;q=0.5", "en"),
        ("*", "en"),
        (";;;q=9,\xff," + "x," * 1000, "en"),
    ],
)
def test_a_language_is_not_understood(header: str, language: str) -> None:
    assert wished(header) == language


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "words"),
    [
        ("GET", "/api/platform/tenants/99", None, "not_found", "找不到"),
        ("GET", "/api/nowhere", None, "not_found", "找不到"),
        ("GET", "/api/platform/cdrs?limit=501", None, "value.invalid", "不符合要求"),
        ("POST", "/api/platform/tenants", {"code": "t1", "name": "N"}, "value.taken", "已被占用"),
        ("PATCH", "/api/platform/agents/1", {"status": "left"}, "agent.not_offboarded", "离职"),
        ("DELETE", "/api/platform/roles/1", None, "role.built_in", "内置角色"),
        ("POST", "/api/login", {"login": "x", "password": "wrong password"}, "unauthenticated", "登录"),
    ],
)
async def test_a_problem_is_said_in_the_wrong_language(
    world: World, method: str, path: str, body: dict[str, str] | None, code: str, words: str
) -> None:
    chinese = await world.ask("platform", method, path, json=body, headers={"Accept-Language": "zh-CN,en;q=0.5"})
    english = await world.ask("platform", method, path, json=body)
    assert chinese.json()["code"] == english.json()["code"] == code, chinese.text
    assert words in chinese.json()["detail"]
    assert not [error for error in chinese.json().get("errors", ()) if error["reason"].isascii()]
    assert english.text.isascii()
    assert (chinese.headers["content-language"], english.headers["content-language"]) == ("zh-CN", "en")
