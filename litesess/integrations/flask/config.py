"""The options in an app's config; each error names the key of the config that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from litesess.advice import suggestion
from litesess.errors import ConfigError, ConfigTypeError
from litesess.integrations.flask.cookie import ConfiguredCookie, check_cookie_name
from litesess.integrations.naming import under
from litesess.options import Options, optional, parsed, seconds, text
from litesess.stores.base import Store
from litesess.stores.opening import Place, place_of
from litesess.stores.redis.options import RedisOptions
from litesess.stores.wal import WALOptions, WALStore
from litesess.web import ManagerOptions, Secrets, check_secrets

if TYPE_CHECKING:
    from flask import Flask
    from flask.sessions import SessionInterface

PREFIX: Final = "LITESESS_"
_OF_STORE: Final = {item.name for item in (*fields(WALOptions), *fields(RedisOptions))}
_OF_MANAGER: Final = {item.name for item in fields(ManagerOptions)}
_NAMES: Final = _OF_STORE | _OF_MANAGER | {"path"}
_KEYS: Final = {PREFIX + name.upper(): name for name in sorted(_NAMES)}
#: The attributes of the cookie that Flask has keys for.
_FLASKS: Final = ("domain", "httponly", "partitioned", "path", "samesite", "secure")
_SUGGESTED: Final = (*sorted(_NAMES), *(f"cookie.{name}" for name in _FLASKS))
#: Options that differ from the manager's: made of other keys, too, or checked together.
_MADE: Final = {"secret", "store", "cookie", "cookie_name"}


#: Options that are read when they are used: ``cookie`` and ``cookie_name``, or one, or none.
Live: TypeAlias = "dict[str, Callable[[], Any]]"


def options_of(app: Flask) -> tuple[dict[str, Any], Live]:
    """Return the options for a manager, with its store, and the options that can change later.

    Args:
        app: the app with the config; its session interface so far knows Flask's own settings of
            the cookie.

    Raises:
        ConfigError: a ``LITESESS_*`` key is unknown, missing or wrong, or two contradict each
            other.
    """
    given = {}
    for key, value in app.config.items():
        if key in _KEYS:
            given[_KEYS[key]] = value
        elif key.startswith(PREFIX):
            hint = suggestion(key.removeprefix(PREFIX).lower(), _SUGGESTED, _key)
            raise ConfigTypeError(f"unknown config key {key!r}{hint}")
    plain = {name: value for name, value in given.items() if name in _OF_MANAGER - _MADE}
    options = _checked(ManagerOptions, plain)
    options["secret"] = _secrets(app.config, given.get("secret"))
    live = _live(app, app.session_interface, given)
    options |= {name: read() for name, read in live.items()}
    if "cookie" not in live:
        options["cookie"] = _checked(ManagerOptions, {"cookie": given["cookie"]})["cookie"]
    key = "SESSION_COOKIE_NAME"
    if "cookie_name" not in live:
        key = f"{PREFIX}COOKIE_NAME"
        options["cookie_name"] = optional(text)(key, given["cookie_name"])
    if options["cookie_name"] is not None:
        check_cookie_name(key, options["cookie_name"], options["cookie"])
    options["store"] = _store(given)
    _check_life(app)
    return options, live


def _live(app: Flask, flasks: SessionInterface, given: Mapping[str, Any]) -> Live:
    own = given.get("cookie")
    is_whole = own is not None and not isinstance(own, Mapping)
    configured = ConfiguredCookie(app, flasks, {} if is_whole or own is None else own)
    live: Live = {}
    if not is_whole:
        live["cookie"] = configured.settings
    if "cookie_name" not in given:
        live["cookie_name"] = configured.name
    return live


def _key(name: str) -> str:
    """Return the config key of an option, or of ``cookie.<attribute>``."""
    of_cookie = name.removeprefix("cookie.")
    prefix = PREFIX if of_cookie == name else "SESSION_COOKIE_"
    return prefix + of_cookie.upper()


def _checked(cls: type[Options], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of *cls* in *given*, with text converted to each option's type."""
    options = parsed(cls, given)
    for item in fields(cls):
        if item.name in options:
            with under(key := PREFIX + item.name.upper()):
                item.metadata["check"](key, options[item.name])
    return options


def _secrets(config: Mapping[str, Any], own: object) -> Secrets:
    if own is not None:
        return check_secrets(f"{PREFIX}SECRET", own)
    key, fallbacks = config["SECRET_KEY"], config.get("SECRET_KEY_FALLBACKS")
    if not key:
        raise ConfigError(
            "SECRET_KEY is not set, and signs the sessions' cookies; set it before the app is"
            " given to Litesess; make one with: litesess secret"
        )
    secrets = check_secrets("SECRET_KEY", key)
    if fallbacks:
        secrets = Secrets(secrets + check_secrets("SECRET_KEY_FALLBACKS", fallbacks))
    return secrets


def _check_life(app: Flask) -> None:
    key = "PERMANENT_SESSION_LIFETIME"
    try:
        life: Any = app.permanent_session_lifetime
    except (TypeError, OverflowError) as error:
        life = app.config[key]
        raise ConfigError(f"{key} {life!r} is neither seconds nor a timedelta") from error
    seconds(key, life)


def _store(given: Mapping[str, Any]) -> Store:
    path, store = given.get("path"), given.get("store")
    if store is not None and not isinstance(store, str):
        return _checked_store(store, given)
    if (path is None) == (store is None):
        raise ConfigError(
            f"{PREFIX}PATH is not set: the directory where the sessions are kept; or give"
            f" {PREFIX}STORE, a store or an address such as redis://HOST"
            if path is None
            else f"{PREFIX}PATH and {PREFIX}STORE are both set; give one of them"
        )
    key = f"{PREFIX}PATH" if store is None else f"{PREFIX}STORE"
    with under(key):
        place = place_of(store) if store is not None else _directory(path)
    names = {item.name for item in fields(place.options)}
    for name in (_OF_STORE - names) & {*given}:
        if given[name] is not None:
            raise ConfigError(f"{PREFIX}{name.upper()} is no setting of a {place.kind}")
    options = _checked(place.options, {name: given[name] for name in names & {*given}})
    with under(key):
        return place.make(options)


def _directory(path: Any) -> Place:
    return Place("WALStore", WALOptions, lambda own: WALStore(path, **own))


def _checked_store(store: object, given: Mapping[str, Any]) -> Store:
    """Return the given store; raise ConfigError for options that only a new store takes."""
    for name in ("path", *sorted(_OF_STORE)):
        if name != "clock" and given.get(name) is not None:
            raise ConfigError(
                f"{PREFIX}STORE is a store; {PREFIX}{name.upper()} is for the one that is made"
                f" of {PREFIX}PATH or of an address"
            )
    checked: Store = _checked(ManagerOptions, {"store": store})["store"]
    return checked
