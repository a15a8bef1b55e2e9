"""What speaks SIP in an engine: its ports, its user agent, the calls' controller, and the phones that registered."""

from __future__ import annotations

import asyncio
import random
import time

from engine.b2bua.gateway_locator import GatewayLocator
from engine.main.calls import make_controller, new_token
from engine.runtime.clock import SteadyClock
from engine.runtime.listeners import open_listeners, user_agent_settings
from engine.runtime.registration_keeper import RegistrationKeeper, read_registrations
from engine.settings import Settings
from sip.core.user_agents.user_agent import UserAgent
from sip.endpoint import Endpoint
from sip.transport.resolver import Resolver, SystemLookup

REGISTRAR_SWEEP_SECONDS = 60.0
KEEP_ALIVE_TICK_SECONDS = 0.1


class Signalling:
    """Ports are bound, and not yet read from: that is the endpoint's. Raises OSError where one is taken."""

    def __init__(self, settings: Settings, clock: SteadyClock) -> None:
        self._clock = clock
        self._at = (settings.sip.host, settings.sip.port)
        self.listeners = open_listeners(settings)
        self._own = {each.is_ipv6: each.address for each in self.listeners.sockets}
        self.user_agent = UserAgent(settings=user_agent_settings(settings, self.listeners), new_token=new_token)
        self.names = Resolver(SystemLookup(), self.listeners.served, random=random.random, clock=time.monotonic)
        self.controller = make_controller(settings, self.user_agent, clock, GatewayLocator(self.names))
        registered = read_registrations(settings.registrations_folder, clock.now())
        self.controller.registration.restore(registered)
        self.registrations = RegistrationKeeper(settings.registrations_folder, registered, clock.now)
        self.controller.registration.changed = self.registrations.take

    def own_address(self, host: str) -> tuple[str, int]:
        """Ours towards a peer."""
        return self._own.get(":" in host, self._at)

    async def sweep_registrar(self) -> None:
        while True:
            await asyncio.sleep(REGISTRAR_SWEEP_SECONDS)
            self.controller.registration.expire(self._clock.now())

    async def keep_ways_open(self, endpoint: Endpoint) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_TICK_SECONDS)
            due = self.controller.registration.keep_alive.tick(self._clock.now())
            if due:
                self.user_agent.datagrams += due
                endpoint.flush()
