"""The cookie that an app's config describes, read at each use, as Flask does.

Extensions set ``SESSION_COOKIE_*`` late: Flask-Talisman does so before each request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from flask.sessions import SecureCookieSessionInterface, SessionInterface

from litesess.errors import ConfigError
from litesess.integrations.naming import under
from litesess.options import build, parsed, text
from litesess.web import CookieSettings, check_name

if TYPE_CHECKING:
    from flask import Flask

#: The keys that Flask's own settings of the cookie are made of.
_of_keys: Final = itemgetter(
    "SESSION_COOKIE_PATH",
    "APPLICATION_ROOT",
    "SESSION_COOKIE_DOMAIN",
    "SESSION_COOKIE_SECURE",
    "SESSION_COOKIE_HTTPONLY",
    "SESSION_COOKIE_SAMESITE",
)


class ConfiguredCookie:
    """The name and the settings of an app's session cookie."""

    def __init__(self, app: Flask, flasks: SessionInterface, own: Mapping[str, Any]) -> None:
        """Take the sources of the settings; nothing is checked yet.

        Args:
            app: the app with the config.
            flasks: the session interface of Flask's that knows Flask's own settings of the cookie.
            own: the attributes that ``LITESESS_COOKIE`` sets; they override Flask's.
        """
        self._app = app
        self._flasks = flasks
        self._own = {**own, **parsed(CookieSettings, own)}
        self._key = "LITESESS_COOKIE" if own else "SESSION_COOKIE_*"
        # One tuple, so that a thread sees the settings that belong to the values it compares.
        self._made: tuple[object, CookieSettings] | None = None
        # An app can have an interface that finds them elsewhere.
        self._is_flasks = type(flasks) in (SecureCookieSessionInterface, SessionInterface)

    def name(self) -> str:
        """Return Flask's name of the cookie.

        Raises:
            ConfigError: it is no text, or empty.
        """
        return text("SESSION_COOKIE_NAME", self._flasks.get_cookie_name(self._app))

    def settings(self) -> CookieSettings:
        """Return the cookie's settings.

        Raises:
            ConfigError: one is wrong, or two contradict each other.
        """
        values = self._values()
        made = self._made
        if made is None or made[0] != values:
            self._made = made = values, self._settings()
        return made[1]

    def _values(self) -> object:
        """Return values that are equal as long as the settings are the same."""
        if self._is_flasks:
            return _read(self._app.config)  # five times as fast as asking for each value
        return self._found()

    def _found(self) -> dict[str, Any]:
        app, flasks = self._app, self._flasks
        return {
            "path": flasks.get_cookie_path(app),
            "domain": flasks.get_cookie_domain(app),
            "secure": flasks.get_cookie_secure(app),
            "httponly": flasks.get_cookie_httponly(app),
            "samesite": flasks.get_cookie_samesite(app),
            "partitioned": app.config.get("SESSION_COOKIE_PARTITIONED", False),
        }

    def _settings(self) -> CookieSettings:
        found = self._found()
        with under("SESSION_COOKIE_DOMAIN"):
            found["domain"] = _domain(found["domain"])
        # Flask's defaults are not the app's choice, so litesess's defaults replace them.
        if found["secure"] is False:
            found["secure"] = "auto"
        if found["samesite"] is None:
            found["samesite"] = "lax"
        for item in fields(CookieSettings):
            if item.name in found and item.name not in self._own:
                with under(key := f"SESSION_COOKIE_{item.name.upper()}"):
                    item.metadata["check"](key, found[item.name])
        with under(self._key):
            return build(CookieSettings, found | self._own, "cookie ")


def _read(config: Mapping[str, Any]) -> object:
    return _of_keys(config), config.get("SESSION_COOKIE_PARTITIONED")


def check_cookie_name(key: str, name: str, cookie: object) -> None:
    """Raise :class:`ConfigError`, under *key*, unless a cookie can have this name."""
    with under(key):
        check_name(name, cookie if isinstance(cookie, CookieSettings) else CookieSettings())


def _domain(value: object) -> object:
    """Return a domain as Werkzeug writes it: without a dot before it or a port, in ASCII.

    Source: werkzeug.http.dump_cookie.
    """
    if not isinstance(value, str):
        return value or None
    name = value.partition(":")[0].lstrip(".")
    try:
        return name.encode("idna").decode("ascii") or None
    except UnicodeError as error:
        raise ConfigError(f"{value!r} is not a host name") from error
