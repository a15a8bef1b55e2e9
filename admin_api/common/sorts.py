"""By what the lists are sorted that more than one audience's own handlers show."""

from __future__ import annotations

from admin_api.common.paging import Sorts
from engine.store.tables import LedgerEntry, Line

LEDGER_SORTS = Sorts("-id", "id", id=LedgerEntry.transaction_id)
LINE_SORTS = Sorts("id", "id", id=Line.id, code=Line.code, name=Line.name)
