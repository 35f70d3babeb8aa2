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
        """Add the call of a script by the hash of its text."""

    def eval(self, script: str, numkeys: int, *keys_and_args: str | bytes) -> object:
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


class Pool(Protocol):
    """The connections of a client."""

    def disconnect(self, *, inuse_connections: bool) -> None:
        """Close the connections; those alone that are not used if the argument is False."""


class Client(Protocol):
    """A client of one server, of Sentinel's master, or of a cluster.

    The methods with *node*, *target_nodes* and :meth:`get_primaries` are a cluster's.
    """

    @property
    def connection_pool(self) -> Pool:
        """The connections; a cluster's client has a pool for each node instead."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: str | bytes) -> Any:
        """Call a script by the hash of its text."""

    def eval(self, script: str, numkeys: int, *keys_and_args: str | bytes) -> Any:
        """Call a script."""

    def pipeline(self, *, transaction: bool) -> Pipeline:
        """Return an empty pipeline."""

    def set(self, name: str, value: bytes, *, nx: bool = False, px: int | None = None) -> object:
        """Set a value; with *nx* only if the name is free; for *px* milliseconds."""

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
