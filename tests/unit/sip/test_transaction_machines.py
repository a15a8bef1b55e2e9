"""Every state × input of the four transaction machines, driven through the classes and not read off the table.

An outcome is "STATE sent timers told": sent counts datagrams; timers are the live ones, R(esend) T(imeout) L(inger);
told is p(ass) a(ck) t(imed out) f(ailed), or FAULT. Combinations not listed leave the state and do nothing.
"""

from __future__ import annotations

import pytest

from sip.core.dialogs.session import OutgoingRequest
from sip.core.hop import Hop
from sip.core.transactions.client_invite import ClientInviteTransaction, InviteOrigin
from sip.core.transactions.client_non_invite import ClientNonInviteTransaction
from sip.core.transactions.server_invite import ServerInviteTransaction
from sip.core.transactions.server_non_invite import ServerNonInviteTransaction
from sip.core.transactions.states import Input, State
from sip.core.transactions.timers import TimerSettings
from sip.core.transactions.transaction import ACK, FAILED, PASS, TIMED_OUT, Transaction
from sip.core.transactions.transaction_layer import TransactionLayer
from sip.errors import LocalFault

HOP = Hop("udp", "10.0.0.9", 5060)
Outcomes = dict[State, dict[Input, str]]
S, I = State, Input  # noqa: E741

_CLIENT_INVITE_ENDS = {
    I.RECEIVE_2XX: "ACCEPTED 0 L p",
    I.RECEIVE_FINAL: "COMPLETED 0 L pa",
    I.TIMER_TIMEOUT: "TERMINATED 0 - t",
    I.TRANSPORT_ERROR: "TERMINATED 0 - f",
}
CLIENT_INVITE: Outcomes = {
    S.CALLING: {**_CLIENT_INVITE_ENDS, I.RECEIVE_1XX: "PROCEEDING 0 - p", I.TIMER_RESEND: "CALLING 1 R -"},
    S.PROCEEDING: {**_CLIENT_INVITE_ENDS, I.RECEIVE_1XX: "PROCEEDING 0 - p"},
    S.ACCEPTED: {I.RECEIVE_2XX: "ACCEPTED 0 - p", I.TIMER_LINGER: "TERMINATED 0 - -"},
    S.COMPLETED: {
        I.RECEIVE_FINAL: "COMPLETED 1 - -",
        I.TIMER_LINGER: "TERMINATED 0 - -",
        I.TRANSPORT_ERROR: "TERMINATED 0 - -",
    },
}
_CLIENT_NON_INVITE_ENDS = {
    I.RECEIVE_1XX: "PROCEEDING 0 - p",
    I.RECEIVE_2XX: "COMPLETED 0 L p",
    I.RECEIVE_FINAL: "COMPLETED 0 L p",
    I.TIMER_TIMEOUT: "TERMINATED 0 - t",
    I.TRANSPORT_ERROR: "TERMINATED 0 - f",
}
CLIENT_NON_INVITE: Outcomes = {
    S.TRYING: {**_CLIENT_NON_INVITE_ENDS, I.TIMER_RESEND: "TRYING 1 R -"},
    S.PROCEEDING: {**_CLIENT_NON_INVITE_ENDS, I.TIMER_RESEND: "PROCEEDING 1 R -"},
    S.COMPLETED: {I.TIMER_LINGER: "TERMINATED 0 - -"},
}
_NO_MORE_SENDING = {I.SEND_1XX: "FAULT", I.SEND_2XX: "FAULT", I.SEND_FINAL: "FAULT"}
SERVER_INVITE: Outcomes = {
    S.PROCEEDING: {
        I.RECEIVE_REQUEST: "PROCEEDING 1 - -",
        I.SEND_1XX: "PROCEEDING 1 - -",
        I.SEND_2XX: "ACCEPTED 1 RL -",
        I.SEND_FINAL: "COMPLETED 1 RT -",
        I.TRANSPORT_ERROR: "TERMINATED 0 - f",
    },
    S.ACCEPTED: {
        **_NO_MORE_SENDING,
        I.RECEIVE_ACK: "CONFIRMED 0 - p",
        I.TIMER_RESEND: "ACCEPTED 1 R -",
        I.TIMER_LINGER: "TERMINATED 0 - t",
    },
    S.COMPLETED: {
        **_NO_MORE_SENDING,
        I.RECEIVE_REQUEST: "COMPLETED 1 - -",
        I.RECEIVE_ACK: "CONFIRMED 0 L -",
        I.TIMER_RESEND: "COMPLETED 1 R -",
        I.TIMER_TIMEOUT: "TERMINATED 0 - -",
        I.TRANSPORT_ERROR: "TERMINATED 0 - -",
    },
    S.CONFIRMED: {**_NO_MORE_SENDING, I.TIMER_LINGER: "TERMINATED 0 - -"},
    S.TERMINATED: _NO_MORE_SENDING,
}
_SERVER_NON_INVITE_SENDS = {
    I.SEND_1XX: "PROCEEDING 1 - -",
    I.SEND_2XX: "COMPLETED 1 L -",
    I.SEND_FINAL: "COMPLETED 1 L -",
    I.TRANSPORT_ERROR: "TERMINATED 0 - f",
}
SERVER_NON_INVITE: Outcomes = {
    S.TRYING: _SERVER_NON_INVITE_SENDS,
    S.PROCEEDING: {**_SERVER_NON_INVITE_SENDS, I.RECEIVE_REQUEST: "PROCEEDING 1 - -"},
    S.COMPLETED: {
        **_NO_MORE_SENDING,
        I.RECEIVE_REQUEST: "COMPLETED 1 - -",
        I.TIMER_LINGER: "TERMINATED 0 - -",
        I.TRANSPORT_ERROR: "TERMINATED 0 - -",
    },
    S.TERMINATED: _NO_MORE_SENDING,
}


