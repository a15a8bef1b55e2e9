"""Our account at a carrier, where it has given us one: for its challenges to REGISTER and to calls alike."""

from __future__ import annotations

from engine.domain.facts import TrunkFacts
from sip.core.authorization import Account, Accounts


def accounts_of(trunk: TrunkFacts) -> Accounts | None:
    """By realm, as the user agent asks; None for a trunk that knows us by our address alone."""
    registration = trunk.registration
    if registration is None:
        return None
    account = Account(registration.username, {"MD5": registration.ha1_md5, "SHA-256": registration.ha1_sha256})
    return lambda realm: account if realm == registration.realm else None
