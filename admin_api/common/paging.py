"""Pages by key: an answer holds ``items`` and, where there may be more, ``next`` to ask with as ``cursor``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import PathParameter, QueryParameter

from admin_api.common.errors import Refused

INTEGER_MAX = 2**63 - 1
"""What a column holds; Python's integers go on, and the database's driver raises."""
PAGE_DEFAULT = 100
PAGE_MAX = 500

Id = Annotated[int, PathParameter(ge=1, le=INTEGER_MAX)]
QueryId = Annotated[int | None, QueryParameter(ge=1, le=INTEGER_MAX)]
Limit = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX, description="Items of a page at most.")]
Cursor = Annotated[str | None, QueryParameter(max_length=64, description="`next` of the page before.")]

Item = TypeVar("Item")


class Page(msgspec.Struct, Generic[Item]):
    items: list[Item]
    next: str | None = None


def page(rows: Sequence[Any], limit: int, view: Callable[[Any], Item], cursor_of: Callable[[Any], str]) -> Page[Item]:
    """``rows`` as they are shown. A full page has a next one, which may be empty."""
    return Page([view(row) for row in rows], cursor_of(rows[-1]) if rows and len(rows) >= limit else None)


def id_cursor(cursor: str | None) -> int | None:
    """The id after (or below) which a page begins. Refused where the cursor is none of ours."""
    if cursor is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", cursor, re.ASCII):
        raise Refused("cursor", "is none of ours", 400)
    return int(cursor)


def time_cursor(cursor: str | None) -> tuple[int, str] | None:
    """The (time, id) before which a page begins. Refused where the cursor is none of ours."""
    if cursor is None:
        return None
    match = re.fullmatch(r"([0-9]{1,18})-([A-Za-z0-9._-]{1,32})", cursor, re.ASCII)
    if match is None:
        raise Refused("cursor", "is none of ours", 400)
    return int(match[1]), match[2]
