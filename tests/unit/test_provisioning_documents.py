"""conf/ says what is so: each key with its default, and examples that can be read."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from engine.services.provisioning.entries import SECTIONS
from engine.settings import Settings, read_settings

CONF = Path(__file__).parents[2] / "conf"
README = (CONF / "README.md").read_text(encoding="utf-8")


def _documented_settings() -> dict[tuple[str, str], str]:
    """(table, key) → default as TOML, from the tables under "Settings"."""
    text = README.partition("## Settings")[2].partition("\n## ")[0]
    documented = {}
    for title, body in re.findall(r"### (.*)\n((?:(?!### ).*\n)*)", text):
        table = title.strip("`[]") if title.startswith("`[") else ""
        for row in re.findall(r"^\| `.*\|$", body, re.MULTILINE):
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            assert len(cells) == 6, row
            assert cells[1], row
            assert cells[4], row
            documented[table, cells[0].strip("`")] = cells[3].strip("`")
    return documented


def _settings() -> dict[tuple[str, str], Any]:
    flat: dict[tuple[str, str], Any] = {}
    for name, value in msgspec.json.decode(msgspec.json.encode(Settings())).items():
        if isinstance(value, dict):
            flat |= {(name, key): default for key, default in value.items()}
        else:
            flat["", name] = value
    return flat


def test_a_setting_is_not_documented_or_with_another_default() -> None:
    documented = {place: tomllib.loads(f"x = {text}")["x"] for place, text in _documented_settings().items()}
    assert documented == _settings()


def test_the_example_of_settings_differs_from_the_defaults() -> None:
    path = CONF / "axbridge.toml"
    assert read_settings(path, {}) == Settings()
    tree = tomllib.loads(path.read_text(encoding="utf-8"))
    assert tree == msgspec.json.decode(msgspec.json.encode(Settings())), "every key is there"


def test_a_key_of_the_provisioning_file_is_not_documented() -> None:
    documented: dict[str, dict[str, str]] = {}
    section = ""
    for row in re.findall(r"^\| .*\|$", README.partition("## Provisioning files")[2], re.MULTILINE):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if cells[0] in ("section", "---"):
            continue
        section = cells[0].strip("`") or section
        for key in re.findall(r"`(\w+)`", cells[1]):
            documented.setdefault(section, {})[key] = cells[3]
    for name, shape in SECTIONS.items():
        fields = {field.name: field for field in msgspec.structs.fields(shape)}
        assert documented.get(name, {}).keys() == fields.keys(), name
        for key, field in fields.items():
            assert (documented[name][key] == "required") == field.required, (name, key)
            if field.default not in (msgspec.NODEFAULT, UNSET, ""):
                assert str(field.default).lower() in documented[name][key].lower(), (name, key)
    assert documented.keys() == SECTIONS.keys()
