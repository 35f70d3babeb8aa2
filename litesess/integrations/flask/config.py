"""What an app's config says of its sessions, each complaint under the name of its key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from litesess.advice import suggestion
from litesess.errors import ConfigError, ConfigTypeError
from litesess.options import Options, build, parsed, text
from litesess.stores.base import Store
from litesess.stores.wal import WALOptions, WALStore
from litesess.web import CookieSettings, ManagerOptions, Secrets, check_name, check_secrets

if TYPE_CHECKING:
    from flask import Flask
    from flask.sessions import SessionInterface

PREFIX: Final = "LITESESS_"
_OF_STORE: Final = {item.name for item in fields(WALOptions)}
_OF_MANAGER: Final = {item.name for item in fields(ManagerOptions)}
_NAMES: Final = _OF_STORE | _OF_MANAGER | {"path"}
_KEYS: Final = {PREFIX + name.upper(): name for name in sorted(_NAMES)}
#: The attributes of the cookie that Flask has keys for.
_FLASKS: Final = ("domain", "httponly", "partitioned", "path", "samesite", "secure")
_SUGGESTED: Final = (*sorted(_NAMES), *(f"cookie.{name}" for name in _FLASKS))
#: What is not as the manager has it: made of other keys, too, or checked together.
_MADE: Final = {"secret", "store", "cookie", "cookie_name"}


def options_of(app: Flask, flasks: SessionInterface) -> dict[str, Any]:
    """Return the options for a manager, its store among them.

    Args:
        app: whose config is read.
        flasks: what knows where Flask has its own settings of the cookie.

    Raises:
        ConfigError: a key of ours is unknown, missing or wrong, or two contradict each other.
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
    options["cookie"] = _cookie(app, flasks, given.get("cookie"))
    options["cookie_name"] = _cookie_name(app, flasks, given.get("cookie_name"), options["cookie"])
    options["store"] = _store(given)
    return options


def _key(name: str) -> str:
    """Return the config key of an option, or of ``cookie.<attribute>``."""
    of_cookie = name.removeprefix("cookie.")
    prefix = PREFIX if of_cookie == name else "SESSION_COOKIE_"
    return prefix + of_cookie.upper()


def _checked(cls: type[Options], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what *given* says of the options of *cls*, text read as what each takes."""
    options = parsed(cls, given)
    for item in fields(cls):
        if item.name in options:
            with _under(key := PREFIX + item.name.upper()):
                item.metadata["check"](key, options[item.name])
    return options


@contextmanager
def _under(key: str) -> Iterator[None]:
    """Let a complaint name the key that it is about."""
    try:
        yield
    except ConfigError as error:
        if key in str(error):
            raise
        raise type(error)(f"{key}: {error}") from error


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


def _cookie(app: Flask, flasks: SessionInterface, own: Any) -> Any:
    """Return what LITESESS_COOKIE says, and what it leaves out as Flask's own keys have it."""
    if own is not None and not isinstance(own, Mapping):
        return _checked(ManagerOptions, {"cookie": own})["cookie"]
    settings = {
        "path": flasks.get_cookie_path(app),
        "domain": flasks.get_cookie_domain(app) or None,
        "secure": flasks.get_cookie_secure(app),
        "httponly": flasks.get_cookie_httponly(app),
        "samesite": flasks.get_cookie_samesite(app),
        "partitioned": app.config.get("SESSION_COOKIE_PARTITIONED", False),
    }
    own = {**own, **parsed(CookieSettings, own)} if own else {}
    for item in fields(CookieSettings):
        if item.name in settings and item.name not in own:
            with _under(key := f"SESSION_COOKIE_{item.name.upper()}"):
                item.metadata["check"](key, settings[item.name])
    with _under(f"{PREFIX}COOKIE" if own else "SESSION_COOKIE_*"):
        return build(CookieSettings, settings | own, "cookie ")


def _cookie_name(app: Flask, flasks: SessionInterface, own: object, cookie: object) -> str:
    key = "SESSION_COOKIE_NAME" if own is None else f"{PREFIX}COOKIE_NAME"
    name = text(key, flasks.get_cookie_name(app) if own is None else own)
    with _under(key):
        check_name(name, cookie if isinstance(cookie, CookieSettings) else CookieSettings())
    return name


def _store(given: Mapping[str, Any]) -> Store:
    path, store = given.get("path"), given.get("store")
    own = {name: given[name] for name in given if name in _OF_STORE}
    if store is not None:
        idle = [name for name in ("path", *own) if name != "clock" and given.get(name) is not None]
        if idle:
            raise ConfigError(
                f"{PREFIX}STORE is a store; {PREFIX}{idle[0].upper()} is for the one that is made"
                f" of {PREFIX}PATH"
            )
        checked: Store = _checked(ManagerOptions, {"store": store})["store"]
        return checked
    if path is None:
        raise ConfigError(f"{PREFIX}PATH is not set: the directory where the sessions are kept")
    options = _checked(WALOptions, own)
    with _under(f"{PREFIX}PATH"):
        return WALStore(path, **options)
