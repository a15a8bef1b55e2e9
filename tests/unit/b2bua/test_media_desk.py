"""What the plane is asked for, by what is known of a call's two sides."""

from __future__ import annotations

import pytest

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.media_desk import MediaDesk, MediaNeeds, media_needs
from engine.domain.events import Leg
from media.plane import Accepted, Offer, Srtp


@pytest.mark.parametrize(
    ("hosts", "srtp", "needs"),
    [
        (["192.0.2.1", "2001:db8::1", "192.0.2.2"], "off", MediaNeeds((4, 6))),
        (["2001:db8::1"], "offered", MediaNeeds((6,), Srtp.OFFERED)),
        ([], "required", MediaNeeds((), Srtp.REQUIRED)),
        ([], "a word of a later version", MediaNeeds((), Srtp.REQUIRED)),
    ],
)
def test_needs_of_a_side(hosts: list[str], srtp: str, needs: MediaNeeds) -> None:
    assert media_needs(hosts, srtp) == needs


def test_offer_says_what_each_side_needs() -> None:
    """A trunk that requires SRTP must offer it, and is offered it by whoever is at the other side."""
    desk, active = MediaDesk(), ActiveCall.__new__(ActiveCall)  # nothing else of the call is looked at
    active.call_id = "call"
    active.transfer = None
    active.media_needs = {Leg.CALLER: MediaNeeds((4,)), Leg.CALLEE: MediaNeeds((6, 4), Srtp.REQUIRED)}
    desk.offer(active, Leg.CALLER, b"offer")
    desk.offer(active, Leg.CALLEE, b"offer")
    first, second = desk.commands
    assert isinstance(first, Offer)
    assert isinstance(second, Offer)
    assert (first.families, first.srtp, first.srtp_required) == ((6, 4), Srtp.REQUIRED, False)
    assert (second.families, second.srtp, second.srtp_required) == ((4,), Srtp.OFF, True)
    assert desk.claim(Accepted(first.cookie, b"six", {6: b"six", 4: b"four"})) == (active, Offer)
    assert active.offers == {6: b"six", 4: b"four"}
    assert desk.claim(Accepted(first.cookie, b"again")) is None
