"""The way to Redis: one server, Sentinel or Cluster, and trying again while it is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, Final, TypeVar

from redis.crc import key_slot

from litesess.clocks import pauses
from litesess.errors import StoreClosed
from litesess.stores.address import Place
from litesess.stores.redis.address import address_of
from litesess.stores.redis.calling import NAMES, Call, Calling, piped
from litesess.stores.redis.client import Client, Node
from litesess.stores.redis.failures import ERRORS, Failure, failure_of
from litesess.stores.redis.given import given
from litesess.stores.redis.lua import Script

logger = logging.getLogger("litesess.store.connection")

ResultT = TypeVar("ResultT")

_FIRST_WAIT: Final = 0.01
_LONGEST_WAIT: Final = 0.25
#: The part of the patience that one try may take, so that three fit in.
_SHARE: Final = 0.3
#: So many commands go to the server together: it must answer within one try.
_BATCH: Final = 500
#: No try takes longer, in seconds.  Source: select(2), which limits its time.
_LONGEST_TRY: Final = 3600.0


class Link:
    """The way to Redis: each command is tried again until it answers or patience ends.

    A command can be done twice if an answer was lost: each command sent here must allow that.

    Attributes:
        name: of the server, for messages; it has no password.
        is_cluster: whether keys lie on several nodes.
        drops: how often the connections were dropped, as they led to a wrong or dead server.
    """

    def __init__(
        self,
        server: object,
        timeout: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Take a place or a client of the package ``redis``; nothing is connected yet.

        Args:
            server: one of these.
            timeout: the longest wait for an answer, tries and pauses together, in seconds.
            monotonic: returns seconds that never go back.
            sleep: how to wait between tries.

        Raises:
            ConfigError: *server* is neither, or a client that may wait longer than *timeout*.
        """
        self._timeout = timeout
        self._share = min(_SHARE * timeout, _LONGEST_TRY)
        self._monotonic = monotonic
        self._sleep = sleep
        self._is_closed = False
        self._lock = Lock()  # Guards: _client, _is_closed, drops.
        self._client: Client | None = None
        self._calling = Calling()
        self._told = ""
        self.drops = 0
        if isinstance(server, Place):
            address = address_of(server, self._share)
        else:
            address = given(server, timeout, self._share)
        self.name, self._make_client, self.is_cluster, self._is_own = address

    @property
    def client(self) -> Client:
        """The client; made when it is first asked for, as a cluster's connects at once.

        A client of the package ``redis`` notices that the process was forked.
        """
        client = self._client
        if client is not None:
            return client
        if self._is_closed:
            raise StoreClosed("the Redis store was closed")
        # Not under the lock: a cluster's client may wait for servers that don't answer, and each of
        # many threads would wait for all those before it.
        made = self._make_client()
        with self._lock:
            if self._client is None and not self._is_closed:
                self._client = made
            client = self._client
        if client is not made and self._is_own:
            with suppress(*ERRORS):
                made.close()
        if client is None:
            raise StoreClosed("the Redis store was closed")
        return client

    def new_client(self) -> Client:
        """Return a client with its own connections, if possible; close it later.

        Of a cluster, and of a client that was given, that is :attr:`client`, which must stay open.
        """
        return self._make_client() if self.is_renewable else self.client

    @property
    def is_renewable(self) -> bool:
        """Whether another client can take the place of this one."""
        return self._is_own and not self.is_cluster

    def close(self) -> None:
        """Close the connections, except those of a given client.  Again is harmless."""
        with self._lock:
            client, self._client, self._is_closed = self._client, None, True
        if client is not None and self._is_own:
            client.close()

    @property
    def database(self) -> int:
        """The number of the database that has the keys; a cluster has one."""
        return int(self.client.get_connection_kwargs().get("db") or 0)

    def are_together(self, one: str, other: str) -> bool:
        """Return whether one script may use both keys."""
        return not self.is_cluster or key_slot(one.encode()) == key_slot(other.encode())

    def do(
        self,
        ask: Callable[[Client], ResultT],
        *,
        command: str = "",
        key: str = "",
        on_loss: Callable[[], object] | None = None,
    ) -> ResultT:
        """Return the result of *ask* for the client.

        Args:
            ask: called until it answers.
            command: that it sends, for errors; "": several.
            key: that the command is about.
            on_loss: called before a try if the answer to the try before was lost.

        Raises:
            StoreUnavailable: Redis can't be used now; the commands may have been done.
            StoreFull: it has no memory left.
            StoreError: it refuses.
        """
        began = self._monotonic()
        waits = pauses(_FIRST_WAIT, _LONGEST_WAIT)
        while True:
            client: Client | None = None
            try:
                client = self.client
                result = ask(client)
            except ERRORS as error:
                failure = failure_of(error, self.name, command, key)
            else:
                self._told = ""
                if client is not self._client:
                    self._disconnect(client)
                return result
            meaning = failure.meaning
            if meaning.drops and client is not None:
                self._drop(client)
            left = began + self._timeout - self._monotonic()
            # Another try would not end in time.
            is_late = left <= 0 or (meaning.timed_out and left < self._share)
            if is_late or not meaning.passes:
                self._log(failure)
                # Without its cause: that may show values of the session.
                raise failure.error from None
            if failure.is_lost and on_loss is not None:
                on_loss()
            self._sleep(min(left, next(waits)))

    def ask(self, command: str, key: str, *arguments: Any, **options: Any) -> Any:
        """Return the answer to one command, named as the client's method; raises as :meth:`do`."""
        return self.do(
            lambda client: getattr(client, command)(key, *arguments, **options),
            command=command.upper(),
            key=key,
        )

    def call(
        self,
        script: Script,
        keys: Sequence[str],
        *arguments: str | bytes,
        on_loss: Callable[[], object] | None = None,
    ) -> Any:
        """Return a script's answer; raises as :meth:`do` does."""
        call = Call(script, keys, arguments)
        return self.do(
            lambda client: self._calling.run(client, call),
            command=NAMES[script.sha], key=keys[0], on_loss=on_loss,
        )  # fmt: skip

    def call_all(
        self, calls: Sequence[Call], *, on_loss: Callable[[], object] | None = None
    ) -> list[Any]:
        """Return the scripts' answers, called in this order; in one go where that can be.

        Raises as :meth:`do` does; those that come first may have been done.
        """
        if not calls:
            return []
        if len(calls) == 1:
            script, keys, arguments = calls[0]
            return [self.call(script, keys, *arguments, on_loss=on_loss)]
        run = self._calling.run_each if self.is_cluster else self._calling.run_all
        answers: list[Any] = []
        for at in range(0, len(calls), _BATCH):
            # All of them again: the first ones may have been undone since.
            answers += self.do(partial(run, calls=calls[at : at + _BATCH]), on_loss=on_loss)
        return answers

    def pipe(self, command: str, arguments: Sequence[Sequence[str]]) -> list[Any]:
        """Return the answers to a command, in one go; raises as :meth:`do` does.

        Args:
            command: the client's method.
            arguments: of each call; the first is a key.
        """
        answers: list[Any] = []
        for at in range(0, len(arguments), _BATCH):
            ask = partial(piped, command=command, arguments=arguments[at : at + _BATCH])
            answers += self.do(ask, command=command.upper())
        return answers

    def nodes(self) -> Sequence[Node | None]:
        """Return the nodes that hold keys; None stands for the only one."""
        return self.do(lambda client: client.get_primaries()) if self.is_cluster else [None]

    def scan(
        self, node: Node | None, cursor: int, pattern: str, count: int
    ) -> tuple[int, list[bytes]]:
        """Return the next cursor, 0 after the last, and the names that SCAN has found."""
        if node is None:
            found: tuple[int, list[bytes]] = self.do(
                lambda client: client.scan(cursor, match=pattern, count=count), command="SCAN"
            )
            return found
        cursors, names = self.do(
            lambda client: client.scan(cursor, match=pattern, count=count, target_nodes=node),
            command="SCAN",
        )
        return cursors[node.name], names

    def _drop(self, client: Client) -> None:
        """Drop all connections: they may lead to the same server.  The next try makes new ones."""
        with self._lock:
            self.drops += 1
            if self.is_renewable and self._client is client:
                self._client = None
            self._calling.forget()
        self._disconnect(client)

    def _disconnect(self, client: Client) -> None:
        """Close the connections of *client* that no thread uses."""
        # The client of a cluster does that for the node alone that is away.
        if not self.is_cluster:
            with suppress(*ERRORS):
                client.connection_pool.disconnect(inuse_connections=False)

    def _log(self, failure: Failure) -> None:
        """Log why Redis can't be reached, once until it answers again or the cause is another."""
        cause = failure.cause
        if cause and cause != self._told:
            self._told = cause
            logger.error("%s can't be reached: %s", self.name, cause)
