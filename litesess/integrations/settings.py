"""A store and a manager's options from one flat mapping of settings, as configuration files have.

======================  =======================================================================
``path``                the store's directory; in its place ``store = memory``, for tests
``secret``              what signs the cookie; several, newest first, on a line each
``cookie.<name>``       an option of ``CookieSettings``
any other               an option of ``WALStore`` or of the middleware
======================  =======================================================================

Text is read as what the option takes: ``true``, ``off``, ``300``; ``none`` or nothing is None.
What is no text, such as a function, is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from litesess.advice import suggestion
from litesess.errors import ConfigError, ConfigTypeError
from litesess.options import Options, parsed
from litesess.stores.base import Store
from litesess.stores.memory import MemoryOptions, MemoryStore
from litesess.stores.wal import WALOptions, WALStore
from litesess.web import CookieSettings, ManagerOptions

_COOKIE: Final = "cookie."


def from_settings(settings: Mapping[str, Any], prefix: str = "") -> tuple[Store, dict[str, Any]]:
    """Return a store, and the options for a middleware over it.

    Args:
        settings: what a configuration has; names without *prefix* are somebody else's.
        prefix: what each of ours begins with, such as ``"litesess."``.

    Raises:
        ConfigError: one is unknown, missing or wrong, or two contradict each other.
    """
    given = {
        name.removeprefix(prefix): value
        for name, value in settings.items()
        if name.startswith(prefix)
    }
    cookie = {
        name.removeprefix(_COOKIE): given.pop(name)
        for name in list(given)
        if name.startswith(_COOKIE)
    }
    store = _store(given, prefix)
    known = _names(ManagerOptions) - {"store", "cookie"}
    of_cookie = {_COOKIE + name for name in _names(CookieSettings)}
    _check_known(given, known | _names(WALOptions) | {"path"} | of_cookie, prefix)
    options = parsed(ManagerOptions, given)
    if cookie:
        _check_known(cookie, _names(CookieSettings), prefix + _COOKIE)
        options["cookie"] = parsed(CookieSettings, cookie)
    return store, options


def _store(given: dict[str, Any], prefix: str) -> Store:
    """Return the store, and take what is its own out of *given*."""
    kind, path = given.pop("store", None), given.pop("path", None)
    if isinstance(kind, Store):
        return kind
    if kind not in (None, "memory"):
        raise ConfigError(f"{prefix}store {kind!r} is neither a store nor 'memory'")
    if (kind is None) == (path is None):
        raise ConfigError(f"give either {prefix}path, a directory, or {prefix}store = memory")
    declaration: type[Options] = WALOptions if kind is None else MemoryOptions
    names = _names(declaration)
    own = {name: given.pop(name) for name in list(given) if name in names and name != "clock"}
    clock = {"clock": given["clock"]} if "clock" in given else {}
    options = parsed(declaration, own | clock)
    if path is None:
        return MemoryStore(**options)
    if not path:
        raise ConfigError(f"{prefix}path is empty")
    return WALStore(path, **options)


def _names(cls: type[Options]) -> set[str]:
    return {item.name for item in fields(cls)}


def _check_known(given: Mapping[str, Any], known: set[str], prefix: str) -> None:
    for name in given:
        if name not in known:
            hint = suggestion(name, sorted(known), prefix.__add__)
            raise ConfigTypeError(f"unknown setting {prefix}{name}{hint}")
