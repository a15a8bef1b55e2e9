"""One test's own tenant, trunk, line and numbers, so that its CDRs and its balance can be told to the micro-unit."""

from __future__ import annotations

import hashlib
import json
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from media.codec.g711 import Pcm
from scripts.benchmarks.installation import free_udp_port
from tests.interop.rtp_phone import RtpPhone
from tests.interop.sip_phone import SipPhone
from tests.interop.sipp import Sipp
from tests.interop.site import Site, wait_for
from tests.interop.wire import Message

CALLER_HZ, CALLEE_HZ = 440.0, 1000.0
CALLER_SSRC, CALLEE_SSRC = 0xA0A0A0A0, 0xB0B0B0B0
PER_MINUTE_YUAN = "6.00"
PER_SECOND_MICRO = 100_000
"""¥6 a minute is ¥0.10 a second."""


@dataclass(frozen=True)
class Recording:
    """``caller`` is the left channel, ``callee`` the right one."""

    row: dict[str, Any]
    caller: Pcm
    callee: Pcm

    def row_gaps(self) -> list[list[Any]]:
        """[side, start, end] in milliseconds."""
        gaps: list[list[Any]] = json.loads(self.row["gaps_ms"])
        return gaps


@dataclass(frozen=True)
class Watched:
    """A phone, whose number must not be in anything that the other one received."""

    received: Callable[[], list[Message]]
    hidden_digits: str
    must_receive: bool


