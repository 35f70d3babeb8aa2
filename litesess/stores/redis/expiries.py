"""Hearing of sessions that Redis has removed, if it tells.

A server that was demoted goes on to hold the connection, but tells of nothing any more.  So the
subscriptions are made anew now and then, and whenever the link has dropped its connections: the
server's name may lead to another server by then.

Source: Redis documentation, "Keyspace notifications": ``notify-keyspace-events Ex``; each is told
once to each client that is connected and listens then.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from litesess import ids, threads
from litesess.errors import StoreError
from litesess.stores.redis.client import Client, Subscription
from litesess.stores.redis.failures import ERRORS
from litesess.stores.redis.link import Link

logger = logging.getLogger("litesess.store")

_PATIENCE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
#: For so long, in milliseconds, a claim to have told of an expiry stands.
_CLAIM: Final = 60_000
#: So long, in seconds, the same subscriptions are listened to.
_RENEWAL: Final = 10.0


class _Ears(NamedTuple):
    """Subscriptions to the expiries of one server, or of each node of a cluster.

    Attributes:
        subscriptions: one for each.
        nodes: the names of the nodes; a server alone is "".
        client: has the connections, if it is to be closed with them.
        drops: how often the link had dropped its connections before.
    """

    subscriptions: Sequence[Subscription]
    nodes: frozenset[str]
    client: Client | None
    drops: int

    def close(self) -> None:
        with suppress(*ERRORS):
            for each in self.subscriptions:
                each.close()
            if self.client is not None:
                self.client.close()


class Expiries:
    """A thread, one per store and process, that runs while a listener hears of expiries."""

    def __init__(
        self,
        link: Link,
        name: Callable[[str, str], str],
        tell: Callable[[str], object],
        renewal: float = _RENEWAL,
    ) -> None:
        """Listen to nothing yet.

        Args:
            link: the way to Redis.
            name: returns a name in Redis, by its kind and a session's key.
            tell: called with the key of each session that has expired, in one process alone.
            renewal: how long the same subscriptions are listened to, in seconds.
        """
        self._link = link
        self._name = name
        self._tell = tell
        self._renewal = renewal
        self._lock = threading.Lock()  # Guards: _pid, _stop.
        self._pid = 0
        self._stop = threading.Event()

    @property
    def is_listening(self) -> bool:
        """Whether this process does."""
        return self._pid == os.getpid()

    def listen(self) -> None:
        """Begin to, in this process, if that was not done."""
        with self._lock:
            if self.is_listening:
                return
            self._pid = os.getpid()
            self._stop = threading.Event()
            if threads.begin("litesess-expiries", self._run, self._stop) is None:
                logger.warning("expiries are not heard of: this interpreter may have no threads")

    def close(self) -> None:
        """End it."""
        self._stop.set()

    def _run(self, stop: threading.Event) -> None:
        pause, told = _PATIENCE, ""
        while not stop.is_set():
            began = time.monotonic()
            try:
                self._hear(stop)
            except Exception as error:
                # The client was closed under the hand of this thread: each parser of redis's has
                # another error for that.
                if stop.is_set():
                    return
                if not isinstance(error, (*ERRORS, StoreError)):
                    raise
                if time.monotonic() - began > pause:  # it has worked meanwhile
                    pause, told = _PATIENCE, ""
                # No listener hears of sessions that expire until then.
                reason = str(error) if isinstance(error, StoreError) else type(error).__name__
                if reason != told:
                    told = reason
                    logger.warning("expiries are not heard of (%s)", reason)
                stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _hear(self, stop: threading.Event) -> None:
        ears = self._subscribed()
        try:
            while not stop.is_set():
                self._listen(ears, stop)
                # To delete nothing is a write: a server that was demoted refuses it, and the link
                # drops its connections then.
                self._link.ask("unlink", self._name("e", "role"))
                # Order: the new subscriptions before the end of the former ones, so that no expiry
                # is missed in between; one that both tell of is claimed once.
                former, ears = ears, self._subscribed()
                self._drain(former)
                former.close()
        finally:
            ears.close()

    def _subscribed(self) -> _Ears:
        """Return new subscriptions, confirmed by the server.

        Raises:
            StoreError: as :meth:`Link.do` says.
        """
        drops = self._link.drops
        # Another database may have sessions of the same name.
        channel = f"__keyevent@{self._link.database}__:expired"
        client = self._link.new_client()
        # A node of a cluster tells only of its own keys.
        nodes = client.get_primaries() if self._link.is_cluster else [None]
        ears = _Ears(
            [client.pubsub(node=node) if node is not None else client.pubsub() for node in nodes],
            self._nodes(client),
            client if self._link.is_renewable else None,
            drops,
        )
        try:
            for each in ears.subscriptions:
                each.subscribe(channel)
                each.get_message(ignore_subscribe_messages=False, timeout=_PATIENCE)
        except BaseException:
            ears.close()
            raise
        return ears

    def _nodes(self, client: Client) -> frozenset[str]:
        if not self._link.is_cluster:
            return frozenset({""})
        return frozenset(node.name for node in client.get_primaries())

    def _drain(self, ears: _Ears) -> None:
        """Tell of the expiries that have come on former subscriptions; they may be broken."""
        for each in ears.subscriptions:
            with suppress(*ERRORS):
                while message := each.get_message(ignore_subscribe_messages=True, timeout=0):
                    self._take(message["data"])

    def _listen(self, ears: _Ears, stop: threading.Event) -> None:
        """Tell of expiries, until it is time for new subscriptions."""
        until = time.monotonic() + self._renewal
        while not stop.is_set() and time.monotonic() < until and self._link.drops == ears.drops:
            for each in ears.subscriptions:
                patience = min(_PATIENCE, self._renewal) / len(ears.subscriptions)
                message = each.get_message(ignore_subscribe_messages=True, timeout=patience)
                if message is not None:
                    self._take(message["data"])
            if self._nodes(self._link.client) != ears.nodes:
                return

    def _take(self, name: bytes) -> None:
        text = name.decode(errors="replace")
        key = text[len(self._name("s", "")) - 1 : -1]
        # All processes hear of it; the first one tells.
        if (
            ids.is_key(key)
            and text == self._name("s", key)
            and self._link.ask("set", self._name("e", key), b"", nx=True, px=_CLAIM)
        ):
            self._tell(key)
