"""Adding numbers to a line from a list: CSV or text, one number a row, up to ROWS_MAX of them.

Reading is work for a thread; writing goes in chunks, each a transaction of its own, so that calls' records wait for
one chunk and not for the whole list. A list that was cut off in the middle is sent again: what is there stays.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.lines.number import InvalidNumber, normalise
from engine.store.tables import XNumber

ROWS_MAX = 100_000
CHUNK_ROWS = 500
PROBLEMS_TOLD_MAX = 1_000
"""Bad rows that are told one by one; the others are counted."""


class TooManyRows(Exception):
    """More than ROWS_MAX: the list is to be cut."""


@dataclass(frozen=True, slots=True)
class BadRow:
    row: int
    """Counted from 1, as a text editor does."""
    code: str
    reason: str


@dataclass(slots=True)
class ImportReport:
    rows: int = 0
    added: int = 0
    there: int = 0
    """Were on the line before."""
    bad: int = 0
    problems: list[BadRow] = field(default_factory=list)

    def blame(self, row: int, code: str, reason: str) -> None:
        self.bad += 1
        if len(self.problems) < PROBLEMS_TOLD_MAX:
            self.problems.append(BadRow(row, code, reason))


def read_rows(content: str, report: ImportReport) -> dict[str, int]:
    """Numbers by canonical form with their rows; what cannot be read is blamed in ``report``. Raises TooManyRows.

    The first column counts; a first row without any digit there is a header. Takes seconds for a long list: call it
    in a thread.
    """
    numbers: dict[str, int] = {}
    for row, text in _cells(content):
        report.rows += 1
        if report.rows > ROWS_MAX:
            raise TooManyRows
        try:
            number = normalise(text)
        except InvalidNumber as error:
            report.blame(row, "not_a_number", str(error))
            continue
        if number in numbers:
            report.blame(row, "twice", f"is the same number as row {numbers[number]}")
            continue
        numbers[number] = row
    return numbers


def _cells(content: str) -> Iterator[tuple[int, str]]:
    head = content[:1000]
    delimiter = next((each for each in "\t;" if each in head), ",")
    # A quote that is never closed must not swallow the rest: quotes are taken off here.
    reader = csv.reader(io.StringIO(content.removeprefix("\ufeff")), delimiter=delimiter, quoting=csv.QUOTE_NONE)
    is_first = True
    for cells in reader:
        text = cells[0].strip().strip("\"'") if cells else ""
        if not text:
            continue
        is_header = is_first and not any(character.isdigit() for character in text)
        is_first = False
        if not is_header:
            yield reader.line_num, text


def chunks(numbers: dict[str, int]) -> Iterator[dict[str, int]]:
    items = iter(numbers.items())
    while chunk := dict(islice(items, CHUNK_ROWS)):
        yield chunk


async def add_chunk(
    session: AsyncSession,
    line_id: int,
    pool_id: int | None,
    chunk: dict[str, int],
    report: ImportReport,
    now_ms: int,
) -> None:
    """Adds up to CHUNK_ROWS numbers to a line. One that is on another line is blamed, and stays there."""
    found = await session.execute(select(XNumber.number, XNumber.line_id).where(XNumber.number.in_(list(chunk))))
    there = {row.number: row.line_id for row in found}
    new: list[XNumber] = []
    for number, row in chunk.items():
        if number not in there:
            new.append(XNumber(number=number, line_id=line_id, pool_id=pool_id, idle_since_ms=now_ms))
        elif there[number] == line_id:
            report.there += 1
        else:
            report.blame(row, "on_another_line", "is a number of another line")
    session.add_all(new)
    await session.flush()
    report.added += len(new)


def told(problems: Sequence[BadRow]) -> list[BadRow]:
    """In the order of the rows."""
    return sorted(problems, key=lambda problem: problem.row)