class Lane:
    """A ↔ X ↔ B over one trunk, at which two SIPp (or other phones) stand: one calls, the other is called."""

    def __init__(
        self,
        site: Site,
        folder: Path,
        index: int,
        *,
        balance: str = "10.00",
        overdraft_limit: str = "0",
        first_increment_seconds: int = 1,
        next_increment_seconds: int = 1,
        number_format: str = "national",
        calls_max: int = 100,
        ipv6: bool = False,
        callee_ipv6: bool | None = None,
        bound: bool = True,
        softphone: bool = False,
        unknown_caller_policy: str = "refuse",
        srtp: str = "off",
    ) -> None:
        self.site = site
        self.folder = folder
        self.code = f"lane-{index}"
        self.a, self.b = f"1381234{index:04d}", f"1395678{index:04d}"
        self.x = f"0106666{index:04d}"
        self.balance_micro = round(float(balance) * 1_000_000)
        self.password = f"password-of-{index}"
        self.caller_host = "::1" if ipv6 else "127.0.0.2"
        self.callee_host = "::1" if (ipv6 if callee_ipv6 is None else callee_ipv6) else "127.0.0.3"
        self.engine_host = site.host_ipv6 if ipv6 else site.host
        self.caller_port, self.callee_port = free_udp_port(self.caller_host), free_udp_port(self.callee_host)
        self.second_port = free_udp_port(self.caller_host)
        """Also the trunk's: for whoever calls while another call is on."""
        self._watched: list[Watched] = []
        self._sipps: list[Sipp] = []
        self._callees: list[Sipp] = []
        self._closers: list[Callable[[], None]] = []
        sources = [
            _at(self.caller_host, self.caller_port),
            _at(self.caller_host, self.second_port),
            _at(self.callee_host, self.callee_port),
        ]
        entries = [
            f'[[tenants]]\ncode = "{self.code}"\nname = "Lane"',
            f'[[accounts]]\ntenant = "{self.code}"\noverdraft_limit = "{overdraft_limit}"'
            + (f'\nopening_balance = "{balance}"' if self.balance_micro else ""),
            f'[[agents]]\ntenant = "{self.code}"\ncode = "agent"\nname = "Agent"\nphone = "{self.a}"',
            f'[[carriers]]\ncode = "{self.code}"\nname = "Lane"',
            f'[[trunks]]\ncode = "{self.code}"\ncarrier = "{self.code}"\nname = "Lane"\nhost = "{self.callee_host}"\n'
            f"port = {self.callee_port}\nsource_addresses = {sources}\n"
            f'number_format = "{number_format}"\ncalls_max = {calls_max}\nsrtp = "{srtp}"',
            f'[[rates]]\ncode = "{self.code}"\nname = "Lane"\nper_minute = "{PER_MINUTE_YUAN}"\n'
            f"first_increment_seconds = {first_increment_seconds}\nnext_increment_seconds = {next_increment_seconds}",
            f'[[lines]]\ncode = "{self.code}"\ncarrier = "{self.code}"\ntrunk = "{self.code}"\nrate = "{self.code}"\n'
            'name = "Lane"',
            f'[[x_numbers]]\nnumber = "{self.x}"\nline = "{self.code}"\ntenant = "{self.code}"\nagent = "agent"\n'
            f'unknown_caller_policy = "{unknown_caller_policy}"',
        ]
        if bound:
            entries.append(
                f'[[bindings]]\ntenant = "{self.code}"\nagent = "agent"\nx_number = "{self.x}"\nb_number = "{self.b}"'
            )
        if softphone:
            entries.append(
                f'[[sip_accounts]]\nusername = "{self.code}"\npassword = "{self.password}"\ntenant = "{self.code}"\n'
                'agent = "agent"'
            )
        site.load("\n\n".join(entries))
        self.tenant_id = int(site.rows("SELECT id FROM tenants WHERE code = ?", self.code)[0]["id"])
        self.x_number_id = int(
            site.rows("SELECT id FROM x_numbers WHERE number = ?", "+86" + self.x.removeprefix("0"))[0]["id"]
        )
        self.caller_voice = RtpPhone(self.caller_host, CALLER_HZ, CALLER_SSRC)
        self.callee_voice = RtpPhone(self.callee_host, CALLEE_HZ, CALLEE_SSRC)
        self._closers += [self.caller_voice.close, self.callee_voice.close]

    # Phones -------------------------------------------------------------------------------------------------------

    def caller(
        self,
        scenario: str,
        *,
        number: str | None = None,
        dialled: str | None = None,
        is_customer: bool = False,
        port: int | None = None,
        contact_port: int = 0,
        remote: str = "",
        is_idle: bool = False,
        **arguments: Any,
    ) -> Sipp:
        """SIPp as the calling phone: A, or with ``is_customer`` B. ``number`` is how it writes its own; ``remote`` is
        where its messages go, the engine if not told; ``is_idle`` where nothing may reach it."""
        own, other = (self.b, self.a) if is_customer else (self.a, self.b)
        keys = {
            "caller": number if number is not None else own,
            "rtp_port": str(self.caller_voice.port),
            "username": self.code,
            "contact_port": str(contact_port),
        }
        remote = remote or _at(self.engine_host, self.site.sip_port)
        sipp = Sipp(
            self.folder / f"{len(self._sipps)}-{scenario}", scenario, host=self.caller_host,
            port=self.caller_port if port is None else port, remote=remote, keys=keys, service=dialled or self.x,
            credentials=(self.code, self.password), **arguments,
        )  # fmt: skip
        return self._keep(sipp, other, must_receive=not is_idle)

    def callee(
        self, scenario: str, *, is_agent: bool = False, is_idle: bool = False, port: int = 0, **arguments: Any
    ) -> Sipp:
        """SIPp as the phone that is called: B, or with ``is_agent`` A. ``is_idle`` where nothing may reach it."""
        other = self.b if is_agent else self.a
        sipp = Sipp(
            self.folder / f"{len(self._sipps)}-{scenario}", scenario, host=self.callee_host,
            port=port or self.callee_port,
            keys={"rtp_port": str(self.callee_voice.port), "callee": self.a if is_agent else self.b}, **arguments,
        )  # fmt: skip
        self._callees.append(sipp)
        return self._keep(sipp, other, must_receive=not is_idle)

    def received_by_callees(self) -> list[Message]:
        return [message for callee in self._callees for message in callee.received()]

    def phone(self, *, is_customer: bool = False, host: str | None = None, port: int | None = None) -> SipPhone:
        """A phone by hand, at the trunk's caller address, or at another ``host`` or ``port``, where nobody knows it."""
        phone = SipPhone(
            host or self.caller_host, self.caller_port if port is None else port, (self.engine_host, self.site.sip_port)
        )
        self._closers.append(phone.close)
        self._watched.append(Watched(lambda: phone.received, self.a if is_customer else self.b, True))
        return phone

    def called_phone(self) -> SipPhone:
        """A phone by hand at the address that the trunk sends to: B's."""
        phone = SipPhone(self.callee_host, self.callee_port, (self.site.host, self.site.sip_port))
        self._closers.append(phone.close)
        self._watched.append(Watched(lambda: phone.received, self.a, True))
        return phone

    def _keep(self, sipp: Sipp, hidden_digits: str, *, must_receive: bool = True) -> Sipp:
        self._sipps.append(sipp)
        self._watched.append(Watched(sipp.received, hidden_digits, must_receive))
        return sipp

    def talk(self, caller: Sipp, callee: Sipp, seconds: float) -> None:
        """Both phones send their tones, from the answer on, in the background."""
        answer = caller.wait_received("SIP/2.0 200")
        offer = callee.wait_received("INVITE")
        self.caller_voice.talk(answer.media, seconds)
        self.callee_voice.talk(offer.media, seconds)

    def hear_out(self) -> None:
        """Returns when both phones have said all."""
        self.caller_voice.finish()
        self.callee_voice.finish()

    # Books --------------------------------------------------------------------------------------------------------

    def cdrs(self) -> list[dict[str, Any]]:
        x_number = "+86" + self.x.removeprefix("0")
        return self.site.rows("SELECT * FROM cdrs WHERE x_number = ? ORDER BY id", x_number)

    def cdr(self, seconds: float = 5.0) -> dict[str, Any]:
        """The one CDR of the one call, once it has ended."""
        wait_for("a CDR that has ended", lambda: [row for row in self.cdrs() if row["state"] == "ended"], seconds)
        rows = self.cdrs()
        assert len(rows) == 1, f"{len(rows)} CDRs for one call"
        row = rows[0]
        assert abs(row["ended_at_ms"] / 1000 - time.time()) < 60
        assert (row["tenant_id"], row["trunk_id"] is not None) == (self.tenant_id, True) or row[
            "answered_at_ms"
        ] is None
        moments = [row[name] for name in ("started_at_ms", "ringing_at_ms", "answered_at_ms", "ended_at_ms")]
        known = [moment for moment in moments if moment is not None]
        assert known == sorted(known), f"times out of order: {moments}"
        return row

    def assert_charged(self, charge_micro: int, cdr_id: str | None = None, recharges_micro: int = 0) -> None:
        """Balance, ledger and CDR say the same, to the micro-unit."""
        account = self.site.rows("SELECT * FROM accounts WHERE tenant_id = ?", self.tenant_id)[0]
        assert account["balance_micro"] == self.balance_micro + recharges_micro - charge_micro
        entries = self.site.ledger(self.tenant_id)
        assert sum(entry["amount_micro"] for entry in entries) == account["balance_micro"]
        charges = [(each["cause_id"], each["amount_micro"]) for each in entries if each["kind"] == "call_charge"]
        assert charges == ([(cdr_id, -charge_micro)] if charge_micro else [])

    def assert_never_talked(self, cdr: dict[str, Any]) -> None:
        """No time, no money, no recording."""
        assert cdr["answered_at_ms"] is None
        assert (cdr["billed_seconds"], cdr["charge_micro"], cdr["recording_path"]) == (0, 0, None)
        assert self.site.rows("SELECT * FROM recordings WHERE cdr_id = ?", cdr["id"]) == []
        self.assert_charged(0)

    def assert_talked(self, cdr: dict[str, Any], seconds: float, tolerance_seconds: float = 0.35) -> Recording:
        """Talk time as expected, charged by the second, recorded as long as it was; returns the recording."""
        assert cdr["sip_status"] == 200
        talk_ms = cdr["ended_at_ms"] - cdr["answered_at_ms"]
        assert abs(talk_ms / 1000 - seconds) <= tolerance_seconds, f"talked {talk_ms} ms"
        assert cdr["billed_seconds"] == -(-talk_ms // 1000)
        assert cdr["charge_micro"] == cdr["billed_seconds"] * PER_SECOND_MICRO
        self.assert_charged(cdr["charge_micro"], cdr["id"])
        return self.recording(cdr)

    def recording(self, cdr: dict[str, Any]) -> Recording:
        """The recording, whose row, file and length have been checked."""
        query = "SELECT * FROM recordings WHERE cdr_id = ?"
        row = wait_for("the recording's row", lambda: self.site.rows(query, cdr["id"]))[0]
        assert row["path"] == cdr["recording_path"]
        talk_ms = cdr["ended_at_ms"] - cdr["answered_at_ms"]
        assert abs(row["duration_ms"] - talk_ms) <= 20, f"recorded {row['duration_ms']} ms of {talk_ms} ms"
        path = self.site.settings.recordings_folder / row["path"]
        octets = path.read_bytes()
        assert (len(octets), hashlib.sha256(octets).hexdigest()) == (row["size_octets"], row["sha256"])
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
            assert abs(file.getnframes() / 8 - talk_ms) <= 20
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)
        return Recording(row, samples[:, 0], samples[:, 1])

    def live_calls(self) -> int:
        return len(self.site.live_calls(self.tenant_id).calls)

    # The end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        for sipp in self._sipps:
            sipp.end()
        for closer in self._closers:
            closer()

    def assert_numbers_stayed_hidden(self) -> None:
        """No phone received the other one's number, in whatever spelling: each contains the national digits."""
        for watched in self._watched:
            messages = watched.received()
            assert messages or not watched.must_receive, "a phone received nothing, so nothing was checked"
            for message in messages:
                assert watched.hidden_digits.encode() not in message.octets, f"shown in {message.start_line}"


def _at(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
