"""The way to Redis: one server, Sentinel or Cluster, and trying again while it is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast

import redis
from redis.cluster import RedisCluster
from redis.crc import key_slot

from litesess.clocks import pauses
from litesess.errors import (
    ConfigError,
    ConfigTypeError,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from litesess.stores.redis import scripts
from litesess.stores.redis.address import Address, address_of
from litesess.stores.redis.client import Client, Node, Pipeline
from litesess.stores.redis.scripts import Script

logger = logging.getLogger("litesess.store")

ResultT = TypeVar("ResultT")

_FIRST_WAIT: Final = 0.01
_LONGEST_WAIT: Final = 0.25
#: Errors that pass: the server restarts, fails over, loads its data, or moves slots.
_AWAY: Final = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ClusterError,
    redis.exceptions.RedisClusterException,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
    OSError,
)
#: Errors that do not pass, though the client takes them for a lost connection.
_REFUSED: Final = (
    redis.exceptions.AuthenticationError,
    redis.exceptions.AuthorizationError,
)
_AWAY_CODES: Final = (
    "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "BUSY ",
)  # fmt: skip
#: How a client is told to.
_FROM_REPLICAS: Final = ("read_from_replicas", "load_balancing_strategy")


class Call(NamedTuple):
    """A script to be called."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[str | bytes]


