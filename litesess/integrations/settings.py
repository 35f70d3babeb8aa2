"""A store and a manager's options from one flat mapping of settings, as configuration files have.

======================  =======================================================================
``path``                the store's directory; in its place ``store``, an address: ``redis://HOST``,
                        ``wal:PATH?collection=NAME`` and so on, or ``memory``, for tests
``secret``              signs the cookie; several secrets, newest first, on a line each
``cookie.<name>``       an option of ``CookieSettings``
any other               an option of the store, or of the middleware
======================  =======================================================================

Text is converted to the option's type: ``true``, ``off``, ``300``.  The text ``none`` and the
empty text stand for None.  A value that is not text, such as a function, is kept as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from litesess.advice import suggestion
from litesess.errors import ConfigError, ConfigTypeError
from litesess.integrations.naming import under
from litesess.options import Options, parsed
from litesess.stores.base import Store
from litesess.stores.memory import MemoryOptions, MemoryStore
from litesess.stores.opening import Place, place_of
from litesess.stores.wal import WALOptions, WALStore
from litesess.web import CookieSettings, ManagerOptions

_COOKIE: Final = "cookie."


def from_settings(settings: Mapping[str, Any], prefix: str = "") -> tuple[Store, dict[str, Any]]:
    """Return a store, and the options for a middleware over it.

    Args:
        settings: the configuration; names without *prefix* are ignored.
        prefix: the beginning of litesess's names, such as ``"litesess."``.

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
    place = _place(given, prefix)
    store = _store(place, given)
    known = _names(ManagerOptions) - {"store", "cookie"}
    of_cookie = {_COOKIE + name for name in _names(CookieSettings)}
    # A store for tests replaces one in a directory, and the directory's options stay in the file.
    of_store = _names(place.options if place.kind == "RedisStore" else WALOptions)
    _check_known(given, known | of_store | {"path", "store"} | of_cookie, prefix)
    options = parsed(ManagerOptions, given)
    if cookie:
        _check_known(cookie, _names(CookieSettings), prefix + _COOKIE)
        options["cookie"] = parsed(CookieSettings, cookie)
    return store, options


def _place(given: dict[str, Any], prefix: str) -> Place:
    """Return the place of the sessions, and remove its settings from *given*."""
    store, path = given.pop("store", None), given.pop("path", None)
    if isinstance(store, Store):
        made = store
        return Place("a store", Options, lambda _own: made)
    if (store is None) == (path is None):
        raise ConfigError(
            f"give either {prefix}path, a directory, or {prefix}store, an address such as"
            " redis://HOST, or memory"
        )
    if store is None:
        if not path:
            raise ConfigError(f"{prefix}path is empty")
        return Place("WALStore", WALOptions, lambda own: WALStore(path, **own))
    if store == "memory":
        return Place("MemoryStore", MemoryOptions, lambda own: MemoryStore(**own))
    if not isinstance(store, str):
        raise ConfigError(f"{prefix}store {store!r} is neither a store nor an address")
    with under(f"{prefix}store"):
        return place_of(store)


def _store(place: Place, given: dict[str, Any]) -> Store:
    """Return the store, and remove its options from *given*."""
    names = _names(place.options)
    own = {name: given.pop(name) for name in list(given) if name in names and name != "clock"}
    clock = {"clock": given["clock"]} if "clock" in given else {}
    return place.make(parsed(place.options, own | clock))


def _names(cls: type[Options]) -> set[str]:
    return {item.name for item in fields(cls)}


def _check_known(given: Mapping[str, Any], known: set[str], prefix: str) -> None:
    for name in given:
        if name not in known:
            hint = suggestion(name, sorted(known), prefix.__add__)
            raise ConfigTypeError(f"unknown setting {prefix}{name}{hint}")
