"""A relay between a client and a server: a name that moves, or a firewall that forgets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """A relay on a free port of the loopback.

    Attributes:
        port: where it listens.
        target: the port that connections lead to from now on; those that are open stay.
        opened: the number of connections that it has taken.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.opened = 0
        self._forgotten = 0
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def forget(self) -> None:
        """Drop without a word all that comes on the connections that are open now."""
        self._forgotten = self.opened

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self.opened += 1
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                self._sockets.append(server)
                for ends in (client, server), (server, client):
                    arguments = (*ends, self.opened)
                    threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, number: int) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if number > self._forgotten:
                    target.sendall(data)
        for each in source, target:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(target: int) -> Iterator[Relay]:
    """Relay to a port of the loopback."""
    made = Relay(target)
    try:
        yield made
    finally:
        made.close()
