"""The address of a Redis server: from a URL to a client."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, NamedTuple, TypeAlias, cast
from urllib.parse import SplitResult, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from litesess.errors import ConfigError
from litesess.stores.redis.client import Client

maint_notifications: ModuleType | None
try:
    from redis import maint_notifications
except ImportError:  # an older client knows no such notifications
    maint_notifications = None

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")

Hosts: TypeAlias = "list[tuple[str, int]]"


class Address(NamedTuple):
    """A server, or several.

    Attributes:
        name: of the server, for messages; it has no password.
        make_client: returns a new client.
        is_cluster: whether keys lie on several nodes.
        is_own: whether the clients are the store's own, to be closed.
    """

    name: str
    make_client: Callable[[], Client]
    is_cluster: bool = False
    is_own: bool = True


def patient(share: float) -> dict[str, Any]:
    """Return the settings of connections for which one try takes at most *share* seconds."""
    settings: dict[str, Any] = {
        # One try: the store tries again, and knows what may be done twice.
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": share,
        "socket_connect_timeout": share,
        "health_check_interval": 0,
    }
    if maint_notifications is not None:
        # They let a try take longer, and a proxy may not know the command.
        settings["maint_notifications_config"] = maint_notifications.MaintNotificationsConfig(
            enabled=False
        )
    return settings


def address_of(url: str, share: float) -> Address:
    """Return the address in *url*.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://`` or
            ``redis+cluster://``; see :class:`~litesess.stores.redis.RedisStore`.
        share: the longest wait of one try for a connection or an answer, in seconds.

    Raises:
        ConfigError: the URL is malformed, or has an unknown scheme.
    """
    try:
        parts = urlsplit(url)
        given = [_host_and_port(each) for each in parts.netloc.rpartition("@")[2].split(",")]
    except ValueError:
        raise ConfigError("the URL of the Redis server can't be read") from None
    if parts.scheme not in SCHEMES:
        raise ConfigError(
            f"{parts.scheme or 'what was given'}: no such scheme; known are"
            f" {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
        )
    options = patient(share)
    usual = 26379 if parts.scheme == "redis+sentinel" else 6379
    hosts = [(host, port or usual) for host, port in given]
    name = f"{parts.scheme}://{','.join(f'{host}:{port}' for host, port in hosts)}"
    if parts.scheme in ("redis", "rediss", "unix"):
        return _one(url, parts, name, options)
    if parts.query or parts.fragment:
        raise ConfigError(
            f"{parts.scheme}: the URL takes no options; give a redis client with them"
        )
    username, _, password = parts.netloc.rpartition("@")[0].partition(":")
    if username or password:
        options |= {"username": unquote(username) or None, "password": unquote(password) or None}
    of_several = _cluster if parts.scheme == "redis+cluster" else _sentinel
    return of_several(parts, name, hosts, options)


def _one(url: str, parts: SplitResult, name: str, options: dict[str, Any]) -> Address:
    try:
        connection: Any = redis.ConnectionPool.from_url(url).make_connection()
    except (TypeError, ValueError, redis.exceptions.RedisError):
        raise ConfigError(f"{parts.scheme}: the URL of the Redis server is wrong") from None
    if connection.encoder.decode_responses:
        raise ConfigError(f"{parts.scheme}: leave decode_responses out of the URL")
    if parts.scheme == "unix":
        name = f"unix:{parts.path}"
    return Address(name, lambda: cast("Client", redis.Redis.from_url(url, **options)))


def _cluster(parts: SplitResult, name: str, hosts: Hosts, options: dict[str, Any]) -> Address:
    if parts.path.strip("/0"):
        raise ConfigError("redis+cluster: a cluster has no other database than 0")
    startup = [ClusterNode(host, port) for host, port in hosts]
    return Address(
        name,
        lambda: cast("Client", RedisCluster(startup_nodes=startup, **options)),
        is_cluster=True,
    )


def _sentinel(parts: SplitResult, name: str, hosts: Hosts, options: dict[str, Any]) -> Address:
    service, _, database = parts.path.strip("/").partition("/")
    if not service or (database and not database.isdigit()):
        raise ConfigError(
            "redis+sentinel: the URL is redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB"
        )
    timeouts = {key: options[key] for key in ("retry", "socket_timeout", "socket_connect_timeout")}

    def make() -> Client:
        sentinel: Any = Sentinel(hosts, sentinel_kwargs=timeouts, **options)
        return cast("Client", sentinel.master_for(service, db=int(database or 0)))

    return Address(f"{name}/{service}", make)


def _host_and_port(text: str) -> tuple[str, int | None]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), None
    return host.strip("[]"), int(port)
