"""A tenant's departments as a tree: each knows its path, the ids from the top down to its own, as ``/1/5/``.

So a subtree is a prefix, and "this department and below" is one condition of a query.
"""

from __future__ import annotations

DEPTH_MAX = 8
DEPARTMENTS_MAX = 1000
"""Of one tenant: moving a subtree writes each of its rows."""
HEADS_MAX = 20
"""Of one department."""

_TOP = "/"


class DepartmentCycle(Exception):
    """A department would lie below itself."""


class DepartmentTooDeep(Exception):
    """It, or one below it, would lie more than DEPTH_MAX deep."""


def path_of(parent_path: str | None, department_id: int) -> str:
    """The path of a department below ``parent_path``, None for the top. Raises DepartmentTooDeep."""
    path = f"{parent_path or _TOP}{department_id}/"
    if depth_of(path) > DEPTH_MAX:
        raise DepartmentTooDeep
    return path


def depth_of(path: str) -> int:
    """1 at the top."""
    return path.count("/") - 1


def moved(paths: list[str], department_path: str, new_parent_path: str | None) -> dict[str, str]:
    """The new path of each of ``paths``, which are those of a department and of all below it.

    Raises DepartmentCycle and DepartmentTooDeep.
    """
    if new_parent_path is not None and new_parent_path.startswith(department_path):
        raise DepartmentCycle
    old_parent_path = department_path[: department_path[:-1].rindex("/") + 1]
    new_paths = {path: (new_parent_path or _TOP) + path.removeprefix(old_parent_path) for path in paths}
    if any(depth_of(path) > DEPTH_MAX for path in new_paths.values()):
        raise DepartmentTooDeep
    return new_paths
