"""REGISTER from softphones: authenticated by digest, kept by the registrar, looked up when an agent is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.b2bua.admission import Admission, Refusal
from engine.b2bua.nat_keep_alive import NatKeepAlive
from engine.domain.lines.directory import Directory
from sip.core.hop import Hop
from sip.core.messages.message import Request
from sip.core.messages.name_addr import parse_name_addr
from sip.core.registrar import UNSUPPORTED_PATH, Binding, Registrar
from sip.errors import PeerFault

RINGING_TOGETHER_MAX = 8
"""Softphones of one agent that one call rings; each costs an INVITE."""


@dataclass(frozen=True, slots=True)
class RegisterAnswer:
    status: int
    headers: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RegisteredContact:
    """Where to reach a softphone: its own contact in the Request-URI, sent to where its REGISTER came from.

    ``route`` is the Route header's value where edge proxies stand between (RFC 3327), else "".
    """

    uri: str
    hop: Hop
    username: str
    route: str = ""


class Registration:
    """The address of record is the account's user name: whoever proves the account registers that and nothing else."""

    def __init__(
        self, directory: Directory, admission: Admission, registrar: Registrar, nat_ping_seconds: float = 0.0
    ) -> None:
        self.keep_alive = NatKeepAlive(registrar, nat_ping_seconds)
        self._directory = directory
        self._admission = admission
        self._registrar = registrar
        self.changed: Callable[[str, list[Binding]], None] = lambda aor, bindings: None
        """Told each address of record that was registered or given up, and its contacts as they are now."""

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
            self.changed(account.username, answer.bindings)
        except PeerFault as fault:
            headers = {423: [self._registrar.min_expires()], 420: [UNSUPPORTED_PATH]}.get(fault.status, [])
            return RegisterAnswer(fault.status, headers)
        return RegisterAnswer(answer.status, answer.headers)

    def contacts_of_agent(self, agent_id: int, now: float) -> list[RegisteredContact]:
        """Where the agent's softphones are, at most RINGING_TOGETHER_MAX; empty where none is registered."""
        found = [
            RegisteredContact(binding.contact, _next_hop(binding), account.username, ", ".join(binding.path))
            for account in self._directory.sip_accounts_of(agent_id)
            if account.status == "active"
            for binding in self._registrar.lookup(account.username, now)
        ]
        return found[:RINGING_TOGETHER_MAX]

    def restore(self, registered: Mapping[str, list[Binding]]) -> None:
        """Who was registered with an earlier engine, and still is."""
        for aor, bindings in registered.items():
            self._registrar.restore(aor, bindings)

    def expire(self, now: float) -> None:
        self._registrar.expire(now)


def _next_hop(binding: Binding) -> Hop:
    """Where requests to a contact go: where its REGISTER came from, to the port that its edge proxy wants them at.

    Another host than that a Path cannot name: whoever has one account could have us send anything anywhere.
    """
    if not binding.path:
        return binding.source
    named = parse_name_addr(binding.path[0], "Path").uri.hop(binding.source.transport)
    return named if named is not None and named.host == binding.source.host else binding.source
