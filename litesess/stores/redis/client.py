"""The part of a client of the package ``redis`` that the store uses, with its types.

The package has types of its own, but by those each answer may be awaitable, and a cluster's client
has little in common with a server's.
"""

from __future__ import annotations

from typing import Any, Protocol


class Node(Protocol):
    """A node of a cluster."""

    @property
    def name(self) -> str:
        """Its host and port."""


class Pipeline(Protocol):
    """Commands that go to the server together."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: str | bytes) -> object:
        """Add the call of a script."""

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        """Return the answers; errors are among them, unless they are to be raised."""


class Subscription(Protocol):
    """Messages of channels."""

    def subscribe(self, channel: str) -> object:
        """Hear of a channel's messages from now on."""

    def get_message(
        self, *, ignore_subscribe_messages: bool, timeout: float
    ) -> dict[str, Any] | None:
        """Return the next message, or None after *timeout* seconds."""

    def close(self) -> object:
        """Hear no more."""


class Client(Protocol):
    """A client of one server, of Sentinel's master, or of a cluster.

    The methods with *node*, *target_nodes* and :meth:`get_primaries` are a cluster's.
    """

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: str | bytes) -> Any:
        """Call a script by the hash of its text."""

    def eval(self, script: str, numkeys: int, *keys_and_args: str | bytes) -> Any:
        """Call a script."""

    def script_load(self, script: str) -> object:
        """Make a script known."""

    def pipeline(self, *, transaction: bool) -> Pipeline:
        """Return an empty pipeline."""

    def get(self, name: str) -> bytes | None:
        """Return a value."""

    def set(self, name: str, value: bytes, *, nx: bool = False, px: int | None = None) -> object:
        """Set a value; with *nx* only if there is none; for *px* milliseconds."""

    def hgetall(self, name: str) -> dict[bytes, bytes]:
        """Return a hash."""

    def zrange(self, name: str, start: int, end: int) -> list[bytes]:
        """Return a part of a sorted set."""

    def scan(
        self, cursor: int, *, match: str, count: int, target_nodes: Node | None = None
    ) -> tuple[Any, list[bytes]]:
        """Return the next cursor, for a cluster by node, and some names."""

    def pubsub(self, *, node: Node | None = None) -> Subscription:
        """Return a subscription to nothing yet."""

    def get_primaries(self) -> list[Node]:
        """Return the nodes that take writes."""

    def get_connection_kwargs(self) -> dict[str, Any]:
        """Return the settings of the connections."""

    def close(self) -> object:
        """Close the connections."""
