"""From the URL of a server to a client of it."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from types import ModuleType
from typing import Any, NamedTuple, cast

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import AbstractConnection
from redis.retry import Retry
from redis.sentinel import Sentinel

from litesess.stores.address import Place
from litesess.stores.redis.client import Client

maint_notifications: ModuleType | None
try:
    from redis import maint_notifications
except ImportError:  # an older client knows no such notifications
    maint_notifications = None


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
        # One try: the store tries again itself, and knows the commands that can be done twice.
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


def plain() -> dict[str, Any]:
    """Return the settings of connections that begin with no command that a proxy may not know.

    The store needs nothing of the third version of the protocol, and HELLO begins that.
    """
    known = signature(AbstractConnection.__init__).parameters
    unnamed = ("driver_info",) if "driver_info" in known else ("lib_name", "lib_version")
    return {"protocol": 2, **dict.fromkeys(unnamed)}


def address_of(place: Place, share: float) -> Address:
    """Return the address of a server.

    Args:
        place: as its URL says.
        share: the longest wait of one try for a connection or an answer, in seconds.
    """
    settings = {**patient(share), **plain(), **place.settings}
    if place.scheme == "redis+cluster":
        startup = [ClusterNode(host, port) for host, port in place.hosts]
        return Address(
            place.name,
            lambda: cast("Client", RedisCluster(startup_nodes=startup, **settings)),
            is_cluster=True,
        )
    if place.scheme == "redis+sentinel":
        # Sentinels have users of their own, and none is known of these.
        own = {name: value for name, value in settings.items() if not _is_of_user(name)}
        sentinel: Any = Sentinel([*place.hosts], sentinel_kwargs=own, **settings)
        # The same one each time: it remembers which of the Sentinels has answered.
        return Address(
            place.name,
            lambda: cast("Client", sentinel.master_for(place.service, db=place.database)),
        )
    if place.scheme == "unix":
        where: dict[str, Any] = {"unix_socket_path": place.path}
    else:
        ((host, port),) = place.hosts[:1]
        where = {"host": host, "port": port}
    return Address(
        place.name,
        lambda: cast("Client", redis.Redis(db=place.database, **where, **settings)),
    )


def _is_of_user(name: str) -> bool:
    return name in {"username", "password", "client_name", "max_connections"}