def _layer() -> TransactionLayer:
    return TransactionLayer(TimerSettings(), 10, [])


def _client_invite(layer: TransactionLayer, hop: Hop) -> Transaction:
    return ClientInviteTransaction(
        layer,
        "key",
        hop,
        InviteOrigin("sip:x", "z9hG4bK1", "<sip:a>", "<sip:b>", "id", 1, ""),
        None,  # type: ignore[arg-type]  # the machine never looks at its user
    )


def _client_non_invite(layer: TransactionLayer, hop: Hop) -> Transaction:
    return ClientNonInviteTransaction(layer, "key", hop, "BYE", None)


def _server_invite(layer: TransactionLayer, hop: Hop) -> Transaction:
    return ServerInviteTransaction(layer, "key", hop, 1, "", "")


def _server_non_invite(layer: TransactionLayer, hop: Hop) -> Transaction:
    return ServerNonInviteTransaction(layer, "key", hop, "BYE", 1, "", "")


MACHINES = {
    "client_invite": (_client_invite, CLIENT_INVITE),
    "client_non_invite": (_client_non_invite, CLIENT_NON_INVITE),
    "server_invite": (_server_invite, SERVER_INVITE),
    "server_non_invite": (_server_non_invite, SERVER_NON_INVITE),
}


def _outcome(machine: str, state: State, input_: Input, hop: Hop = HOP) -> str:
    layer = _layer()
    transaction = MACHINES[machine][0](layer, hop)
    transaction.state = state
    transaction.data = b"kept"
    try:
        actions = transaction.step(input_, 100.0, b"sent")
    except LocalFault:
        return "FAULT"
    names = {Input.TIMER_RESEND: "R", Input.TIMER_TIMEOUT: "T", Input.TIMER_LINGER: "L"}
    timers = "".join(sorted((names[Input(each.input)] for each in layer.timers.pop_due(1e9)), key="RTL".index))
    told = "".join(
        letter for letter, flag in (("p", PASS), ("a", ACK), ("t", TIMED_OUT), ("f", FAILED)) if actions & flag
    )
    return f"{transaction.state.name} {len(layer.datagrams)} {timers or '-'} {told or '-'}"


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_and_input(machine: str) -> None:
    expected = MACHINES[machine][1]
    for state in State:
        for input_ in Input:
            wanted = expected.get(state, {}).get(input_, f"{state.name} 0 - -")
            assert _outcome(machine, state, input_) == wanted, (state.name, input_.name)


def test_terminated_transaction_lets_go_of_its_user_and_octets() -> None:
    layer = _layer()
    user = OutgoingRequest("OPTIONS", HOP, "call", "tag")
    transaction = ClientNonInviteTransaction(layer, "key", HOP, "OPTIONS", user)
    layer.clients["key"] = transaction
    transaction.start(b"request", 0.0)
    transaction.step(Input.TRANSPORT_ERROR, 0.0)
    assert (transaction.user, transaction.data, layer.clients, len(layer.timers)) == (None, b"", {}, 0)


def test_reliable_transport_neither_resends_nor_lingers() -> None:
    tcp = Hop("tcp", "10.0.0.9", 5060)
    assert _outcome("client_non_invite", S.TRYING, I.RECEIVE_2XX, tcp) == "TERMINATED 0 - p"
    assert _outcome("server_non_invite", S.TRYING, I.SEND_2XX, tcp) == "TERMINATED 1 - -"
    assert _outcome("server_invite", S.PROCEEDING, I.SEND_FINAL, tcp) == "COMPLETED 1 T -"
    assert _outcome("server_invite", S.PROCEEDING, I.SEND_2XX, tcp) == "ACCEPTED 1 RL -"


def test_invite_is_resent_at_doubling_intervals_without_cap_and_bye_with_cap() -> None:
    for make, expected in (
        (_client_invite, [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]),
        (_client_non_invite, [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]),
    ):
        layer = _layer()
        transaction = make(layer, HOP)
        assert isinstance(transaction, ClientInviteTransaction | ClientNonInviteTransaction)
        transaction.start(b"request", 0.0)
        times = []
        while (deadline := layer.timers.next_deadline()) is not None:
            for timer in layer.timers.pop_due(deadline):
                if timer.target is not None:
                    if timer.input == Input.TIMER_RESEND:
                        times.append(deadline)
                    timer.target.step(timer.input, deadline)
        assert times == expected
        assert transaction.state is State.TERMINATED
