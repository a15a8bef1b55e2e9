"""Pages of lists, by key. Every list has ``sort``, ``cursor`` and ``limit``, and says by what it can be sorted. Its
answer holds ``items`` and, where there may be more, ``next`` to ask with as ``cursor``.

A handler that shows a list has ``dependencies=SORTS.given`` and takes ``wanted: GivenPage``.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.di import NamedDependency, Provide
from litestar.params import PathParameter, QueryParameter, SkipValidation
from sqlalchemy import ColumnElement
from sqlalchemy.orm import QueryableAttribute

from admin_api.common.errors import Refused
from engine.store.sorting import PageWanted

INTEGER_MAX = 2**63 - 1
"""What a column holds; Python's integers go on, and the database's driver raises."""
PAGE_DEFAULT = 100
PAGE_MAX = 500
CURSOR_LENGTH_MAX = 2000
_TEXT_LENGTH_MAX = 300
"""Of a value in a cursor: no column that is sorted by holds more."""

Id = Annotated[int, PathParameter(ge=1, le=INTEGER_MAX)]
QueryId = Annotated[int | None, QueryParameter(ge=1, le=INTEGER_MAX)]
Limit = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX, description="Items of a page at most.")]
Cursor = Annotated[str | None, QueryParameter(max_length=CURSOR_LENGTH_MAX, description="`next` of the page before.")]

SinceMs = Annotated[int | None, QueryParameter(name="from_ms", ge=0, le=INTEGER_MAX, description="At or after it.")]
BeforeMs = Annotated[int | None, QueryParameter(name="to_ms", ge=0, le=INTEGER_MAX, description="Before it.")]

Item = TypeVar("Item")


def equal(*wanted: tuple[Any, Any]) -> list[ColumnElement[bool]]:
    """The filters of a list that were given: each column's value."""
    return [column == value for column, value in wanted if value is not None]


def between(column: Any, from_ms: int | None, to_ms: int | None) -> list[ColumnElement[bool]]:
    """A list's filter by time."""
    since = [] if from_ms is None else [column >= from_ms]
    return since if to_ms is None else [*since, column < to_ms]


class Page(msgspec.Struct, Generic[Item]):
    items: list[Item]
    next: str | None = None


def page(
    rows: Sequence[Any], wanted: PageWanted, view: Callable[[Any], Item], of: Callable[[Any], Any] = lambda row: row
) -> Page[Item]:
    """``rows`` as they are shown. A full page has a next one, which may be empty. ``of`` finds in a row what it is
    sorted by."""
    is_full = bool(rows) and len(rows) >= wanted.limit
    return Page([view(row) for row in rows], cursor_after(wanted, of(rows[-1])) if is_full else None)


class Sorts:
    """By what one list can be sorted: names in the API, which rows have as attributes, and their columns.

    ``key`` is the unique one, by which rows of one value are told apart; ``default`` is a name, with ``-`` before it
    the other way round. Columns that may be null are sorted by nobody: databases differ in where they put them.
    """

    def __init__(self, default: str, key: str, **columns: ColumnElement[Any] | QueryableAttribute[Any]) -> None:
        self.default = default
        self._key = key
        self._columns: dict[str, Any] = columns
        self.allowed = [sign + name for name in columns for sign in ("", "-")]
        assert default in self.allowed, default
        assert key in columns, key

    @property
    def given(self) -> dict[str, Provide]:
        """What hands a handler its ``wanted``; its parameters are the handler's in the OpenAPI document."""

        def wanted(sort: str = self.default, cursor: str | None = None, limit: int = PAGE_DEFAULT) -> PageWanted:
            return self.wanted(sort, cursor, limit)

        words = "By what it is sorted; `-` before it: the other way round."
        wanted.__annotations__ = {
            "sort": Annotated[str, QueryParameter(description=words, schema_extra={"enum": self.allowed})],
            "cursor": Cursor,
            "limit": Limit,
            "return": PageWanted,
        }
        return {"wanted": Provide(wanted, sync_to_thread=False)}

    def wanted(self, sort: str, cursor: str | None, limit: int) -> PageWanted:
        """Raises Refused where the list cannot be sorted so, or the cursor is none of it and this order."""
        if sort not in self.allowed:
            raise Refused("sort", f"is none of {', '.join(self.allowed)}", 400, allowed=self.allowed)
        name = sort.removeprefix("-")
        names = (name,) if name == self._key else (name, self._key)
        columns = tuple(self._columns[each] for each in names)
        after = None if cursor is None else _read_cursor(cursor, sort, columns)
        return PageWanted(names, columns, sort.startswith("-"), after, limit)


GivenPage = NamedDependency[SkipValidation[PageWanted]]


def cursor_after(wanted: PageWanted, row: Any) -> str:
    """What a client asks with for the page after the one that ends with ``row``."""
    sort = ("-" if wanted.descending else "") + wanted.names[0]
    text = json.dumps([sort, *wanted.place_of(row)], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str, sort: str, columns: tuple[Any, ...]) -> tuple[Any, ...]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        parts = json.loads(text)
    except (ValueError, binascii.Error, RecursionError):
        raise Refused("cursor", "is none of ours", 400) from None
    if not isinstance(parts, list) or len(parts) != len(columns) + 1:
        raise Refused("cursor", "is none of ours", 400)
    if parts[0] != sort:
        raise Refused("cursor", f"is of the list in another order: sort by {sort} from its beginning", 400)
    if not all(_fits(value, column) for value, column in zip(parts[1:], columns, strict=True)):
        raise Refused("cursor", "is none of ours", 400)
    return tuple(parts[1:])


def _fits(value: Any, column: Any) -> bool:
    """Whether a database can compare the column with it: what it cannot hold would be a 500."""
    if column.type.python_type is int:
        return type(value) is int and -INTEGER_MAX <= value <= INTEGER_MAX
    return isinstance(value, str) and len(value) <= _TEXT_LENGTH_MAX and "\x00" not in value and value.isprintable()
