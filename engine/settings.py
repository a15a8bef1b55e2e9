"""Configuration: one TOML file, then environment variables over it; typed, and read once, at a process's start.

``AXBRIDGE_SIP__PORT=5070`` sets ``port`` of ``[sip]``. Each key is described in ``conf/README.md`` with its type, unit,
default and an example; a test holds the two together.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

ENVIRONMENT_PREFIX = "AXBRIDGE_"

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(gt=0)]
Seconds = Annotated[float, Meta(ge=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]


class SettingsError(Exception):
    """A configuration that cannot be used: says file or variable, key and reason."""


class SipSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    host_ipv6: str = ""
    port: Port = 5060
    advertised_host: str = ""
    advertised_host_ipv6: str = ""
    tcp: bool = True
    tls_port: Port = 0
    tls_certificate_file: str = ""
    tls_key_file: str = ""
    tls_authorities_file: str = ""
    tls_verifies_servers: bool = True
    tls_wants_client_certificates: bool = False
    realm: str = "axbridge"
    digest_offered_first: Literal["SHA-256", "MD5"] = "SHA-256"
    digest_offered_alone: bool = False
    t1_seconds: Annotated[float, Meta(gt=0, le=4)] = 0.5
    t2_seconds: Annotated[float, Meta(gt=0, le=32)] = 4.0
    t4_seconds: Annotated[float, Meta(gt=0, le=32)] = 5.0
    session_expires_seconds: Annotated[int, Meta(ge=90, le=86_400)] = 1800
    transactions_max: Positive = 200_000
    registration_seconds_min: Positive = 60
    registration_seconds_max: Positive = 3600
    contacts_per_account_max: Positive = 5
    stream_ping_seconds: Seconds = 100.0
    nat_ping_seconds: Seconds = 25.0
    stranger_datagrams_per_second: Annotated[float, Meta(gt=0)] = 30.0
    known_datagrams_per_second: Annotated[float, Meta(gt=0)] = 1000.0
    all_strangers_datagrams_per_second: Annotated[float, Meta(gt=0)] = 400.0
    authentication_failures_max: Positive = 10
    ban_seconds: Seconds = 600.0


class CallSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    calls_max: Positive = 5000
    ring_seconds_max: Annotated[float, Meta(gt=0, le=600)] = 60.0
    duration_seconds_max: Positive = 14_400
    retry_after_seconds: Positive = 5


class TrunkSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    ping_seconds: Seconds = 30.0
    gateway_silence_seconds: Annotated[float, Meta(gt=0, le=32)] = 4.0


class MediaSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    workers: Annotated[int, Meta(ge=1, le=64)] = 2
    host: str = "127.0.0.1"
    host_ipv6: str = ""
    advertised_host: str = ""
    advertised_host_ipv6: str = ""
    port_min: Port = 20_000
    port_max: Port = 29_999
    quarantine_seconds: Seconds = 5.0
    rtp_timeout_seconds: Seconds = 30.0
    calls_per_worker_max: Positive = 1000


class ChargingSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    slice_seconds: Positive = 60
    warning_seconds: Seconds = 10.0
    warning_tone_ms: Positive = 600
    lease_micro: Positive = 50_000_000


class StoreSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    database_url: str = ""
    write_interval_ms: Positive = 250
    change_poll_ms: Positive = 250


class RecordingSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    storage: str = ""
    retention_days: Annotated[int, Meta(ge=0, le=36_500)] = 0
    alarm_free_percent: Percent = 15.0
    deletion_free_percent: Percent = 8.0
    stop_free_percent: Percent = 3.0


class ApiSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: Port = 8080
    token_seconds: Positive = 900
    refresh_seconds: Positive = 30 * 24 * 3600
    platform_second_factor: bool = False
    logged_addresses: Literal["full", "masked"] = "full"
    audit_days: Annotated[int, Meta(ge=0, le=36_500)] = 0
    recording_link_seconds: Positive = 600
    webhooks_to_private_addresses: bool = False


class PushSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    broker_url: str = ""
    username: str = ""
    password_file: str = ""
    authorities_file: str = ""
    topic_prefix: Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64}){0,4}$")] = "axbridge"


class PaymentSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Names of files, never what is in them: ``engine.payments.gateways`` reads those."""

    hmac_key_file: str = ""
    wechat_merchant_id: str = ""
    wechat_api_key_file: str = ""
    wechat_keys_folder: str = ""
    alipay_app_id: str = ""
    alipay_key_file: str = ""


class TraceSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    enabled: bool = True
    calls_max: Positive = 20_000
    messages_per_call_max: Positive = 100
    octets_max: Positive = 67_108_864
    kept_seconds: Seconds = 600.0
    hep_host: str = ""
    hep_port: Port = 9060
    hep_capture_id: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 2001
    hep_numbers: Literal["masked", "full"] = "masked"


class MetricsSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: Port = 0


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    data_folder: str = "data"
    engine_id: str = "engine-1"
    log_level: str = "info"
    sip: SipSettings = SipSettings()
    calls: CallSettings = CallSettings()
    trunks: TrunkSettings = TrunkSettings()
    media: MediaSettings = MediaSettings()
    charging: ChargingSettings = ChargingSettings()
    store: StoreSettings = StoreSettings()
    recordings: RecordingSettings = RecordingSettings()
    api: ApiSettings = ApiSettings()
    push: PushSettings = PushSettings()
    payments: PaymentSettings = PaymentSettings()
    trace: TraceSettings = TraceSettings()
    metrics: MetricsSettings = MetricsSettings()

    @property
    def data(self) -> Path:
        return Path(self.data_folder)

    @property
    def database_url(self) -> str:
        return self.store.database_url or f"sqlite+aiosqlite:///{(self.data / 'axbridge.sqlite3').absolute()}"

    @property
    def recordings_folder(self) -> Path:
        return self.data / "recordings"

    @property
    def journal_folder(self) -> Path:
        return self.data / "journal"

    @property
    def registrations_folder(self) -> Path:
        return self.data / "registrations"

    @property
    def control_socket(self) -> Path:
        return self.data / "run" / "engine.sock"

    def media_socket(self, index: int) -> Path:
        return self.data / "run" / f"media-{index}.sock"

    @property
    def sealing_keys_file(self) -> Path:
        return self.data / "sealing.keys"

    @property
    def secret_file(self) -> Path:
        """Signs tokens and recording links, and SIP nonces; made at the first start, readable by its owner only."""
        return self.data / "secret.key"


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, text in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name == ENVIRONMENT_PREFIX + "CONFIG":
            continue
        *groups, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
            if not isinstance(branch, dict):
                raise SettingsError(f"environment: {name} names a group that another variable sets as a value")
        branch[key] = text
    return tree


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def read_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings from ``path`` (or the file that AXBRIDGE_CONFIG names, or none) and the environment.

    Raises SettingsError, which names the file or variable, the key and the reason.
    """
    environment = os.environ if environment is None else environment
    if path is None and environment.get(ENVIRONMENT_PREFIX + "CONFIG"):
        path = Path(environment[ENVIRONMENT_PREFIX + "CONFIG"])
    from_file: dict[str, Any] = {}
    if path is not None:
        try:
            from_file = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: is not TOML: {error}") from error
        _convert(from_file, str(path), strict=True)
    # A variable is text, so numbers are read from it; in the file "8080" for a port stays an error.
    return _convert(_merge(from_file, _from_environment(environment)), "environment", strict=False)


def _convert(tree: dict[str, Any], origin: str, *, strict: bool) -> Settings:
    try:
        settings = msgspec.convert(tree, Settings, strict=strict)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{origin}: {error}") from error
    if settings.media.port_min >= settings.media.port_max:
        raise SettingsError(f"{origin}: media.port_min must be below media.port_max")
    disk = settings.recordings
    if not disk.alarm_free_percent >= disk.deletion_free_percent >= disk.stop_free_percent:
        raise SettingsError(
            f"{origin}: recordings: each of alarm_, deletion_, stop_free_percent is at most the one before"
        )
    return settings
