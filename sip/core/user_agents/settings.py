"""What a user agent is told once, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from sip.core.transactions.timers import TimerSettings

# What the user agent itself or its transaction user can answer; PRACK comes with the extension 100rel.
METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "UPDATE", "REFER", "NOTIFY", "MESSAGE", "REGISTER")


@dataclass(frozen=True, slots=True)
class UserAgentSettings:
    """Fixed for the life of a user agent.

    `local_ipv4` and `local_ipv6` are the advertised (host, port) for Via and Contact of each address family, IPv6
    without brackets; None where the family is not in use. `local_tcp_port` and `local_tls_port` stand for its port
    there, 0 meaning the same. A request of more than `tcp_from_octets` goes by TCP instead of UDP (RFC 3261 §18.1.1),
    and by UDP again where that meets no listener; 0 where there is no TCP. `extensions` are the option tags
    for Supported and Require; "100rel" and "timer" wake up what the user agent does of them by itself (RFC 3262,
    RFC 4028). `session_expires_seconds` is the interval that we ask for and grant, above the minimum that we take.
    """

    local_ipv4: tuple[str, int] | None = None
    local_ipv6: tuple[str, int] | None = None
    local_tcp_port: int = 0
    local_tls_port: int = 0
    tcp_from_octets: int = 0
    timers: TimerSettings = field(default_factory=TimerSettings)
    transactions_max: int = 200_000  # 64*T1 of lingering ones is most of it: some 100 for each call a second
    sessions_max: int = 20_000
    max_message_octets: int = 16_384
    user_agent: str = "axbridge"
    methods: tuple[str, ...] = METHODS
    extensions: tuple[str, ...] = ()
    content_types: tuple[str, ...] = ("application/sdp",)  # of an INVITE's body; others are refused with 415
    retry_after_seconds: int = 10
    session_expires_seconds: int = 1800
    session_expires_seconds_min: int = 90


@dataclass(slots=True)
class Counters:
    """Each only grows. The names say what happened to a message."""

    requests: int = 0
    responses: int = 0
    malformed: int = 0  # unparseable, whether or not it could be answered
    ignored: int = 0  # not SIP, or a peer's message nothing is to be done about
    keep_alives: int = 0
    too_large: int = 0
    retransmissions_absorbed: int = 0
    retransmissions_sent: int = 0
    stray_acks: int = 0
    unmatched_responses: int = 0
    merged_requests: int = 0
    unknown_dialogs: int = 0
    out_of_order: int = 0
    refused_overload: int = 0
    refused: int = 0  # other refusals by the user agent itself: 405, 416, 420, 483, …
    forked_answers: int = 0
    transport_failures: int = 0
    moved_to_tcp: int = 0
    fallen_back_to_udp: int = 0
    refreshes_sent: int = 0
    sessions_expired: int = 0
