"""TLS for a phone that speaks TCP alone: SIPp as Debian builds it has no TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

PIECE_OCTETS_MAX = 65_536


class TlsRelay:
    """Takes connections at one place and makes one to another for each: TLS on one side of it, plain TCP on the other.

    ``towards_server`` says which side has the TLS: the one that we connect to, from ``source``, so that the engine
    knows the phone by that address; or, without it, the one that connects to us.
    """

    def __init__(
        self,
        listens_at: tuple[str, int],
        leads_to: tuple[str, int],
        context: ssl.SSLContext,
        *,
        towards_server: bool,
        source: tuple[str, int] | None = None,
    ) -> None:
        self._leads_to, self._context, self._towards_server, self._source = leads_to, context, towards_server, source
        self._sockets: list[socket.socket] = []
        self.versions: list[str] = []
        """The TLS version of each connection that came about."""
        self._listener = socket.create_server(listens_at)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        self._sockets.append(near)
        with contextlib.suppress(OSError):  # whoever is not let in sees its connection closed
            if self._towards_server:
                far = socket.create_connection(self._leads_to, source_address=self._source)
                far = secure = self._context.wrap_socket(far, server_hostname=self._leads_to[0])
            else:
                near = secure = self._context.wrap_socket(near, server_side=True)
                far = socket.create_connection(self._leads_to)
            self._sockets += [near, far]
            for each in (near, far):  # or each answer waits for the other side's delayed ACK
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.versions.append(secure.version() or "")
            threading.Thread(target=_pump, args=(far, near), daemon=True).start()
            _pump(near, far)
            return
        near.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(PIECE_OCTETS_MAX):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
