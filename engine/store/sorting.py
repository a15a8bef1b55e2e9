"""One page of a list: in which order, from which row on. By key and never by offset: a page costs the same however
deep it lies, and rows that come or go meanwhile neither double nor lose another."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, tuple_
from sqlalchemy.orm import QueryableAttribute

PAGE_ROWS_MAX = 500
"""Rows of one page; more is asked for page by page."""

Sorted = ColumnElement[Any]
_Row = TypeVar("_Row")
_Statement = TypeVar("_Statement", bound=Select[*tuple[Any, ...]])


@dataclass(frozen=True, slots=True)
class PageWanted:
    """``columns`` are sorted by, the last of them unique; ``names`` are what a row's attributes are called."""

    names: tuple[str, ...]
    columns: tuple[Sorted, ...]
    descending: bool
    after: tuple[Any, ...] | None
    """The columns of the last row of the page before."""
    limit: int

    @classmethod
    def by(
        cls, *columns: QueryableAttribute[Any], limit: int, descending: bool = False, after: Sequence[Any] | None = None
    ) -> PageWanted:
        """By columns that rows have under their own names."""
        names = tuple(column.key for column in columns)
        sorted_by = tuple(column.expression for column in columns)
        return cls(names, sorted_by, descending, None if after is None else tuple(after), limit)

    def of(self, statement: _Statement) -> _Statement:
        """The page's part of ``statement``, which selects the rows of the whole list in no order."""
        if self.after is not None:
            statement = statement.where(self.beyond())
        order = (column.desc() if self.descending else column.asc() for column in self.columns)
        return statement.order_by(*order).limit(self.rows_max)

    def beyond(self) -> ColumnElement[bool]:
        """The condition that a row comes after the page before."""
        assert self.after is not None
        if len(self.columns) == 1:
            column, value = self.columns[0], self.after[0]
            beyond: ColumnElement[bool] = column < value if self.descending else column > value
            return beyond
        place = tuple_(*self.columns)
        found: ColumnElement[bool] = place < self.after if self.descending else place > self.after
        return found

    def of_rows(self, rows: Sequence[_Row]) -> list[_Row]:
        """The page of a list that is at hand as a whole, and short."""
        found = sorted(rows, key=self.place_of, reverse=self.descending)
        if (after := self.after) is not None:
            has_passed = operator.lt if self.descending else operator.gt
            found = [row for row in found if has_passed(self.place_of(row), after)]
        return found[: self.rows_max]

    def place_of(self, row: Any) -> tuple[Any, ...]:
        return tuple(getattr(row, name) for name in self.names)

    @property
    def rows_max(self) -> int:
        return min(self.limit, PAGE_ROWS_MAX)
