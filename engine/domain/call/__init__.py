"""The call machine: what a call is, and what it does at each event."""

from engine.domain.call.base import CallPolicy, CallState, milliseconds
from engine.domain.call.machine import TRANSITIONS, Call

__all__ = ["TRANSITIONS", "Call", "CallPolicy", "CallState", "milliseconds"]