class Link:
    """The way to Redis: each command is tried again until it answers or patience ends.

    Attributes:
        name: of the server, for messages; it has no password.
        is_cluster: whether keys lie on several nodes.
    """

    def __init__(
        self,
        server: object,
        timeout: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Take a URL or a client of the package ``redis``; nothing is connected yet.

        Args:
            server: one of these.
            timeout: the longest wait for an answer, tries and pauses together, in seconds.
            monotonic: returns seconds that never go back.
            sleep: how to wait between tries.

        Raises:
            ConfigError: *server* is neither.
        """
        self._timeout = timeout
        self._monotonic = monotonic
        self._sleep = sleep
        self._is_closed = False
        self._client: Client | None = None
        self._is_own = isinstance(server, str)
        address = address_of(server, timeout) if isinstance(server, str) else _given(server)
        self.name, self._make_client, self.is_cluster = address

    @property
    def client(self) -> Client:
        """The client; made when it is first asked for, as a cluster's connects at once.

        A client of the package ``redis`` notices that the process was forked.
        """
        if self._is_closed:
            raise StoreClosed("the Redis store was closed")
        if self._client is None:
            self._client = self._make_client()
        return self._client

    def close(self) -> None:
        """Let go of the connections, but of a client's that was given.  Again is harmless."""
        self._is_closed = True
        if self._client is not None and self._is_own:
            self._client.close()
        self._client = None

    @property
    def database(self) -> int:
        """The number of the database that has the keys; a cluster has one."""
        return int(self.client.get_connection_kwargs().get("db") or 0)

    def are_together(self, one: str, other: str) -> bool:
        """Return whether one script may use both keys."""
        return not self.is_cluster or key_slot(one.encode()) == key_slot(other.encode())

    def do(self, ask: Callable[[Client], ResultT], *, is_repeatable: bool = True) -> ResultT:
        """Return the result of *ask* for the client.

        Args:
            ask: called until it answers.
            is_repeatable: it may be done twice, if an answer was lost.

        Raises:
            StoreUnavailable: Redis can't be reached; the commands may have been done.
            StoreFull: it has no memory left.
            StoreError: it refuses.
        """
        began = self._monotonic()
        waits = pauses(_FIRST_WAIT, _LONGEST_WAIT)
        while True:
            try:
                return ask(self.client)
            except StoreError:
                raise
            except (redis.exceptions.RedisError, OSError) as error:
                failure = self._failure(error)
                left = began + self._timeout - self._monotonic()
                if not (is_repeatable and isinstance(failure, StoreUnavailable) and left > 0):
                    # Without its cause: that may show values of the session.
                    raise failure from None
            self._sleep(min(left, next(waits)))

    def call(
        self,
        script: Script,
        keys: Sequence[str],
        *arguments: str | bytes,
        is_repeatable: bool = True,
    ) -> Any:
        """Return a script's answer; raises as :meth:`do` does."""
        return self.do(
            lambda client: _run(client, Call(script, keys, arguments)), is_repeatable=is_repeatable
        )

    def call_all(self, calls: Sequence[Call], *, is_repeatable: bool = True) -> list[Any]:
        """Return the scripts' answers, called in this order; in one go where that can be.

        Raises as :meth:`do` does; those that come first may have been done.
        """
        if not calls:
            return []
        if self.is_cluster or len(calls) == 1:
            # All of them again: the first ones may have been undone since.
            return self.do(
                lambda client: [_run(client, call) for call in calls], is_repeatable=is_repeatable
            )
        return self.do(lambda client: _run_all(client, calls), is_repeatable=is_repeatable)

    def pipe(self, command: str, arguments: Sequence[Sequence[str]]) -> list[Any]:
        """Return the answers to a command, in one go; raises as :meth:`do` does.

        Args:
            command: the client's method.
            arguments: of each call.
        """

        def ask(client: Client) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for each in arguments:
                getattr(pipeline, command)(*each)
            return _answers(pipeline)

        return self.do(ask) if arguments else []

    def nodes(self) -> Sequence[Node | None]:
        """Return the nodes that hold keys; None stands for the only one."""
        return self.do(lambda client: client.get_primaries()) if self.is_cluster else [None]

    def scan(
        self, node: Node | None, cursor: int, pattern: str, count: int
    ) -> tuple[int, list[bytes]]:
        """Return the next cursor, 0 after the last, and the names that SCAN has found."""
        if node is None:
            found: tuple[int, list[bytes]] = self.do(
                lambda client: client.scan(cursor, match=pattern, count=count)
            )
            return found
        cursors, names = self.do(
            lambda client: client.scan(cursor, match=pattern, count=count, target_nodes=node)
        )
        return cursors[node.name], names

    def _failure(self, error: Exception) -> StoreError:
        """Return the error to raise for one of the client's; it shows no command."""
        text = str(error)
        if isinstance(error, _REFUSED) or text.startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
            return StoreError(f"{self.name} refuses the user or password ({type(error).__name__})")
        if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM " in text:
            return StoreFull(f"{self.name} has no memory left (maxmemory)")
        is_code = any(code in text for code in _AWAY_CODES)
        if is_code or isinstance(error, _AWAY):
            if isinstance(error, redis.exceptions.ReadOnlyError) or "READONLY" in text:
                return StoreUnavailable(f"{self.name} is a replica, or becomes one")
            return StoreUnavailable(f"{self.name} can't be reached ({type(error).__name__})")
        code = text.partition(" ")[0] if text.partition(" ")[0].isupper() else ""
        return StoreError(f"{self.name} refuses: {type(error).__name__} {code}".rstrip())


def _run(client: Client, call: Call) -> Any:
    script, keys, arguments = call
    try:
        return client.evalsha(script.sha, len(keys), *keys, *arguments)
    except redis.exceptions.NoScriptError:
        # A cluster's node that has none of them, a server that was restarted.
        return client.eval(script.text, len(keys), *keys, *arguments)


def _run_all(client: Client, calls: Sequence[Call]) -> list[Any]:
    def run() -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for script, keys, arguments in calls:
            pipeline.evalsha(script.sha, len(keys), *keys, *arguments)
        return _answers(pipeline)

    try:
        return run()
    except redis.exceptions.NoScriptError:
        # Not one by one: those before the missing one have been done, and may be done twice.
        for script in scripts.ALL:
            client.script_load(script.text)
        return run()


def _given(server: object) -> Address:
    """Return the address of a client that a caller has made."""
    if not isinstance(server, (redis.Redis, RedisCluster)):
        raise ConfigTypeError(
            f"server is of type {type(server).__name__}, neither a URL nor a redis client"
        )
    if server.get_encoder().decode_responses:
        raise ConfigError("the redis client decodes responses; make it without")
    if any(getattr(server, name, None) for name in _FROM_REPLICAS):
        # A replica may not have a session that was just stored, or still have one that ended.
        raise ConfigError("the redis client reads from replicas; make it without")
    client = cast("Client", server)
    return Address("redis", lambda: client, is_cluster=isinstance(server, RedisCluster))


def _answers(pipeline: Pipeline) -> list[Any]:
    # Not raised by the pipeline: its error would show the command, and with it the values.
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
