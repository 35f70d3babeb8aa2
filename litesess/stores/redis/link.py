"""The way to Redis: one server, Sentinel or Cluster; what to do when it is not there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.retry import Retry
from redis.sentinel import Sentinel

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
from litesess.stores.redis.scripts import Script

logger = logging.getLogger("litesess.store")

ResultT = TypeVar("ResultT")

_FIRST_WAIT: Final = 0.01
_LONGEST_WAIT: Final = 0.25
SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
#: What may go by: the server restarts, fails over, loads its data, or moves slots.
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
#: What will not, though the client takes it for a lost connection.
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
    """What a store asks of Redis, tried again until it answers or patience ends.

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
            timeout: the longest wait for what is asked, tries and pauses together, in seconds.
            monotonic: returns seconds that never go back.
            sleep: how to wait between tries.

        Raises:
            ConfigError: *server* is neither.
        """
        self._timeout = timeout
        self._monotonic = monotonic
        self._sleep = sleep
        self._is_closed = False
        self._client: Any = None
        if isinstance(server, str):
            self.name, self._make_client = _maker(server, timeout)
            self.is_cluster = server.startswith("redis+cluster:")
        elif isinstance(server, (redis.Redis, RedisCluster)):
            if server.get_encoder().decode_responses:
                raise ConfigError("the redis client decodes responses; make it without")
            if any(getattr(server, name, None) for name in _FROM_REPLICAS):
                # A session that was just stored, or ended, may not be so there.
                raise ConfigError("the redis client reads from replicas; make it without")
            self.name = "redis"
            self._make_client = lambda: server
            self.is_cluster = isinstance(server, RedisCluster)
        else:
            raise ConfigTypeError(
                f"server is of type {type(server).__name__}, neither a URL nor a redis client"
            )
        self._is_own = isinstance(server, str)

    @property
    def client(self) -> Any:
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
        """Say whether one script may use both keys."""
        return not self.is_cluster or key_slot(one.encode()) == key_slot(other.encode())

    def do(self, ask: Callable[[Any], ResultT], *, is_repeatable: bool = True) -> ResultT:
        """Return what *ask* returns for the client.

        Args:
            ask: called until it answers.
            is_repeatable: it may be done twice, if an answer was lost.

        Raises:
            StoreUnavailable: Redis can't be reached; what was asked may have been done.
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
                    # Without its cause: that may show what was to be stored.
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
        if self.is_cluster or len(calls) == 1:
            # All of them again: what comes first may have been undone since.
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

        def ask(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for each in arguments:
                getattr(pipeline, command)(*each)
            return _answers(pipeline)

        return self.do(ask) if arguments else []

    def nodes(self) -> list[Any]:
        """Return the nodes that hold keys; None stands for the only one."""
        return self.do(lambda client: client.get_primaries()) if self.is_cluster else [None]

    def scan(self, node: Any, cursor: int, pattern: str, count: int) -> tuple[int, list[bytes]]:
        """Return the next cursor, 0 behind the last, and the names that SCAN has found."""
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
        """Return the error to raise for one of the client's, without what it says of commands."""
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


def _run(client: Any, call: Call) -> Any:
    script, keys, arguments = call
    try:
        return client.evalsha(script.sha, len(keys), *keys, *arguments)
    except redis.exceptions.NoScriptError:
        # A cluster's node that has none of them, a server that was restarted.
        return client.eval(script.text, len(keys), *keys, *arguments)


def _run_all(client: Any, calls: Sequence[Call]) -> list[Any]:
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


def _answers(pipeline: Any) -> list[Any]:
    # Not raised by the pipeline: it would add the command, and with it what was to be stored.
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _maker(url: str, timeout: float) -> tuple[str, Callable[[], Any]]:
    """Return the server's name for messages, and what makes a client."""
    try:
        parts = urlsplit(url)
        nodes = [_host_and_port(each) for each in parts.netloc.rpartition("@")[2].split(",")]
    except ValueError:
        raise ConfigError("the URL of the Redis server can't be read") from None
    if parts.scheme not in SCHEMES:
        raise ConfigError(
            f"{parts.scheme or 'what was given'}: no such scheme; known are"
            f" {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
        )
    options: dict[str, Any] = {
        # One try: the store tries again, and knows what may be done twice.
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "health_check_interval": 0,
    }
    usual = 26379 if parts.scheme == "redis+sentinel" else 6379
    nodes = [(host, port or usual) for host, port in nodes]
    name = f"{parts.scheme}://{','.join(f'{host}:{port}' for host, port in nodes)}"
    if parts.scheme in ("redis", "rediss", "unix"):
        try:
            connection: Any = redis.ConnectionPool.from_url(url).make_connection()
        except (TypeError, ValueError, redis.exceptions.RedisError):
            raise ConfigError(f"{parts.scheme}: the URL of the Redis server is wrong") from None
        if connection.encoder.decode_responses:
            raise ConfigError(f"{parts.scheme}: leave decode_responses out of the URL")
        name = f"unix:{parts.path}" if parts.scheme == "unix" else name
        return name, lambda: redis.Redis.from_url(url, **options)
    if parts.query or parts.fragment:
        raise ConfigError(
            f"{parts.scheme}: the URL takes no options; give a redis client with them"
        )
    credentials = parts.netloc.rpartition("@")[0]
    if credentials:
        username, _, password = credentials.partition(":")
        options |= {"username": unquote(username) or None, "password": unquote(password) or None}
    if parts.scheme == "redis+cluster":
        if parts.path.strip("/0"):
            raise ConfigError("redis+cluster: a cluster has no other database than 0")
        startup = [ClusterNode(host, port) for host, port in nodes]
        return name, lambda: RedisCluster(startup_nodes=startup, **options)
    service, _, database = parts.path.strip("/").partition("/")
    if not service or (database and not database.isdigit()):
        raise ConfigError(
            "redis+sentinel: the URL is redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB"
        )
    timeouts = {key: options[key] for key in ("retry", "socket_timeout", "socket_connect_timeout")}

    def make() -> Any:
        sentinel: Any = Sentinel(nodes, sentinel_kwargs=timeouts, **options)
        return sentinel.master_for(service, db=int(database or 0))

    return f"{name}/{service}", make


def _host_and_port(text: str) -> tuple[str, int | None]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), None
    return host.strip("[]"), int(port)
