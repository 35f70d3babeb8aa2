"""The options in a project's settings; each error names its setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from functools import partial
from typing import Any, Final

from litesess import ids
from litesess.advice import suggestion
from litesess.errors import ConfigError, LitesessError
from litesess.integrations.naming import under
from litesess.options import Options, parsed
from litesess.stores.base import Store
from litesess.stores.opening import Place, place_of
from litesess.stores.redis.options import RedisOptions
from litesess.stores.wal import WALOptions, WALStore
from litesess.web import CookieSettings, ManagerOptions

PREFIX: Final = "LITESESS_"
#: The session key of ``django.contrib.auth`` for the user's id.
OWNER_KEY: Final = "_auth_user_id"

#: The options of the middleware that have a part in Django.
_OF_MANAGER: Final = frozenset({
    "absolute_timeout", "client_info", "clock", "drop_at_login", "if_unavailable",
    "max_session_bytes", "on_event", "owner_key", "trust_proxy",
})  # fmt: skip
_EVERY_REQUEST: Final = "SESSION_SAVE_EVERY_REQUEST"
#: Options without effect in Django, each with the setting or rule that decides instead.
_INSTEAD: Final = {
    "cache_headers": "Django's own middleware for caches decides",
    "cookie": "set SESSION_COOKIE_SECURE, _SAMESITE, _DOMAIN, _PATH and _HTTPONLY",
    "cookie_name": "set SESSION_COOKIE_NAME",
    "environ_key": "the session is request.session",
    "genid": "ids have the form that Django gives them",
    "keep_on_error": "Django stores no session with a response of 500 and above",
    "resave": f"set {_EVERY_REQUEST}",
    "rolling": f"set {_EVERY_REQUEST}",
    "save_uninitialized": f"call request.session.save(), or set {_EVERY_REQUEST}",
    "secret": "the cookie holds a random id, as Django's does, and is not signed",
    "ttl": "set SESSION_COOKIE_AGE",
    "unset": "call request.session.flush()",
}
_OF_STORES: Final = {item.name for item in (*fields(WALOptions), *fields(RedisOptions))}


class Settings:
    """The readable settings of litesess, and the errors in the rest.

    Attributes:
        problems: one sentence each.
    """

    def __init__(self, settings: Any) -> None:
        """Read them; nothing is opened.

        Args:
            settings: Django's.
        """
        self.problems: list[str] = []
        self._given: dict[str, Any] = {
            name.removeprefix(PREFIX).lower(): getattr(settings, name)
            for name in sorted(dir(settings))
            if name.startswith(PREFIX) and name.isupper()
        }
        place = self._tried(lambda: _place_of(self._given)) or _NOWHERE
        names = {item.name for item in fields(place.options)} - {"ttl"}
        known = {*_OF_MANAGER, *names, "path", "store"}
        for name in self._given:
            if name not in known:
                self.problems.append(_unknown(name, known, place))
        self._place = place
        self._of_store = self._checked(place.options, names & self._given.keys())
        self._of_manager = self._checked(ManagerOptions, _OF_MANAGER & self._given.keys())

    def open(self) -> dict[str, Any]:
        """Return the options for a manager, its store among them, which opens no file yet.

        Raises:
            ConfigError: there is a problem.
            StoreError: the store's files can't be used.
        """
        store = None
        if not self.problems:
            store = self._tried(self._made)
        if self.problems:
            raise ConfigError("; ".join(self.problems))
        return {
            "owner_key": OWNER_KEY,
            **self._of_manager,
            "store": store,
            # Django sends the cookie.  None of this reaches a client.
            "secret": ids.new_secret(),
            "cookie": CookieSettings(),
        }

    def _made(self) -> Store:
        name = "STORE" if self._given.get("path") is None else "PATH"
        with under(PREFIX + name):
            return self._place.make(self._of_store)

    def makes_the_store(self) -> bool:
        """Return whether the settings describe the store, rather than name one of the project."""
        return not isinstance(self._given.get("store"), Store)

    def _checked(self, cls: type[Options], names: set[str] | frozenset[str]) -> dict[str, Any]:
        """Return the given options of *cls*, with text converted to each option's type."""
        given = {name: self._given[name] for name in names}
        options = self._tried(lambda: parsed(cls, given)) or {}
        for item in fields(cls):
            if item.name in options:
                self._tried(partial(_check, item, options[item.name]))
        return options

    def _tried(self, work: Callable[[], Any]) -> Any:
        """Return the result of *work*; for an error return None, and note it."""
        try:
            return work()
        except ConfigError as error:
            self.problems.append(str(error))
            return None


class _NoOptions(Options):
    """The options of a store that there is already."""


#: Where the sessions are kept as long as the settings don't say; the problem is noted.
_NOWHERE: Final = Place("WALStore", WALOptions, lambda own: WALStore("", **own))


def _place_of(given: Mapping[str, Any]) -> Place:
    path, store = given.get("path"), given.get("store")
    if path is not None and store is not None:
        raise ConfigError(f"{PREFIX}PATH and {PREFIX}STORE are both set; give one of them")
    if isinstance(store, Store):
        return Place("store that is given", _NoOptions, lambda _own: store)
    if isinstance(store, str):
        with under(f"{PREFIX}STORE"):
            return place_of(store)
    if store is not None:
        raise ConfigError(
            f"{PREFIX}STORE is of type {type(store).__name__}, neither a Store nor an address"
        )
    if path is None:
        raise ConfigError(
            f"{PREFIX}PATH is not set: the directory where the sessions are kept; or give"
            f" {PREFIX}STORE, a store or an address such as redis://HOST"
        )
    return Place("WALStore", WALOptions, lambda own: WALStore(path, **own))


def _unknown(name: str, known: set[str], place: Place) -> str:
    key = PREFIX + name.upper()
    if name in _INSTEAD:
        return f"{key} has no part in Django: {_INSTEAD[name]}"
    if name in _OF_STORES:
        return f"{key} is no setting of a {place.kind}"
    hint = suggestion(name, sorted(known), lambda each: PREFIX + each.upper())
    return f"unknown setting {key!r}{hint}"


def _check(item: Field[Any], value: Any) -> None:
    with under(key := PREFIX + item.name.upper()):
        item.metadata["check"](key, value)


def problems_of(settings: Any) -> list[str]:
    """Return the errors in the settings, or in the store that they name."""
    read = Settings(settings)
    if not read.problems and read.makes_the_store():
        try:
            read.open()["store"].close()
        except LitesessError as error:
            return [str(error)]
    return read.problems
