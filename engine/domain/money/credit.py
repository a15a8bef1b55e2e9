"""An engine's credit: leases from the database, out of which calls take their holds (RFC 8506's quota).

A lease has been set aside in the account before it is here, so what all engines' leases add up to never passes
balance + overdraft limit; what the calls of one engine hold never passes its lease. Nothing here waits or does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass


class CreditFault(Exception):
    """Our own fault: a hold released twice, or posted beyond what was held."""


@dataclass(slots=True)
class Credit:
    """One tenant's credit at this engine, in micro-units. Invariant: 0 ≤ held ≤ leased."""

    leased_micro: int = 0
    held_micro: int = 0
    posted_micro: int = 0
    """Charged since the engine started."""
    voided_micro: int = 0
    """Held and given back since the engine started: posted + voided + held = everything ever held."""

    @property
    def free_micro(self) -> int:
        return self.leased_micro - self.held_micro

    def hold(self, wanted_micro: int, least_micro: int) -> int | None:
        """Holds as much of ``wanted_micro`` as there is, but not less than ``least_micro``; None if there is less."""
        if not 0 <= least_micro <= wanted_micro:
            raise CreditFault(f"cannot hold between {least_micro} and {wanted_micro}")
        free = self.free_micro
        if free < least_micro:
            return None
        granted = min(wanted_micro, free)
        self.held_micro += granted
        return granted

    def post(self, held_micro: int, charge_micro: int) -> None:
        """Ends a hold: takes the charge out of the lease and voids the rest."""
        if not 0 <= charge_micro <= held_micro <= self.held_micro:
            raise CreditFault(f"cannot post {charge_micro} of {held_micro} held (all holds: {self.held_micro})")
        self.held_micro -= held_micro
        self.leased_micro -= charge_micro
        self.posted_micro += charge_micro
        self.voided_micro += held_micro - charge_micro

    def reduce_lease(self, amount_micro: int) -> int:
        """Gives back up to ``amount_micro`` of what is free; returns how much."""
        given = max(0, min(amount_micro, self.free_micro))
        self.leased_micro -= given
        return given
