"""Every code that a problem can be raised with, as the source says it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from admin_api.common.errors import CODES_OF_STATUSES

ROOT = Path(__file__).parents[2]
_REFUSALS = {"Refusal", "NotNow"}


def _literals(node: ast.AST) -> Iterator[str]:
    """The code of a call that raises or answers a problem; a code that is put together is refused here."""
    if not isinstance(node, ast.Call):
        return
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
    is_super = name == "__init__" and len(node.args) >= 3
    if name in _REFUSALS or is_super:
        given += node.args[:1]
    elif name not in {"problem", "Refused"}:
        return
    for code in given:
        if isinstance(code, ast.Constant) and isinstance(code.value, str):
            yield code.value
        elif not is_super and not isinstance(code, ast.Attribute | ast.Name | ast.IfExp | ast.Call):
            raise AssertionError(f"a code must be a literal: {ast.unparse(node)}")


def raised_codes() -> set[str]:
    codes = set(CODES_OF_STATUSES.values())
    for folder in ("admin_api", "engine/services", "engine/domain"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                codes |= {code for code in _literals(node) if code.replace(".", "").replace("_", "").isalnum()}
    return codes
