"""From an address to a store; nothing is opened before its first operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, Final, NamedTuple

from litesess.errors import ConfigError
from litesess.options import Options
from litesess.stores.address import COLLECTION, SCHEMES, Directory, parse
from litesess.stores.base import Store

#: Words that mean a kind of store where other libraries are configured, and no directory.
_NO_PATHS: Final = {
    **dict.fromkeys(SCHEMES, "redis://HOST"),
    **dict.fromkeys(("valkey", "sentinel", "cluster"), "redis://HOST"),
    **dict.fromkeys(("wal", "file", "filesystem"), "the path of a directory"),
    "memory": "a MemoryStore() in Python code",
}


class Place(NamedTuple):
    """The store that an address leads to.

    Attributes:
        kind: the name of the store's class.
        options: the options of such a store.
        make: returns a store, with these options; raises ConfigError.
    """

    kind: str
    options: type[Options]
    make: Callable[[Mapping[str, Any]], Store]


def redis_package() -> ModuleType:
    """Return ``litesess.stores.redis``.

    Raises:
        ConfigError: the package ``redis`` is missing; the message says how to install it.
    """
    # Not above: an app with its sessions on disk has no need of it.
    package = import_module("litesess.stores.redis")
    try:
        package.RedisStore  # noqa: B018  # looking the name up imports the package redis, which is optional
    except ImportError as error:
        raise ConfigError(str(error)) from error
    return package


def place_of(text: str) -> Place:
    """Return the store that an address leads to.

    Args:
        text: as :mod:`litesess.stores.address` draws it.

    Raises:
        ConfigError: it is no address, or leads to Redis and the package ``redis`` is missing; the
            message shows no password.
    """
    if text in _NO_PATHS:
        raise ConfigError(
            f"{text!r} is no address: write {_NO_PATHS[text]}, or ./{text} for a directory"
        )
    address = parse(text)
    if not isinstance(address, Directory):
        redis, url = redis_package(), address.url
        return Place("RedisStore", redis.RedisOptions, lambda own: redis.RedisStore(url, **own))
    # Not above: an app with its sessions in Redis needs no engine.
    wal = import_module("litesess.stores.wal")
    path, collection = address

    def make(own: Mapping[str, Any]) -> Store:
        options = {**own}
        if options.setdefault("collection", collection) != collection != COLLECTION:
            raise ConfigError("collection and ?collection= of the address are different")
        store: Store = wal.WALStore(path, **options)
        return store

    return Place("WALStore", wal.WALOptions, make)
