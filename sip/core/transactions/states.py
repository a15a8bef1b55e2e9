"""The four transaction machines as tables: state × input -> next state and actions.

RFC 3261 §17 as corrected by RFC 6026 (Accepted, timers L and M). A combination that is not listed changes nothing
and does nothing; `Action.FAULT` marks what only our own code can get wrong.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class State(IntEnum):
    """States of all four machines; each uses some of them."""

    CALLING = 0  # client INVITE sent, nothing back
    TRYING = 1  # non-INVITE sent or received, no response yet
    PROCEEDING = 2
    ACCEPTED = 3  # 2xx to INVITE seen or sent (RFC 6026)
    COMPLETED = 4
    CONFIRMED = 5  # server INVITE: ACK received
    TERMINATED = 6


class Input(IntEnum):
    """What can happen to a transaction."""

    RECEIVE_REQUEST = 0  # server: the request again
    RECEIVE_ACK = 1
    RECEIVE_1XX = 2
    RECEIVE_2XX = 3
    RECEIVE_FINAL = 4  # 300..699; for non-INVITE clients 200..699 as well
    SEND_1XX = 5
    SEND_2XX = 6
    SEND_FINAL = 7  # 300..699
    TIMER_RESEND = 8  # A, E, G; and the user agent's for 2xx (RFC 3261 §13.3.1.4)
    TIMER_TIMEOUT = 9  # B, F, H
    TIMER_LINGER = 10  # D, K, M; I, J, L
    TRANSPORT_ERROR = 11


class Action(IntFlag):
    """What a transition does, in the order of execution."""

    NONE = 0
    STOP = 1  # stop resending and the time-out
    SEND = 2  # send (and keep) the message handed in
    RESEND = 4  # send the kept message once more
    START_RESEND = 8
    START_TIMEOUT = 16
    START_LINGER = 32
    PASS = 64  # hand the message to the transaction user
    ACK = 128  # build, keep and send the ACK for a 3xx-6xx
    TIMED_OUT = 256  # tell the transaction user
    FAILED = 512  # tell the transaction user: the transport failed
    FAULT = 1024  # our own code asked for the impossible


Table = dict[tuple[State, Input], tuple[State, Action]]
S, I, A = State, Input, Action  # noqa: E741  the tables below are read by column

# RFC 3261 figure 5 and RFC 6026 figure 1
CLIENT_INVITE: Table = {
    (S.CALLING, I.RECEIVE_1XX): (S.PROCEEDING, A.STOP | A.PASS),
    (S.CALLING, I.RECEIVE_2XX): (S.ACCEPTED, A.STOP | A.START_LINGER | A.PASS),
    (S.CALLING, I.RECEIVE_FINAL): (S.COMPLETED, A.STOP | A.ACK | A.START_LINGER | A.PASS),
    (S.CALLING, I.TIMER_RESEND): (S.CALLING, A.RESEND | A.START_RESEND),
    (S.CALLING, I.TIMER_TIMEOUT): (S.TERMINATED, A.TIMED_OUT),
    (S.CALLING, I.TRANSPORT_ERROR): (S.TERMINATED, A.FAILED),
    (S.PROCEEDING, I.RECEIVE_1XX): (S.PROCEEDING, A.PASS),
    (S.PROCEEDING, I.RECEIVE_2XX): (S.ACCEPTED, A.STOP | A.START_LINGER | A.PASS),
    (S.PROCEEDING, I.RECEIVE_FINAL): (S.COMPLETED, A.STOP | A.ACK | A.START_LINGER | A.PASS),
    # Started again by CANCEL only: a cancelled INVITE that stays unanswered for 64*T1 is over (§9.1).
    (S.PROCEEDING, I.TIMER_TIMEOUT): (S.TERMINATED, A.TIMED_OUT),
    (S.PROCEEDING, I.TRANSPORT_ERROR): (S.TERMINATED, A.FAILED),
    # The user agent tells a retransmission (send the ACK again) from another fork (ACK and BYE).
    (S.ACCEPTED, I.RECEIVE_2XX): (S.ACCEPTED, A.PASS),
    (S.ACCEPTED, I.TIMER_LINGER): (S.TERMINATED, A.NONE),
    (S.COMPLETED, I.RECEIVE_FINAL): (S.COMPLETED, A.RESEND),
    (S.COMPLETED, I.TIMER_LINGER): (S.TERMINATED, A.NONE),
    (S.COMPLETED, I.TRANSPORT_ERROR): (S.TERMINATED, A.NONE),
}

# RFC 3261 figure 6
CLIENT_NON_INVITE: Table = {
    (S.TRYING, I.RECEIVE_1XX): (S.PROCEEDING, A.PASS),
    (S.TRYING, I.RECEIVE_2XX): (S.COMPLETED, A.STOP | A.START_LINGER | A.PASS),
    (S.TRYING, I.RECEIVE_FINAL): (S.COMPLETED, A.STOP | A.START_LINGER | A.PASS),
    (S.TRYING, I.TIMER_RESEND): (S.TRYING, A.RESEND | A.START_RESEND),
    (S.TRYING, I.TIMER_TIMEOUT): (S.TERMINATED, A.TIMED_OUT),
    (S.TRYING, I.TRANSPORT_ERROR): (S.TERMINATED, A.FAILED),
    (S.PROCEEDING, I.RECEIVE_1XX): (S.PROCEEDING, A.PASS),
    (S.PROCEEDING, I.RECEIVE_2XX): (S.COMPLETED, A.STOP | A.START_LINGER | A.PASS),
    (S.PROCEEDING, I.RECEIVE_FINAL): (S.COMPLETED, A.STOP | A.START_LINGER | A.PASS),
    (S.PROCEEDING, I.TIMER_RESEND): (S.PROCEEDING, A.RESEND | A.START_RESEND),
    (S.PROCEEDING, I.TIMER_TIMEOUT): (S.TERMINATED, A.TIMED_OUT),
    (S.PROCEEDING, I.TRANSPORT_ERROR): (S.TERMINATED, A.FAILED),
    (S.COMPLETED, I.TIMER_LINGER): (S.TERMINATED, A.NONE),
}

# RFC 3261 figure 7 and RFC 6026 figure 2. Resending the 2xx until its ACK is the user agent's duty (§13.3.1.4); it
# is done here because the octets and the timers are here. ACCEPTED + ACK leads to CONFIRMED, where the linger timer L
# that is already running goes on absorbing late copies of the INVITE.
SERVER_INVITE: Table = {
    (S.PROCEEDING, I.RECEIVE_REQUEST): (S.PROCEEDING, A.RESEND),
    (S.PROCEEDING, I.SEND_1XX): (S.PROCEEDING, A.SEND),
    (S.PROCEEDING, I.SEND_2XX): (S.ACCEPTED, A.SEND | A.START_RESEND | A.START_LINGER),
    (S.PROCEEDING, I.SEND_FINAL): (S.COMPLETED, A.SEND | A.START_RESEND | A.START_TIMEOUT),
    (S.PROCEEDING, I.TRANSPORT_ERROR): (S.TERMINATED, A.FAILED),
    (S.ACCEPTED, I.RECEIVE_ACK): (S.CONFIRMED, A.STOP | A.PASS),
    (S.ACCEPTED, I.TIMER_RESEND): (S.ACCEPTED, A.RESEND | A.START_RESEND),
    (S.ACCEPTED, I.TIMER_LINGER): (S.TERMINATED, A.TIMED_OUT),
    (S.ACCEPTED, I.SEND_1XX): (S.ACCEPTED, A.FAULT),
    (S.ACCEPTED, I.SEND_2XX): (S.ACCEPTED, A.FAULT),
    (S.ACCEPTED, I.SEND_FINAL): (S.ACCEPTED, A.FAULT),
    (S.COMPLETED, I.RECEIVE_REQUEST): (S.COMPLETED, A.RESEND),
    (S.COMPLETED, I.RECEIVE_ACK): (S.CONFIRMED, A.STOP | A.START_LINGER),
    (S.COMPLETED, I.TIMER_RESEND): (S.COMPLETED, A.RESEND | A.START_RESEND),
    (S.COMPLETED, I.TIMER_TIMEOUT): (S.TERMINATED, A.NONE),
    (S.COMPLETED, I.TRANSPORT_ERROR): (S.TERMINATED, A.NONE),
    (S.COMPLETED, I.SEND_1XX): (S.COMPLETED, A.FAULT),
    (S.COMPLETED, I.SEND_2XX): (S.COMPLETED, A.FAULT),
    (S.COMPLETED, I.SEND_FINAL): (S.COMPLETED, A.FAULT),
    (S.CONFIRMED, I.TIMER_LINGER): (S.TERMINATED, A.NONE),
    (S.CONFIRMED, I.SEND_1XX): (S.CONFIRMED, A.FAULT),
    (S.CONFIRMED, I.SEND_2XX): (S.CONFIRMED, A.FAULT),
    (S.CONFIRMED, I.SEND_FINAL): (S.CONFIRMED, A.FAULT),
    (S.TERMINATED, I.SEND_1XX): (S.TERMINATED, A.FAULT),
    (S.TERMINATED, I.SEND_2XX): (S.TERMINATED, A.FAULT),
    (S.TERMINATED, I.SEND_FINAL): (S.TERMINATED, A.FAULT),
}

# RFC 3261 figure 8
SERVER_NON_INVITE: Table = {
    (S.TRYING, I.SEND_1XX): (S.PROCEEDING, A.SEND),
    (S.TRYING, I.SEND_2XX): (S.COMPLETED, A.SEND | A.START_LINGER),
    (S.TRYING, I.SEND_FINAL): (S.COMPLETED, A.SEND | A.START_LINGER),
    (S.TRYING, I.TRANSPORT_ERROR): (S.TERMINATED, A.FAILED),
    (S.PROCEEDING, I.RECEIVE_REQUEST): (S.PROCEEDING, A.RESEND),
    (S.PROCEEDING, I.SEND_1XX): (S.PROCEEDING, A.SEND),
    (S.PROCEEDING, I.SEND_2XX): (S.COMPLETED, A.SEND | A.START_LINGER),
    (S.PROCEEDING, I.SEND_FINAL): (S.COMPLETED, A.SEND | A.START_LINGER),
    (S.PROCEEDING, I.TRANSPORT_ERROR): (S.TERMINATED, A.FAILED),
    (S.COMPLETED, I.RECEIVE_REQUEST): (S.COMPLETED, A.RESEND),
    (S.COMPLETED, I.TIMER_LINGER): (S.TERMINATED, A.NONE),
    (S.COMPLETED, I.TRANSPORT_ERROR): (S.TERMINATED, A.NONE),
    (S.COMPLETED, I.SEND_1XX): (S.COMPLETED, A.FAULT),
    (S.COMPLETED, I.SEND_2XX): (S.COMPLETED, A.FAULT),
    (S.COMPLETED, I.SEND_FINAL): (S.COMPLETED, A.FAULT),
    (S.TERMINATED, I.SEND_1XX): (S.TERMINATED, A.FAULT),
    (S.TERMINATED, I.SEND_2XX): (S.TERMINATED, A.FAULT),
    (S.TERMINATED, I.SEND_FINAL): (S.TERMINATED, A.FAULT),
}

Compiled = tuple[tuple[tuple[State, int], ...], ...]


def compile_table(table: Table) -> Compiled:
    """The table as nested tuples of plain integers: compiled[state][input] is some 10 × faster than the dict."""
    return tuple(
        tuple(
            (transition[0], int(transition[1]))
            for transition in (table.get((state, input_), (state, Action.NONE)) for input_ in Input)
        )
        for state in State
    )
