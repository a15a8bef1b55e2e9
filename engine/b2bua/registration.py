"""REGISTER from softphones: authenticated by digest, kept by the registrar, looked up when an agent is called."""

from __future__ import annotations

from dataclasses import dataclass

from engine.b2bua.admission import Admission, Refusal
from engine.domain.directory import Directory
from sip.core.hop import Hop
from sip.core.message import Request
from sip.core.registrar import Registrar
from sip.errors import PeerFault

RINGING_TOGETHER_MAX = 8
"""Softphones of one agent that one call rings; each costs an INVITE."""


@dataclass(frozen=True, slots=True)
class RegisterAnswer:
    status: int
    headers: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RegisteredContact:
    """Where to reach a softphone: its own contact in the Request-URI, sent to where its REGISTER came from."""

    uri: str
    hop: Hop
    username: str


class Registration:
    """The address of record is the account's user name: whoever proves the account registers that and nothing else."""

    def __init__(self, directory: Directory, admission: Admission, registrar: Registrar) -> None:
        self._directory = directory
        self._admission = admission
        self._registrar = registrar

    def __len__(self) -> int:
        """Addresses of record with a contact."""
        return len(self._registrar)

    def receive(self, request: Request, source: Hop, now: float) -> RegisterAnswer:
        """The answer to a REGISTER; nothing that a peer can send raises."""
        try:
            account = self._admission.authenticate(request, source, now)
            if isinstance(account, Refusal):
                return RegisterAnswer(account.status, account.headers)
            answer = self._registrar.register(account.username, request, source, now)
        except PeerFault as fault:
            headers = [self._registrar.min_expires()] if fault.status == 423 else []
            return RegisterAnswer(fault.status, headers)
        return RegisterAnswer(answer.status, answer.headers)

    def contacts_of_agent(self, agent_id: int, now: float) -> list[RegisteredContact]:
        """Where the agent's softphones are, at most RINGING_TOGETHER_MAX; empty where none is registered."""
        found = [
            RegisteredContact(binding.contact, binding.source, account.username)
            for account in self._directory.sip_accounts_of(agent_id)
            if account.status == "active"
            for binding in self._registrar.lookup(account.username, now)
        ]
        return found[:RINGING_TOGETHER_MAX]

    def expire(self, now: float) -> None:
        self._registrar.expire(now)
