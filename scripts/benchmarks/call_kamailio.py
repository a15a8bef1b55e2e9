"""Kamailio beside us under the same calls: a stateful proxy that stays in the path and knows its dialogs.

That is the least that a Kamailio does where it stands in our place (tm, rr, dialog). It hides no number, charges
nothing and writes no CDR; each of these is a module more. With rtpengine it takes ports for each call and gives them
back, as we do, for the speech that there is none of here.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

START_SECONDS_MAX = 10.0
END_SECONDS_MAX = 5.0
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
        config, log = folder / "kamailio.cfg", folder / "log.txt"
        media = {
            key: "" if rtpengine_port is None else text.format(port=rtpengine_port) for key, text in _RTPENGINE.items()
        }
        config.write_text(
            _SCRIPT.format(
                workers=WORKERS, host=host, port=port, callee_host=callee_host, callee_port=callee_port, **media
            )
        )
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["kamailio", "-DD", "-E", "-f", str(config), "-Y", name, "-w", name,
                 "-m", str(SHARED_MEMORY_MB), "-M", str(PRIVATE_MEMORY_MB)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            _wait_until_ready(host, port, log)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(host: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        probe.settimeout(0.2)
        own = f"{host}:{probe.getsockname()[1]}"
        question = (
            f"OPTIONS sip:{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKready\r\n"
            f"From: <sip:ready@{own}>;tag=1\r\nTo: <sip:{host}>\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\n"
            "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
        while time.monotonic() < deadline:
            try:
                probe.sendto(question.encode(), (host, port))
                if probe.recv(2048).startswith(b"SIP/2.0 200"):
                    return
            except OSError:  # nothing listens there yet
                time.sleep(0.1)
    raise TimeoutError(f"Kamailio did not come up:\n{log.read_text(errors='replace')[-3000:]}")
