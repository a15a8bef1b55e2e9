"""The calls' controller of an engine, as its settings want it."""

from __future__ import annotations

import random
import secrets

from engine.b2bua.admission import Admission
from engine.b2bua.controller import Controller, ControllerSettings
from engine.b2bua.dialler import OwnHosts
from engine.b2bua.gateway_locator import GatewayLocator
from engine.b2bua.registration import Registration
from engine.b2bua.source_guard import GuardSettings, SourceGuard
from engine.domain.call import CallPolicy, milliseconds
from engine.domain.ids import call_id
from engine.domain.lines.directory import Directory
from engine.main.randomness import Randomness
from engine.runtime.clock import SteadyClock
from engine.settings import Settings
from sip.core.digest import ALGORITHMS, DigestAuthenticator
from sip.core.registrar import Registrar, RegistrarSettings
from sip.core.user_agents.user_agent import UserAgent

_randomness = Randomness()


def make_controller(
    settings: Settings, user_agent: UserAgent, clock: SteadyClock, locator: GatewayLocator
) -> Controller:
    """The calls' controller with its admission and registrar, over an empty directory."""
    directory = Directory()
    # In order of preference (RFC 8760 §2.3); False sorts before True.
    algorithms = tuple(sorted(ALGORITHMS, key=lambda each: each != settings.sip.digest_offered_first))
    if settings.sip.digest_offered_alone:
        algorithms = algorithms[:1]
    authenticator = DigestAuthenticator(settings.sip.realm, secrets.token_bytes(32), algorithms=algorithms)
    guard = SourceGuard(_guard_settings(settings), lambda host, port: directory.trunk_by_source(host, port) is not None)
    admission = Admission(directory, authenticator, new_token, guard)
    registrar = Registrar(
        RegistrarSettings(
            expires_seconds_min=settings.sip.registration_seconds_min,
            expires_seconds_max=settings.sip.registration_seconds_max,
            contacts_per_aor_max=settings.sip.contacts_per_account_max,
        )
    )
    return Controller(
        settings=ControllerSettings(
            policy=CallPolicy(
                ring_seconds_max=settings.calls.ring_seconds_max,
                duration_seconds_max=settings.calls.duration_seconds_max,
                slice_seconds=settings.charging.slice_seconds,
                warning_seconds=settings.charging.warning_seconds,
            ),
            own_hosts=OwnHosts(
                settings.sip.advertised_host or settings.sip.host,
                settings.sip.advertised_host_ipv6 or settings.sip.host_ipv6,
            ),
            realm=settings.sip.realm,
            recordings_folder=str(settings.recordings_folder.absolute()),
            calls_max=settings.calls.calls_max,
            gateway_ping_seconds=settings.trunks.ping_seconds,
            gateway_silence_seconds=settings.trunks.gateway_silence_seconds,
            retry_after_seconds=settings.calls.retry_after_seconds,
            warning_tone_ms=settings.charging.warning_tone_ms,
            lease_micro=settings.charging.lease_micro,
        ),
        user_agent=user_agent,
        directory=directory,
        guard=guard,
        admission=admission,
        registration=Registration(directory, admission, registrar, settings.sip.nat_ping_seconds),
        new_call_id=lambda now: call_id(milliseconds(now), _randomness.octets(10)),
        locator=locator,
        new_token=new_token,
        random=random.random,
        to_monotonic=clock.to_monotonic,
    )


def _guard_settings(settings: Settings) -> GuardSettings:
    sip = settings.sip
    return GuardSettings(
        stranger_datagrams_per_second=sip.stranger_datagrams_per_second,
        known_datagrams_per_second=sip.known_datagrams_per_second,
        all_strangers_datagrams_per_second=sip.all_strangers_datagrams_per_second,
        failures_max=sip.authentication_failures_max,
        ban_seconds=sip.ban_seconds,
    )


def new_token() -> str:
    """For tags, branches, Call-IDs and nonces: 64 bits of the kernel's randomness (RFC 3261 §19.3 asks for 32)."""
    return _randomness.octets(8).hex()
