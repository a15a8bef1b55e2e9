"""Handlers reach the database by their context alone: so they are confined to who asks, and their changes on record."""

import ast
from pathlib import Path

import admin_api

ROOT = Path(admin_api.__file__).parent
ELSEWHERE = {
    "main.py": {"open_database"},
    "common/context.py": {"reading_session", "writing_session"},
    "common/errors.py": {"taken_columns"},
    # Before it is known who asks, or to find that out.
    "common/auth.py": {"reading", "writing"},
    "session/login.py": {"reading", "writing"},
    "session/me.py": {"reading"},
    "platform/jumps.py": {"reading"},
    # By a signature, which says which recording.
    "recordings.py": {"reading"},
    # Machines, which say who they are.
    "housekeeping.py": {"reading_session", "writing", "writing_session"},
    "number_keeping.py": {"reading_session", "writing_session"},
}


def _opened(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "engine.store.database"
        for alias in node.names
    }


def test_a_handler_passes_confinement_and_audit_by() -> None:
    found = {str(path.relative_to(ROOT)): names for path in ROOT.rglob("*.py") if (names := _opened(path))}
    assert found == ELSEWHERE


def test_a_machine_changes_something_under_no_name() -> None:
    """But for bindings that end at their time, which is on record since it was set."""
    unnamed = []
    for file in ("housekeeping.py", "number_keeping.py"):
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "writing_session" and len(node.args) < 3:
                unnamed.append(file)
    assert unnamed == ["housekeeping.py"]
