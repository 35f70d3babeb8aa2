"""Hearing of sessions that Redis has removed, if it tells.

Source: Redis documentation, "Keyspace notifications": ``notify-keyspace-events Ex``; each is told
once to each client that is connected and listens then.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Final

import redis

from litesess import ids
from litesess.errors import StoreError
from litesess.stores.redis.client import Client
from litesess.stores.redis.link import Link

logger = logging.getLogger("litesess.store")

_PATIENCE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
#: For so long, in milliseconds, a claim to have told of an expiry stands.
_CLAIM: Final = 60_000


class Expiries:
    """A thread, one per store and process, that runs while a listener hears of expiries."""

    def __init__(
        self, link: Link, name: Callable[[str, str], str], tell: Callable[[str], object]
    ) -> None:
        """Listen to nothing yet.

        Args:
            link: the way to Redis.
            name: returns a name in Redis, by its kind and a session's key.
            tell: called with the key of each session that has expired, in one process alone.
        """
        self._link = link
        self._name = name
        self._tell = tell
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
            threading.Thread(
                target=self._run, args=(self._stop,), name="litesess-expiries", daemon=True
            ).start()

    def close(self) -> None:
        """End it."""
        self._stop.set()

    def _run(self, stop: threading.Event) -> None:
        pause = _PATIENCE
        while not stop.is_set():
            try:
                self._hear(stop)
                pause = _PATIENCE
            except Exception as error:
                # The client was closed under the hand of this thread: each parser of redis's has
                # another error for that.
                if stop.is_set():
                    return
                if not isinstance(error, (redis.exceptions.RedisError, StoreError, OSError)):
                    raise
                # No listener hears of sessions that expire until then.
                logger.warning("expiries are not heard of (%s)", type(error).__name__)
                stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _hear(self, stop: threading.Event) -> None:
        client = self._link.client
        # A node of a cluster tells only of its own keys.
        nodes = client.get_primaries() if self._link.is_cluster else [None]
        heard = [
            client.pubsub(node=node) if node is not None else client.pubsub() for node in nodes
        ]
        # Another database may have sessions of the same name.
        channel = f"__keyevent@{self._link.database}__:expired"
        try:
            for each in heard:
                each.subscribe(channel)
            while not stop.is_set():
                for each in heard:
                    message = each.get_message(
                        ignore_subscribe_messages=True, timeout=_PATIENCE / len(heard)
                    )
                    if message is not None:
                        self._take(message["data"], client)
                if self._link.is_cluster and len(client.get_primaries()) != len(heard):
                    return
        finally:
            for each in heard:
                each.close()

    def _take(self, name: bytes, client: Client) -> None:
        text = name.decode(errors="replace")
        key = text[len(self._name("s", "")) - 1 : -1]
        # All processes hear of it; the first one tells.
        if (
            ids.is_key(key)
            and text == self._name("s", key)
            and client.set(self._name("e", key), b"", nx=True, px=_CLAIM)
        ):
            self._tell(key)
