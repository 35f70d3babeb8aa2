"""A client of the package ``redis`` that a caller has made, as the way to a server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from inspect import signature
from typing import Any, Final, cast

import redis
from redis.cluster import RedisCluster

from litesess.errors import ConfigError, ConfigTypeError
from litesess.stores.redis.address import Address, patient
from litesess.stores.redis.client import Client

#: How a client is told to.
_FROM_REPLICAS: Final = ("read_from_replicas", "load_balancing_strategy")
_TIMEOUTS: Final = ("socket_timeout", "socket_connect_timeout")
_DEFAULTS: Final = {
    name: signature(redis.Redis.__init__).parameters[name].default for name in (*_TIMEOUTS, "retry")
}
#: Settings of a connection that belong to one pool, or that :func:`patient` sets.
_OF_POOL: Final = re.compile(
    r"(socket_(connect_)?timeout|retry(_on_\w+)?|health_check_interval|event_dispatcher"
    r"|himport_registry|(maint|oss|orig|cache)_?\w*)\Z"
)


def given(server: object, timeout: float, share: float) -> Address:
    """Return the address of a client; it is left open, and never changed.

    The store connects as the client does, but with timeouts of its own in the place of those that
    the client has by default.  A client with a pool of another class than ``ConnectionPool`` is
    used itself, as that class may do anything, and so is a cluster's.

    Args:
        server: the client.
        timeout: the longest wait for an answer, tries and pauses together, in seconds.
        share: the part of it for one try, in seconds.

    Raises:
        ConfigError: it is no client, or can't be used; the message names the setting to change.
    """
    if not isinstance(server, (redis.Redis, RedisCluster)):
        raise ConfigTypeError(
            f"server is of type {type(server).__name__}, neither a URL nor a redis client"
        )
    client: Any = server
    if client.get_encoder().decode_responses:
        raise ConfigError("the redis client decodes responses; make it without decode_responses")
    if any(getattr(client, name, None) for name in _FROM_REPLICAS):
        # A replica may not have a session that was just stored, or still have one that ended.
        raise ConfigError("the redis client reads from replicas; make it without")
    if isinstance(client, RedisCluster):
        settings = client.get_connection_kwargs()
        _check_patience({**settings, "retry": client.retry}, {}, timeout, share)
        return Address("redis", lambda: cast("Client", client), is_cluster=True, is_own=False)
    pool = client.connection_pool
    if getattr(pool, "cache", None) is not None:
        # It would show a session that another worker has ended.
        raise ConfigError("the redis client caches its reads; make it without a cache")
    settings = pool.connection_kwargs
    name = _name(settings)
    if type(pool) is redis.ConnectionPool:
        _check_patience(settings, _DEFAULTS, timeout, share)
        return Address(name, lambda: _like(pool, share))
    _check_patience(settings, {}, timeout, share)
    _check_pool(pool, timeout, share)
    return Address(name, lambda: cast("Client", client), is_own=False)


def _name(settings: Mapping[str, Any]) -> str:
    if "path" in settings:
        return f"unix:{settings['path']}"
    if "host" not in settings:
        return "redis"
    return f"redis://{settings['host']}:{settings.get('port') or 6379}"


def _like(pool: Any, share: float) -> Client:
    """Return a client that connects as the pool's own one does, for so many seconds a try."""
    settings = {
        name: value for name, value in pool.connection_kwargs.items() if not _OF_POOL.match(name)
    }
    settings |= patient(share)
    for name in _TIMEOUTS:
        own = pool.connection_kwargs.get(name, _DEFAULTS[name])
        if own != _DEFAULTS[name]:
            settings[name] = min(own, share)
    connections = redis.ConnectionPool(
        connection_class=pool.connection_class, max_connections=pool.max_connections, **settings
    )
    return cast("Client", redis.Redis(connection_pool=connections))


def _check_pool(pool: Any, timeout: float, share: float) -> None:
    """Check a pool's other waits, besides the answer: for a free connection, or Sentinels."""
    if isinstance(pool, redis.BlockingConnectionPool) and (
        pool.timeout is None or pool.timeout > timeout
    ):
        raise ConfigError(
            f"the redis client waits for a free connection longer than timeout {timeout:g} s, by"
            f" timeout={pool.timeout} of its BlockingConnectionPool; make that with {share:g}"
        )
    for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
        settings = sentinel.connection_pool.connection_kwargs
        _check_patience(settings, {}, timeout, share, "sentinel_kwargs of the redis client")


def _check_patience(
    settings: Mapping[str, Any],
    replaced: Mapping[str, Any],
    timeout: float,
    share: float,
    subject: str = "the redis client",
) -> None:
    """Raise ConfigError if one command of a client may take longer than *timeout*.

    Args:
        settings: of its connections.
        replaced: settings that do not matter, as the store has its own in their place.
        timeout: in seconds.
        share: of it, for one try, in seconds.
        subject: the client with these settings, for the error.
    """
    wrong = [*_wrong(settings, replaced, timeout)]
    if wrong:
        raise ConfigError(
            f"{subject} may wait longer than timeout {timeout:g} s, by {' and '.join(wrong)}; make"
            f" it with socket_timeout={share:g}, socket_connect_timeout={share:g},"
            " retry=Retry(NoBackoff(), 0), or give a URL in its place"
        )


def _wrong(
    settings: Mapping[str, Any], replaced: Mapping[str, Any], timeout: float
) -> Iterator[str]:
    """Yield each setting by which a client may wait for longer than *timeout*."""
    longest = 0.0
    for name in _TIMEOUTS:
        value = settings.get(name, _DEFAULTS[name])
        if name in replaced and value == replaced[name]:
            continue
        if value is None or value > timeout:
            yield f"{name}={value}"
        else:
            longest = max(longest, value)
    retry = settings.get("retry")
    if retry is None or ("retry" in replaced and retry == replaced["retry"]):
        return
    retries = retry.get_retries()
    if retries < 0 or retries * longest > timeout - longest:
        yield f"retry with {retries if retries >= 0 else 'endless'} retries"
