"""The types of fields in requests: all bounded, since what a column cannot hold must be a 400 and not a 500."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, structs

from admin_api.common.errors import Refused
from admin_api.common.paging import INTEGER_MAX
from engine.domain.lines.number import InvalidNumber, normalise
from engine.services.access.credentials import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN
from engine.store.money.ledger_store import AMOUNT_MICRO_MAX

Code = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", max_length=64)]
# No control characters: PostgreSQL refuses NUL, and the others have no place in a name.
Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]+\Z", max_length=200)]
Note = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]*\Z", max_length=200)]
Key = Annotated[str, Meta(pattern=r"^[\x21-\x7e]+\Z", max_length=64)]
Password = Annotated[str, Meta(min_length=PASSWORD_LENGTH_MIN, max_length=PASSWORD_LENGTH_MAX)]
Number = Annotated[str, Meta(min_length=3, max_length=40)]
RowId = Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
IncrementSeconds = Annotated[int, Meta(ge=1, le=3600)]
MinimumSeconds = Annotated[int, Meta(ge=0, le=3600)]
AmountMicro = Annotated[int, Meta(ge=0, le=AMOUNT_MICRO_MAX)]
PositiveAmountMicro = Annotated[int, Meta(ge=1, le=AMOUNT_MICRO_MAX)]
TimeMs = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
Status = Literal["active", "suspended"]
AgentStatus = Literal["active", "suspended", "left"]


def given(request: Struct) -> dict[str, Any]:
    """The fields of a request that are there."""
    return {name: value for name, value in structs.asdict(request).items() if value is not UNSET}


def canonical(text: str, field: str) -> str:
    """A number as it is stored, or Refused. The answer does not repeat it."""
    try:
        return normalise(text)
    except InvalidNumber as error:
        raise Refused(field, f"is no phone number: {error}") from error


def checked(check: Callable[[str], str], text: str, field: str) -> str:
    """``check(text)``, its ValueError as a refusal of ``field``."""
    try:
        return check(text)
    except ValueError as error:
        raise Refused(field, str(error)) from error


def apply(row: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)
