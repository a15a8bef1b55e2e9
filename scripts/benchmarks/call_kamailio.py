"""Kamailio beside us under the same calls: a stateful proxy that stays in the path and knows its dialogs.

That is the least that a Kamailio does where it stands in our place (tm, rr, dialog). It hides no number, charges
nothing and writes no CDR; each of these is a module more. With rtpengine it takes ports for each call and gives them
back, as we do, for the speech that there is none of here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.benchmarks.kamailio import KamailioProcess

SHARED_MEMORY_MB, PRIVATE_MEMORY_MB = 256, 16
WORKERS = 2
"""As many as this is measured on cores; more only take the processor from each other."""

_SCRIPT = """
debug=0
log_stderror=yes
children={workers}
disable_tcp=yes
dns=no
rev_dns=no
auto_aliases=no
mlock_pages=no
listen=udp:{host}:{port}
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "dialog.so"
{rtpengine_module}

request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ {delete} t_relay(); exit; }}
        if (is_method("ACK") && t_check_trans()) {{ t_relay(); }}
        exit;
    }}
    dlg_manage();
    record_route();
    {offer}
    $du = "sip:{callee_host}:{callee_port}";
    t_relay();
}}

onreply_route[ANSWERED] {{
    {answer}
    return;
}}
"""
_RTPENGINE = {
    "rtpengine_module": 'loadmodule "rtpengine.so"\nmodparam("rtpengine", "rtpengine_sock", "udp:127.0.0.1:{port}")',
    "offer": 'rtpengine_offer("replace-origin"); t_on_reply("ANSWERED");',
    "answer": 'if (status == "200" && has_body("application/sdp")) {{ rtpengine_answer("replace-origin"); }}',
    "delete": 'if (is_method("BYE")) {{ rtpengine_delete(); }}',
}


def available() -> bool:
    return shutil.which("kamailio") is not None


@contextmanager
def kamailio(
    host: str, port: int, callee_host: str, callee_port: int, rtpengine_port: int | None = None
) -> Iterator[int]:
    """Runs it for as long as the block; gives its main process, whose children do the work. Calls go on to the callee.

    Raises TimeoutError, with its log, where it does not come up.
    """
    with TemporaryDirectory(prefix="axbridge-bench-kamailio-") as name:
        folder = Path(name)
        media = {
            key: "" if rtpengine_port is None else text.format(port=rtpengine_port) for key, text in _RTPENGINE.items()
        }
        process = KamailioProcess(
            folder,
            _SCRIPT.format(
                workers=WORKERS, host=host, port=port, callee_host=callee_host, callee_port=callee_port, **media
            ),
            host=host,
            port=port,
            shared_memory_mb=SHARED_MEMORY_MB,
            private_memory_mb=PRIVATE_MEMORY_MB,
        )
        try:
            yield process.process_id
        finally:
            process.end()
