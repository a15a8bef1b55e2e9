"""Kamailio as a carrier's edge: a proxy that stays in the path, a registrar, UDP or TLS towards the engine."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.benchmarks.kamailio import KamailioProcess
from sip.transport.tls import TlsSettings

SHARED_MEMORY_MB, PRIVATE_MEMORY_MB = 32, 4

_SCRIPT = """
debug=2
log_stderror=yes
children=2
tcp_children=1
dns=no
rev_dns=no
auto_aliases=no
{listens}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "xlog.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
{tls}
modparam("auth", "algorithm", "{algorithm}")
modparam("registrar", "max_expires", {expires_seconds_max})

request_route {{
    xlog("L_WARN", "axbridge-test: $rm from $proto, Route: $hdr(Route)\\n");
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("OPTIONS") && $rU == $null) {{ sl_send_reply("200", "OK"); exit; }}
    if (is_method("REGISTER")) {{ route(REGISTER); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (has_totag()) {{
        # Nothing but the route set brings a request of a dialog to its end.
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK") && t_check_trans()) {{ t_relay(); exit; }}
        if (!is_method("ACK")) {{ sl_send_reply("404", "No Route"); }}
        exit;
    }}
{challenge}
    record_route();
{destinations}
    if (!lookup("location")) {{ sl_send_reply("404", "Not Found"); exit; }}
    t_relay();
}}

route[REGISTER] {{
    if (!pv_www_authenticate("{realm}", "{password}", "0") || $au != $tU) {{
        www_challenge("{realm}", "1");
        exit;
    }}
    save("location");
    xlog("L_WARN", "axbridge-test: saved $tU, CSeq $cs, Call-ID $ci, $hdr(Expires) seconds\\n");
}}
"""


class Kamailio:
    """``destinations`` says to which URI requests for a user go; any other user's go to whoever
    has registered that name, or, with ``dialled_numbers_at_contact_of``, all calls that name no such user go to that
    contact with the dialled number in To alone. ``challenges_calls_from`` is a host whose calls must show credentials.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str,
        port: int,
        destinations: dict[str, str],
        tls_port: int = 0,
        tls_settings: TlsSettings | None = None,
        realm: str = "carrier.example",
        password: str = "a-password",
        algorithm: str = "MD5",
        expires_seconds_max: int = 600,
        dialled_numbers_at_contact_of: str = "",
        challenges_calls_from: str = "",
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.host, self.port, self.tls_port, self.realm = host, port, tls_port, realm
        listens = [f"listen=udp:{host}:{port}"]
        tls = ""
        if tls_settings is not None:
            # Without a source address its connections come from wherever the route to the engine begins.
            listens += [f"listen=tls:{host}:{tls_port}", "enable_tls=yes", f"tcp_source_ipv4={host}"]
            tls = f'loadmodule "tls.so"\nmodparam("tls", "config", "{folder / "tls.cfg"}")'
            own = f"private_key = {tls_settings.key_file}\ncertificate = {tls_settings.certificate_file}\n"
            (folder / "tls.cfg").write_text(
                f"[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\n{own}"
                f"[client:default]\nmethod = TLSv1.2+\nverify_certificate = yes\nrequire_certificate = yes\n{own}"
                f"ca_list = {tls_settings.authorities_file}\n"
            )
        rules = [
            f'    if ($rU == "{user}") {{ $du = "{uri}"; t_relay(); exit; }}' for user, uri in destinations.items()
        ]
        if dialled_numbers_at_contact_of:
            rules.append(f'    $rU = "{dialled_numbers_at_contact_of}";')
        challenge = ""
        if challenges_calls_from:
            challenge = (
                f'    if ($si == "{challenges_calls_from}" && !pv_proxy_authenticate("{realm}", "{password}", "0"))'
                f' {{ proxy_challenge("{realm}", "1"); exit; }}\n    consume_credentials();'
            )
        self._process = KamailioProcess(
            folder,
            _SCRIPT.format(
                listens="\n".join(listens),
                tls=tls,
                algorithm="" if algorithm == "MD5" else algorithm,
                expires_seconds_max=expires_seconds_max,
                destinations="\n".join(rules),
                challenge=challenge,
                realm=realm,
                password=password,
            ),
            host=host,
            port=port,
            shared_memory_mb=SHARED_MEMORY_MB,
            private_memory_mb=PRIVATE_MEMORY_MB,
        )

    def seen(self, pattern: str) -> list[str]:
        """Lines of its own script's log in which the pattern is found."""
        return [line for line in self.log().splitlines() if "axbridge-test: " in line and re.search(pattern, line)]

    def log(self) -> str:
        return self._process.log()

    def end(self) -> None:
        self._process.end()
